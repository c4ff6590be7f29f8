"""Noise in training against noise at deployment, on the 2-D quadrotor."""
