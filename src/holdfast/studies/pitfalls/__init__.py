"""Study pitfalls."""
