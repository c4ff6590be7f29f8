"""Study fig6-pusht."""
