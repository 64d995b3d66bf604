"""What stands behind each command of ``exprunner``."""
