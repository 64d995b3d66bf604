"""Who else is told what happens: the contract of a tracker, and one module per service."""
