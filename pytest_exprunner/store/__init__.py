"""Everything on disk: journals, locks, manifests, results files."""
