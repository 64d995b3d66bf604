"""Annotations and step summaries for CI services."""
