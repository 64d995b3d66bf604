"""Runs whose handlers are called on other machines."""
