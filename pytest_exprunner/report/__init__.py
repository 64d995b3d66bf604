"""Findings, reports and events: the views of the stored study."""
