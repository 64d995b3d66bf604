"""Trackers: who else is told what happens. They read journals, in a process of their own."""
