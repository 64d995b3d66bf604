"""Runs that call handlers on other machines."""
