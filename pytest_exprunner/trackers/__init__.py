"""Trackers send attempts to other services: the contract of a tracker, and one module per service."""
