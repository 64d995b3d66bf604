"""One attempt while it runs, and the ``runner`` that its handler sees."""
