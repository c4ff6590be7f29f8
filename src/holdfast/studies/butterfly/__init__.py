"""Study butterfly."""
