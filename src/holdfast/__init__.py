"""Behavior cloning for continuous control that holds on to the demonstrated behavior."""

__version__ = "0.1.0"
