"""Why a policy holds or drifts: the instruments together, on one policy, with a verdict."""

from .examine import Diagnosis, diagnose
from .findings import Finding, judgement, verdict

__all__ = ["Diagnosis", "Finding", "diagnose", "judgement", "verdict"]
