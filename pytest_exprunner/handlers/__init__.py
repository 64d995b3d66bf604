"""Handler files: found, imported, scaffolded and linted."""
