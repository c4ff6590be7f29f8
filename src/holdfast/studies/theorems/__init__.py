"""Bounds of the theory compared with measured imitation losses on scalar, linear and quadrotor systems."""
