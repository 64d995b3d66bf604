"""What may run now, what can be reused, and what to do next. Pure functions."""
