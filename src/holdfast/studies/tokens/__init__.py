"""Study tokens."""
