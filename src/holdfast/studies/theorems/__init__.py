"""Study theorems."""
