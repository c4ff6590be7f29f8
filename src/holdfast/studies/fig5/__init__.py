"""Study fig5."""
