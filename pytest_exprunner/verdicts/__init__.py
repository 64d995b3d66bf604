"""From numbers to decisions: statistics, criteria, gates. Pure functions."""
