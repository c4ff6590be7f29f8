"""Numbers with intervals."""

from .intervals import Estimate, bootstrap, crossed, over_seeds, rate
from .score import Comparison, compare, summary

__all__ = ["Comparison", "Estimate", "bootstrap", "compare", "crossed", "over_seeds", "rate", "summary"]
