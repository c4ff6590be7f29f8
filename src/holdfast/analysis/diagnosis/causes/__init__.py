"""Causes of a policy's failure: the doctor's findings on its data, what only rollouts show, and tests of each.

demonstrations ──► the doctor ──► findings ──┐
rollouts ──────► checks ─────────────────────┼──► causes ──► tests ──► ranked causes
measurements of the diagnosis ───────────────┘

A test runs the policy again with the cause undone.
"""

from ....data.doctor import inspect_episodes
from ..instruments import Subject
from .actions import clipping, offsets
from .cause import Answer, Cause, CauseSeverity, Confirmation
from .learned import Measured, compounding, execution, history, lost, training, unseen
from .movement import stuck
from .observations import first_observations
from .ranking import ranked
from .recorded import recorded_causes
from .scene import Scene
from .timing import lags, rates
from .ways import two_ways

__all__ = ["Answer", "Cause", "CauseSeverity", "Confirmation", "Measured", "causes_of"]

CHECKS = (first_observations, recorded_causes, lags, offsets, rates, clipping, history, two_ways, unseen, stuck, lost)


def causes_of(subject: Subject, measured: Measured) -> tuple[Cause, ...]:
    """Causes of how the rollouts went, the one that explains most first.

    Args:
        subject: Policy, rollouts and demonstrations.
        measured: Growth of errors and sweeps.
    """
    shown = subject.demonstrations
    scene = Scene(subject, () if shown is None else inspect_episodes(shown).findings)
    found = [cause for check in CHECKS for cause in check(scene)]
    found += [*execution(scene, measured), *compounding(scene, measured)]
    if not any(cause.confirmed.answer == "yes" and "explains" in cause.confirmed.values for cause in found):
        found += training(scene)
    return ranked(found)
