"""Study toy."""
