"""Handlers called in containers on Modal."""
