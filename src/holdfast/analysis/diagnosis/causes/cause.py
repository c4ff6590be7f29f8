"""A cause of a policy's failure, with the test that confirms it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Answer: TypeAlias = Literal["yes", "no", "open"]
CauseSeverity: TypeAlias = Literal["note", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Result of the test of a cause.

    Attributes:
        answer: `yes`: undoing the cause raises the score by more than chance; `no`: it does not; `open`: the test could
            not be run, or could not tell.
        test: Description of the test with its result, or the reason for its absence.
        values: Numbers of the test, as JSON values.
    """

    answer: Answer = "open"
    test: str = ""
    values: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Something in the data, the environment or the policy that explains how rollouts went.

    Attributes:
        check: Name of the check that found it; for causes in the data, that of the doctor.
        severity: `error`: it explains at least half of what the policy loses, or no policy can succeed with it;
            `warning`: it makes the policy worse, or will under other conditions; `note`: a property to know about.
        what: The cause with its numbers.
        effect: Effect on rollouts.
        remedy: What to do.
        values: The numbers, as JSON values.
        confirmed: Result of the test.
    """

    check: str
    severity: CauseSeverity
    what: str
    effect: str = ""
    remedy: str = ""
    values: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    confirmed: Confirmation = field(default_factory=Confirmation)
