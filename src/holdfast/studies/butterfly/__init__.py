"""Oscillation of a policy's behavior during training, and how much averaging the weights removes."""
