"""One run over a study: the phases before, during and after its attempts."""
