"""Regression, generation and chunks on a pair of systems that demonstrations cannot distinguish."""
