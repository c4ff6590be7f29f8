"""Study families."""
