"""Known failures, why they happen, and how to fix them."""
