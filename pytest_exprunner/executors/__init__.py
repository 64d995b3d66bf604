"""Where handlers are called, other than in the process that leads a run or on this machine."""
