"""Arrays become features, one family per file."""
