"""Order of causes, and their severity after the tests.

1. confirmed causes in data and environment, by the share of the lost score that undoing them recovers
2. causes that name themselves but could not be tested
3. confirmed causes in training and execution
4. symptoms, and findings that rarely explain a failure
5. causes whose test changed nothing
"""

from collections.abc import Iterable
from dataclasses import replace

from .cause import Cause

ROOTS = (
    "first observation",
    "dead observation",
    "finite",
    "lag",
    "reading",
    "offset",
    "clipping",
    "leaks",
    "history",
    "rates",
    "idle",
    "copycat",
    "wraps",
    "failures",
    "padding",
    "gripper",
    "instructions",
    "hesitation",
    "modes missing",
)
"""Checks that name a cause in the data or in the environment; those that explain more come first."""
LEARNED = ("execution", "training", "compounding errors")
SYMPTOMS = ("lost rollouts", "stuck")
MOST = 0.5
_LAST = 99


def ranked(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Causes in the order in which they explain the outcome, one for each check and each sentence."""
    unique = {(cause.check, cause.what): _judged(cause) for cause in causes}
    return tuple(sorted(unique.values(), key=_key))


def _judged(cause: Cause) -> Cause:
    """A cause that explains most of the loss is an error; one whose test changed nothing is no more than a warning."""
    if cause.confirmed.answer == "yes" and cause.confirmed.values.get("explains", 0.0) >= MOST:
        return replace(cause, severity="error")
    return cause


def _key(cause: Cause) -> tuple[int, float, int, int]:
    explains = float(cause.confirmed.values.get("explains", 0.0))
    place = ROOTS.index(cause.check) if cause.check in ROOTS else _LAST
    return _tier(cause), -round(explains, 1), place, ("error", "warning", "note").index(cause.severity)


def _tier(cause: Cause) -> int:
    match cause.confirmed.answer, cause.check in ROOTS:
        case "no", _:
            return 5
        case "yes", True:
            return 1
        case "open", True:
            return 2
        case _:
            return 3 if cause.check in LEARNED else 4
