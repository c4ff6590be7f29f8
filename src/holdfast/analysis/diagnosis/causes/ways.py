"""Ways of doing the task: rollouts that take one way where the demonstrations take several, or none of them.

The path of an episode is its scaled observation at `POINTS` equal parts of its length, less what its first observation
predicts linearly. Along the first principal direction of the demonstrated paths, the best cut into two parts explains a
share η of the variance; the demonstrations take *two ways* if η exceeds what 99 % of samples from the uniform
distribution reach (the unimodal distribution that splits best), and each part holds a sixth of them.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ....policy import Policy
from ....seeding import stream
from ....types import Episodes
from .cause import Cause, Confirmation
from .rows import first_rows
from .scene import Scene
from .trials import spread_of

POINTS = 12
SMALLEST = 1 / 6
CHANCE = 0.01
BETWEEN = 0.2
"""Share of the rollouts between two ways from which they hesitate."""
FEWEST = 20

_stats = cast(Any, stats)  # scipy ships no types
_lstsq, _svd = cast(Any, np.linalg.lstsq), cast(Any, np.linalg.svd)


@dataclass(frozen=True)
class Ways:
    """Two ways of the demonstrations, as intervals of one number per path.

    Attributes:
        centres: Mean of each way.
        shares: Share of the demonstrations that take each.
        explained: Share of the variance between the ways.
        places: The number of each rollout.
        demonstrated: The number of each demonstration.
    """

    centres: tuple[float, float]
    shares: tuple[float, float]
    explained: float
    places: Float[Tensor, " b"]
    demonstrated: Float[Tensor, " episodes"]

    @property
    def second(self) -> Bool[Tensor, " b"]:
        """Rollouts nearer to the second way."""
        return self.places > sum(self.centres) / 2

    def between(self, places: Float[Tensor, " k"]) -> Bool[Tensor, " k"]:
        """Paths in the middle third between the two ways."""
        low, high = self.centres
        third = (high - low) / 3
        return (places > low + third) & (places < high - third)


def two_ways(scene: Scene) -> list[Cause]:
    """One way only, or none, where demonstrations take two."""
    shown = scene.shown
    if shown is None or len(shown) < FEWEST:
        return []
    found = ways_of(scene.subject.rollout.episodes, shown)
    if found is None:
        return []
    return [*_hesitating(scene, found), *_one_way(scene, found)]


def ways_of(rollouts: Episodes, shown: Episodes) -> Ways | None:
    """The two ways of the demonstrations, and which of them each rollout takes; `None` if there are not two."""
    scale = spread_of(shown.observed.vector)
    known, reached = paths_of(shown, scale), paths_of(rollouts, scale)
    begun = first_rows(shown) / scale
    if len(shown) < 3 * (begun.shape[1] + 1):
        return None
    wide = torch.cat([torch.ones(len(begun), 1, dtype=torch.float64), begun], dim=1)
    weights = torch.as_tensor(_lstsq(wide.numpy(), known.numpy(), rcond=None)[0])
    here = torch.cat([torch.ones(len(reached), 1, dtype=torch.float64), first_rows(rollouts) / scale], dim=1)
    left = known - wide @ weights
    direction = torch.as_tensor(_svd((left - left.mean(dim=0)).numpy(), full_matrices=False)[2][0])
    places, explained, size = left @ direction, *_cut((left @ direction).sort().values[None])
    share = float(size[0]) / len(places)
    if explained[0] < _largest_of_uniform(len(places)) or not SMALLEST <= share <= 1 - SMALLEST:
        return None
    ordered = places.sort().values
    centres = float(ordered[: int(size[0])].mean()), float(ordered[int(size[0]) :].mean())
    return Ways(centres, (share, 1 - share), float(explained[0]), (reached - here @ weights) @ direction, places)


def paths_of(episodes: Episodes, scale: Float[Tensor, " d"]) -> Float[Tensor, "episodes p"]:
    """Scaled observations at equal parts of each episode."""
    seen = episodes.observed.vector.double() / scale
    parts = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    rows = episodes.starts[:, None] + ((episodes.lengths[:, None] - 1) * parts).round().long()
    return seen[rows].flatten(1)


def _cut(ordered: Float[Tensor, "q k"]) -> tuple[Float[Tensor, " q"], Float[Tensor, " q"]]:
    """Share of the variance between the two parts of the best cut, and the size of the lower part."""
    count = ordered.shape[1]
    sizes = torch.arange(1, count, dtype=torch.float64)
    sums = ordered.cumsum(dim=1)
    low, high = sums[:, :-1] / sizes, (sums[:, -1:] - sums[:, :-1]) / (count - sizes)
    between = sizes * (count - sizes) / count**2 * (high - low) ** 2
    best = between.max(dim=1)
    return best.values / ordered.var(dim=1, correction=0).clamp(min=1e-24), sizes[best.indices]


def _largest_of_uniform(count: int) -> float:
    drawn = torch.rand(2000, count, dtype=torch.float64, generator=stream(0, "ways", "uniform")).sort(dim=1).values
    return float(_cut(drawn)[0].quantile(1 - CHANCE))


def _one_way(scene: Scene, found: Ways) -> list[Cause]:
    count, taken = len(found.places), int(found.second.sum())
    rare = 1 if taken < count - taken else 0
    fewer, share = (taken, count - taken)[1 - rare], found.shares[rare]
    chance = float(_stats.binomtest(fewer, count, share, alternative="less").pvalue)
    if chance > CHANCE or fewer / count > share / 3:
        return []
    return [
        Cause(
            check="modes missing",
            severity="warning",
            what=f"The demonstrations take two ways, {found.shares[0]:.0%} and {found.shares[1]:.0%} of them; "
            f"{count - fewer} of {count} rollouts take the same one.",
            effect="The policy has learned one of the demonstrated ways; where that way is blocked, it has no other.",
            remedy="If both ways are wanted, use a generative family (the default), noise at deployment 0, and more "
            "training. If one is enough, nothing needs to change.",
            values={"shares": list(found.shares), "rollouts": [count - taken, taken], "explained": found.explained},
            confirmed=Confirmation(
                answer="yes",
                test=f"If rollouts chose as demonstrations do, {fewer} or fewer of {count} would take the other way "
                f"with probability {chance:.2g}.",
                values={"probability": chance},
            ),
        )
    ]


def _hesitating(scene: Scene, found: Ways) -> list[Cause]:
    here, there = (float(found.between(places).double().mean()) for places in (found.places, found.demonstrated))
    if scene.trials.holds or here < BETWEEN or here < 3 * there:
        return []
    return [
        Cause(
            check="hesitation",
            severity="warning",
            what=f"{here:.0%} of the rollouts go between the two demonstrated ways, where {there:.0%} of the "
            "demonstrations do.",
            effect="The policy predicts the mean of two ways, or changes between them with every plan.",
            remedy="Use a generative family instead of a regression, and execute more of each plan (--n-action-steps), "
            "so that a choice is completed.",
            values={"between": here, "demonstrated_between": there, "explained": found.explained},
            confirmed=_committed(scene),
        )
    ]


def _committed(scene: Scene) -> Confirmation:
    policy = scene.subject.policy
    if not isinstance(policy, Policy) or policy.executor.n_action_steps == policy.spec.horizon:
        return Confirmation(test="Only a policy that plans chunks can execute more of each plan.")
    made = Policy(policy.planner, execution=policy.spec.execution)
    made.executor.n_action_steps = policy.spec.horizon
    return scene.trials.confirm("With every plan executed to its end", made)
