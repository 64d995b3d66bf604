"""The executor that calls handlers in containers on Modal."""
