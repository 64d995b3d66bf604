"""Documents and state → text. Pure: nothing here reads or writes a file."""
