"""Causes in the policy: what it does not see, how it is executed, how it was trained, and errors that compound."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ....data.doctor.findings import listed
from ....data.doctor.regression import held_out_rows
from ....policy import Policy
from ....types import Episodes
from ...error_growth import Growth
from ...sensitivity import Sweep
from .cause import Cause, Confirmation
from .clones import fit_clone
from .recorded import cause_of, compared_clones
from .rows import owners
from .scene import Scene
from .trials import WORTH

LEFT, HALVED = 0.02, 0.5
"""History explains actions if one observation leaves this share open, and two leave less than half of it."""
ROWS = 6_000


@dataclass(frozen=True)
class Measured:
    """Measurements of the diagnosis that causes refer to.

    Attributes:
        growths: Growth of the distance to the expert, and after a perturbed action, where measured.
        sweeps: Score against each setting.
    """

    growths: Sequence[Growth]
    sweeps: Sequence[Sweep]


def history(scene: Scene) -> list[Cause]:
    """Actions that two observations determine and one does not."""
    shown, policy = scene.shown, scene.subject.policy
    if shown is None or (isinstance(policy, Policy) and policy.spec.n_obs_steps > 1):
        return []
    test = "A quick regression on two observations"
    said = scene.finding("history")
    if said is not None:
        return [cause_of(said, compared_clones(scene, test, lambda data: scene.clone(data, window=2)))]
    return _measured_history(scene, shown, test)


def _measured_history(scene: Scene, shown: Episodes, test: str) -> list[Cause]:
    """The same where the doctor does not say so, if rollouts confirm it."""
    if scene.trials.holds:
        return []
    one, two = (float(np.median(_explained(shown, window))) for window in (1, 2))
    if 1 - one < LEFT or 1 - two > HALVED * (1 - one):
        return []
    found = Cause(
        check="history",
        severity="warning",
        what=f"One observation explains {one:.2f} of the variance of the demonstrated actions, two in a row explain "
        f"{two:.2f}: the observation lacks something that the expert used, such as a velocity.",
        effect="The policy answers equal observations with the mean of actions that differ.",
        remedy="Record what is missing, or train with --n-obs-steps 2.",
        values={"r2_one": one, "r2_two": two},
        confirmed=compared_clones(scene, test, lambda data: scene.clone(data, window=2)),
    )
    return [found] if found.confirmed.answer == "yes" else []


def _explained(shown: Episodes, window: int) -> Float[ndarray, " m"]:
    """Share of the variance of each action that a quick regression explains in other episodes."""
    held = torch.as_tensor(held_out_rows(owners(shown.lengths).numpy()))
    clone = fit_clone(_episodes(shown, ~held), window=window)
    predicted, actions = clone.predict(shown), shown.actions.double()
    left = (actions - predicted)[held].square().mean(dim=0)
    moved = actions[held].var(dim=0)
    return (1 - left[moved > 0] / moved[moved > 0]).numpy() if bool((moved > 0).any()) else np.ones(1)


def _episodes(shown: Episodes, rows: torch.Tensor) -> Episodes:
    """The observations and actions of whole episodes, given by their rows."""
    kept = rows[shown.starts]
    return Episodes(
        actions=shown.actions[rows],
        states=shown.observed.vector[rows],
        lengths=shown.lengths[kept],
    )


def unseen(scene: Scene) -> list[Cause]:
    """Cameras in the data that the policy does not see; the doctor names instructions."""
    shown = scene.subject.demonstrations
    if shown is None or not isinstance(scene.subject.policy, Policy):
        return []
    vision = scene.subject.policy.spec.vision
    seen = vision.cameras if vision else ()
    return [] if scene.trials.holds else _cameras(sorted(shown.cameras.keys() - {*seen}))


def _cameras(cameras: Sequence[str]) -> list[Cause]:
    if not cameras:
        return []
    return [
        Cause(
            check="cameras unseen",
            severity="note",
            what=f"The demonstrations have cameras ({listed(cameras)}), which the policy does not see.",
            effect="What only the pictures show, such as the place of an object, is unknown to it.",
            remedy="Train with --images and their names, or add the poses of the objects to the observation.",
            values={"cameras": list(cameras)},
        )
    ]


def training(scene: Scene) -> list[Cause]:
    """A policy that fails where a quick regression on the same data does not."""
    shown = scene.shown
    if shown is None or scene.trials.holds:
        return []
    before, plain = scene.trials.before, scene.plain_clone
    if float(plain.mean() - before.mean()) <= WORTH:
        return []
    result = scene.trials.compared("A quick regression on the same demonstrations", plain, before)
    if result.answer != "yes":
        return []
    return [
        Cause(
            check="training",
            severity="warning",
            what="A regression that is fitted to the same demonstrations in a second scores "
            f"{float(plain.mean()):.2f}, the policy {float(before.mean()):.2f}.",
            effect="The demonstrations suffice for more than the policy makes of them.",
            remedy="Train longer, replan more often (--n-action-steps), use less noise, or try another family.",
            values={"regression": float(plain.mean()), "policy": float(before.mean())},
            confirmed=result,
        )
    ]


def execution(scene: Scene, measured: Measured) -> list[Cause]:
    """Settings of the execution that cost much of the score, as the sweeps show."""
    found = list[Cause]()
    whole = 1.0 if scene.trials.bounded else abs(float(scene.trials.before.mean()))
    for item in measured.sweeps:
        best = item.differences[item.best]
        if item.name not in ("sigma_deploy", "n_action_steps", "gains") or best.low <= 0 or best.mean <= WORTH * whole:
            continue
        found.append(_setting(scene, item))
    return found


def _setting(scene: Scene, item: Sweep) -> Cause:
    value, best = item.values[item.best], item.differences[item.best]
    name = f"{item.name} = {value:g} instead of {item.current:g}"
    room = scene.trials.room
    explains = min(best.mean / room, 1.0) if room > 0 else 0.0
    return Cause(
        check="execution",
        severity="warning",
        what=f"With {name} the score is {item.estimates[item.best].mean:.2f}, {best.mean:.2f} higher.",
        effect="The policy is executed in a way that costs it part of its score.",
        remedy=f"Evaluate with {name} from other starts (the best of {len(item.values)} values is slightly "
        "optimistic), and train with it.",
        values={"setting": item.name, "value": value, "current": item.current, "gain": best.mean},
        confirmed=Confirmation(
            answer="yes",
            test=f"With {name}: the score changes by {best}, paired over starts.",
            values={"change": best, "explains": explains},
        ),
    )


def compounding(scene: Scene, measured: Measured) -> list[Cause]:
    """Errors that grow from step to step, in a policy that does not hold."""
    growing = [item for item in measured.growths if item.kind == "exponential" and item.rate is not None]
    if scene.trials.holds or not growing:
        return []
    fastest = max(growing, key=lambda item: item.rate.mean if item.rate else 0.0)
    assert fastest.rate is not None
    return [
        Cause(
            check="compounding errors",
            severity="warning",
            what=f"An error grows by a factor of {fastest.rate.mean:.3f} per step.",
            effect="A small error of the policy becomes a large one within the length of the task.",
            remedy="Clone feedback gains where the dynamics are known (train --codec affine), replan more often, and "
            "record demonstrations that recover from errors.",
            values={"rate": fastest.rate},
            confirmed=Confirmation(
                answer="yes", test=f"It was measured by rollouts: {fastest.reason}.", values={"rate": fastest.rate}
            ),
        )
    ]


def lost(scene: Scene) -> list[Cause]:
    """Rollouts that were stopped because a number was not finite, or the simulation left its limits."""
    rollout = scene.subject.rollout
    gone = rollout.escaped
    if not bool(gone.any()):
        return []
    first = rollout.lost[gone].double().argmax(dim=1)
    at_once = bool((first == 0).all())
    found = Cause(
        check="lost rollouts",
        severity="error" if float(gone.double().mean()) > 0.05 else "warning",
        what=f"{int(gone.sum())} of {len(gone)} rollouts were lost, the first after {int(first.min())} steps, half of "
        f"them within {int(first.median())}.",
        effect="A lost rollout ends where the state left its limits, or the policy or the simulator returned a number "
        "that is not finite.",
        remedy="Look at the first lost step: limit the actions (action_low, action_high), and check the policy for "
        "NaN.",
        values={"rollouts": int(gone.sum()), "first": int(first.min()), "median": int(first.median())},
        confirmed=Confirmation(answer="yes", test="It was counted in the rollouts."),
    )
    return [replace(found, effect="The policy returns no finite action.")] if at_once else [found]
