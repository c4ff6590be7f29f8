"""Stiffness and damping of the servo under a policy: which make cloning easy, and whether a formula ranks them."""
