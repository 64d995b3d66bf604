"""One run over a study: what happens before, during and after its attempts."""
