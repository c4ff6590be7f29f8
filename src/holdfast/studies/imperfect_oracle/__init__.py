"""Gains from wrong, learned, scaled or late dynamics, or none: how good the synthesis must be."""
