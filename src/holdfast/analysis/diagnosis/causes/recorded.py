"""Causes in the demonstrations: the doctor's findings, each with the closed-loop test that its kind allows."""

from collections.abc import Callable, Mapping
from typing import assert_never

import torch
from torch import Tensor

from ....data import Preparation, prepared
from ....data.doctor import DataFinding
from ....data.doctor.findings import Severity
from ....errors import HoldfastError
from ....policy import Policy
from ....types import Episodes
from .altered import ChangedObservation
from .cause import Cause, CauseSeverity, Confirmation
from .clones import Clone
from .commands import recovered_commands
from .scene import Scene, observation_labels
from .trials import outcome_of

SPECIFIC = frozenset(
    {"leaks", "copycat", "wraps", "finite", "reading", "instructions", "padding", "failures", "gripper"}
)
"""Checks that name a cause by themselves; other findings are listed only if the policy fails."""
COMPARED = frozenset({"lag", "offset", "history"})
"""Checks whose findings are compared with the environment, or with what the policy sees, by a check of its own."""
BESIDE = frozenset({"acceptance", "rate", "system", "lengths", "clock", "sigma"})
"""Checks of what training or units need, which cannot make a trained policy fail."""
UNTESTED = Confirmation(test="No rollout can undo it: record or prepare the data again, train, and compare.")


def recorded_causes(scene: Scene) -> list[Cause]:
    """The doctor's errors and warnings on the demonstrations as causes."""
    counted = [finding for finding in scene.findings if _counts(scene, finding)]
    tests = [TESTS.get(finding.check) for finding in counted]
    return [
        cause_of(finding, UNTESTED if test is None else test(scene, finding))
        for finding, test in zip(counted, tests, strict=True)
    ]


def _counts(scene: Scene, finding: DataFinding) -> bool:
    if finding.severity not in ("error", "warning") or finding.check in BESIDE | COMPARED:
        return False
    return finding.check in SPECIFIC or not scene.trials.holds


def cause_of(finding: DataFinding, confirmed: Confirmation) -> Cause:
    """A finding of the doctor as a cause."""
    return Cause(
        check=finding.check,
        severity=_severity(finding.severity),
        what=finding.what,
        effect=finding.effect,
        remedy=finding.remedy,
        values=dict(finding.values),
        confirmed=confirmed,
    )


def _severity(severity: Severity) -> CauseSeverity:
    match severity:
        case "error" | "warning" | "note":
            return severity
        case "good":
            return "note"
        case _:
            assert_never(severity)


def compared_clones(scene: Scene, test: str, make: Callable[[Episodes], Clone]) -> Confirmation:
    """Whether a quick clone in which the cause is undone scores higher than a quick clone of the data as they are."""
    shown = scene.shown
    if shown is None:
        return Confirmation(test=f"{test}: not run, because the data have other observations or actions.")
    if scene.trials.holds:
        return Confirmation(test=f"{test}: not run, because the policy solves the task.")
    if scene.trials.too_short:
        return Confirmation(test=f"{test}: not run, because {scene.trials.too_short}")
    try:
        plain = scene.plain_clone
        if scene.trials.solves(plain):
            return Confirmation(test=f"{test}: not run, because one of the data as they are scores {plain.mean():.2f}.")
        changed = outcome_of(scene.trials.run(make(shown)))
    except HoldfastError as reason:
        return Confirmation(test=f"{test}: it could not be run. {reason}")
    return scene.trials.compared(f"{test}, compared with one of the data as they are", changed, plain)


def _without_coordinates(scene: Scene, finding: DataFinding) -> Confirmation:
    """Run without what the observation reveals of the actions: the policy itself, else a quick clone."""
    columns = _columns(scene, finding)
    shown = scene.shown
    if shown is None or not columns:
        return Confirmation(test="The coordinates are no part of the observation in rollouts.")
    mean = shown.observed.vector.double().mean(dim=0)
    own = scene.trials.confirm(
        "With these coordinates held at their mean", ChangedObservation(scene.subject.policy, _held(columns, mean))
    )
    if own.answer != "no":
        return own
    hidden = compared_clones(
        scene, "A quick regression without these coordinates", lambda data: scene.clone(data, view=_held(columns, mean))
    )
    return hidden if hidden.answer == "yes" else own


def _held(columns: list[int], mean: Tensor) -> Callable[[Tensor], Tensor]:
    index = torch.tensor(columns)

    def held(values: Tensor) -> Tensor:
        return values.index_copy(-1, index, mean[index].to(values).expand(*values.shape[:-1], len(columns)))

    return held


def _columns(scene: Scene, finding: DataFinding) -> list[int]:
    named = [str(name) for name in finding.values.get("coordinates", ())]
    shown = scene.shown
    if shown is None:
        return []
    count = scene.first.shape[1]
    bare = observation_labels(shown.names, count)
    forms = [
        {label, f"state[{index}]", f"observation[{index}]", f"state {label}", f"observation {label}"}
        for index, label in enumerate(bare)
    ]
    return [index for index, form in enumerate(forms) if form & set(named)]


def _without_pauses(scene: Scene, finding: DataFinding) -> Confirmation:
    return compared_clones(
        scene,
        "A quick regression on the data without their pauses at the start and in the middle",
        lambda data: scene.clone(prepared(data, Preparation(drop_idle=("start", "middle")))),
    )


def shifted_clones(scene: Scene, steps: int) -> Confirmation:
    """Quick clones of the data with and without a shift of the actions (`--shift-actions`)."""
    return compared_clones(
        scene,
        f"A quick regression on the data with actions shifted by {steps}",
        lambda data: scene.clone(prepared(data, Preparation(shift_actions=steps))),
    )


def _commanded(scene: Scene, finding: DataFinding) -> Confirmation:
    """Clones of the data with commands that move the environment as demonstrated, else with later readings."""
    shown = scene.shown
    made = None if shown is None or scene.excited is None else recovered_commands(shown, scene.excited.episodes)
    if made is None:
        return shifted_clones(scene, int(finding.values["shift_actions"]))
    test = "A quick regression on the data with the commands that move the environment as demonstrated"
    return compared_clones(scene, test, lambda data: scene.clone(made))


def _without_failures(scene: Scene, finding: DataFinding) -> Confirmation:
    failed = tuple(str(episode) for episode in finding.values["episodes"])
    return compared_clones(
        scene,
        "A quick regression on the data without these episodes",
        lambda data: scene.clone(prepared(data, Preparation(drop_episodes=failed))),
    )


def _one_observation(scene: Scene, finding: DataFinding) -> Confirmation:
    """Clones that see as many observations as the policy, and one, from which the previous action does not follow."""
    policy = scene.subject.policy
    window = policy.spec.n_obs_steps if isinstance(policy, Policy) else 1
    if window == 1:
        return Confirmation(test="The policy sees one observation at a time, which does not show its previous action.")
    shown = scene.shown
    if shown is None or scene.trials.holds:
        return Confirmation(test="Not tested, because the policy solves the task.")
    if scene.trials.too_short:
        return Confirmation(test=f"Not tested, because {scene.trials.too_short}")
    one, several = (outcome_of(scene.trials.run(scene.clone(shown, window=size))) for size in (1, window))
    test = f"A quick regression on one observation, compared with one on {window}"
    return scene.trials.compared(test, one, several)


TESTS: Mapping[str, Callable[[Scene, DataFinding], Confirmation]] = {
    "copycat": _one_observation,
    "failures": _without_failures,
    "idle": _without_pauses,
    "leaks": _without_coordinates,
    "reading": _commanded,
}
