"""Diagnosis of a policy: all diagnostics that apply, with a verdict on why it holds or drifts."""

from .causes import Cause, Confirmation
from .examine import Diagnosis, check_starts, diagnose
from .findings import Finding, judgement, verdict

__all__ = ["Cause", "Confirmation", "Diagnosis", "Finding", "check_starts", "diagnose", "judgement", "verdict"]
