"""Diagnosis of a policy: all diagnostics that apply, with a verdict on why it holds or drifts."""

from .examine import Diagnosis, diagnose
from .findings import Finding, judgement, verdict

__all__ = ["Diagnosis", "Finding", "diagnose", "judgement", "verdict"]
