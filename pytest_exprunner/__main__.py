"""``python -m pytest_exprunner`` is the command ``exprunner``."""

from pytest_exprunner.cli.main import main

main()
