"""Regression, diffusion, noise and chunks on two systems whose demonstrations are identical."""
