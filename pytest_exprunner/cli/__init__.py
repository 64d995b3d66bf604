"""The command ``exprunner``: one module per command, working on stored files only."""
