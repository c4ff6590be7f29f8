"""Faster execution of the same networks: compiled, packed, stacked."""
