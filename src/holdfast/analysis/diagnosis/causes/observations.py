"""First observations of rollouts that lie outside all demonstrations: other order, units, sign or frame.

    outside  if  min_i ‖(o_0 − o_0^i) / range‖  >  FAR · max_j min_{i ≠ j} ‖(o_0^j − o_0^i) / range‖

with the first observations o_0^i of the demonstrations, or if a coordinate of o_0 lies beyond all of these by a tenth
of its range; ranges are those of all demonstrated observations. Rollouts that begin where no demonstration began are a
defect only if the policy fails, or if they also lie outside of everything that was demonstrated later. The test runs
the policy with its observation put in the order, units or frame in which the data agree best with the environment.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ....data.doctor.findings import listed
from ....types import Episodes
from .alignment import Alignment, alignments
from .altered import ChangedObservation
from .cause import Cause, Confirmation
from .rows import first_rows
from .scene import Scene
from .trials import spread_of

FAR = 1.5
MOST = 0.5
"""Share of the rollouts that must begin outside."""
BEYOND = 0.1
"""A coordinate is outside if it is this share of its range beyond all demonstrated values."""
FEWEST = 5
"""With fewer demonstrations, rollouts that begin elsewhere are normal, whatever the order or the units."""


def first_observations(scene: Scene) -> list[Cause]:
    """First observations outside the demonstrations, and observed coordinates that do not move in rollouts."""
    shown = scene.shown
    if shown is None:
        return []
    return [*(_outside(scene, shown) if len(shown) >= FEWEST else []), *_dead(scene, shown)]


def outside(scene: Scene, shown: Episodes) -> Bool[Tensor, " b"]:
    """Rollouts that begin farther from every demonstrated start than any such start is from all others."""
    scale, begun = spread_of(shown.observed.vector), first_rows(shown)
    among = torch.cdist(begun / scale, begun / scale).fill_diagonal_(torch.inf).amin(dim=1)
    found = torch.cdist(scene.first / scale, begun / scale).amin(dim=1)
    margin = BEYOND * scale
    beyond = (scene.first < begun.amin(dim=0) - margin) | (scene.first > begun.amax(dim=0) + margin)
    return (found > FAR * among.amax().clamp(min=1e-3)) | beyond.any(dim=1)


def _outside(scene: Scene, shown: Episodes) -> list[Cause]:
    gone = outside(scene, shown)
    away = _beyond(scene.first, shown.observed.vector.double())
    everywhere = bool(away.any(dim=1).double().mean() > MOST)
    if gone.double().mean() <= MOST or (scene.trials.holds and not everywhere):
        return []
    wrong = _worst(scene, shown)
    found = _cause(scene, shown, gone, wrong)
    return [replace(found, confirmed=_confirmed(scene, shown))]


def _beyond(values: Float[Tensor, "b d"], known: Float[Tensor, "rows d"]) -> Bool[Tensor, "b d"]:
    margin = BEYOND * spread_of(known)
    return (values < known.amin(dim=0) - margin) | (values > known.amax(dim=0) + margin)


def _worst(scene: Scene, shown: Episodes) -> list[int]:
    """Coordinates that lie outside the demonstrated starts, the farthest first."""
    begun, scale = first_rows(shown), spread_of(shown.observed.vector)
    low, high = begun.amin(dim=0), begun.amax(dim=0)
    excess = torch.maximum(low - scene.first, scene.first - high).clamp(min=0).mean(dim=0) / scale
    order = excess.argsort(descending=True)
    return [int(index) for index in order if excess[index] > 0.02]


def _cause(scene: Scene, shown: Episodes, gone: Tensor, wrong: list[int]) -> Cause:
    begun = first_rows(shown)

    def described(index: int) -> str:
        here, there = scene.first[:, index], begun[:, index]
        return (
            f"{scene.label(index)} begins between {float(here.min()):.3g} and {float(here.max()):.3g}, in the "
            f"demonstrations between {float(there.min()):.3g} and {float(there.max()):.3g}"
        )

    where = f": {listed([described(index) for index in wrong], 3)}" if wrong else ""
    return Cause(
        check="first observation",
        severity="error",
        what=f"{int(gone.sum())} of {len(gone)} rollouts begin where no demonstration began{where}.",
        effect="The policy is asked about observations that it was never trained on, from the first step on.",
        remedy="Compare the order, the units and the frame of the observation in the data and in the environment, and "
        "make them equal. If they are, record demonstrations from these starts.",
        values={"share": float(gone.double().mean()), "coordinates": [scene.label(index) for index in wrong]},
    )


def _confirmed(scene: Scene, shown: Episodes) -> Confirmation:
    """The best of the most likely alignments, by rollouts with each."""
    tried = list[Confirmation]()
    for found in alignments(scene, shown):
        result = scene.trials.confirm(_sentence(scene, found), ChangedObservation(scene.subject.policy, found.apply))
        tried.append(replace(result, values={**result.values, **found.values}))
        if result.answer == "yes" and result.values["explains"] > 0.8:
            break
    if not tried:
        return Confirmation(test="No other order, unit or frame of the observation agrees better with the data.")
    confirmed = [item for item in tried if item.answer == "yes"]
    return max(confirmed or tried, key=lambda item: item.values.get("explains", 0.0))


def _sentence(scene: Scene, found: Alignment) -> str:
    count = scene.first.shape[1]
    if found.kind == "order":
        names = [scene.label(int(index)) for index in found.order]
        return f"With the observation given in the order {', '.join(names)}"
    changed = [index for index in range(count) if found.scale[index] != 1 or found.shift[index] != 0]
    parts = [f"{scene.label(i)} · {float(found.scale[i]):.3g} + {float(found.shift[i]):.3g}" for i in changed]
    return f"With the observation given in other units ({listed(parts)})"


def _dead(scene: Scene, shown: Episodes) -> list[Cause]:
    """Coordinates that vary in the data, within episodes, and never change in any rollout."""
    observed = scene.subject.rollout.observed.double()
    still = (observed.amax(dim=(0, 1)) - observed.amin(dim=(0, 1))) == 0
    known = shown.observed.vector.double()
    varies = known.amax(dim=0) - known.amin(dim=0) > 1e-6 * known.abs().amax(dim=0).clamp(min=1e-12)
    moved = (known[1:] - known[:-1]).abs().amax(dim=0) > 0
    dead = [scene.label(int(index)) for index in (still & varies & moved).nonzero()[:, 0]]
    if not dead or not bool((observed[:, -1] != observed[:, 0]).any()):
        return []
    return [
        Cause(
            check="dead observation",
            severity="error",
            what=f"{listed(dead)} never changes in any rollout, but does in the demonstrations.",
            effect="The policy relies on a reading that does not arrive.",
            remedy="Check the sensor, its driver and the place of this coordinate in the observation.",
            values={"coordinates": dead},
            confirmed=Confirmation(test="A missing reading cannot be restored in a test."),
        )
    ]
