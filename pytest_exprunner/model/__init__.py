"""What happened, as values: attempts, results, and what a run was asked for."""
