"""Study imperfect-oracle."""
