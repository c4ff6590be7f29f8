"""Distance of a policy's observations from the demonstrations, relative to the distances between demonstrations.

    novelty(o) = min_i ‖(o − o_i) / half range‖,   over the demonstrated observations o_i

A learned policy is reliable only near its training data. The reference is the novelty of a further demonstration: the
distance of each demonstrated observation to the nearest one of *another* episode.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import MinMax
from ..errors import DataError
from ..seeding import stream
from ..types import Episodes

MAX_ROWS = 20_000
"""Largest number of demonstrated observations; more are subsampled at random."""
ROWS_PER_CALL = 512


@dataclass(frozen=True)
class Novelty:
    """Distances to the demonstrations, in normalised coordinates.

    Attributes:
        distances: Distance of the policy's observation at each step.
        demonstrated_median: Median distance of demonstrated observations to the other episodes.
        demonstrated_95: 95 % quantile of this distance.
    """

    distances: Float[Tensor, "b t"]
    demonstrated_median: float
    demonstrated_95: float

    @property
    def outside(self) -> Float[Tensor, " t"]:
        """Share of episodes at each step that are farther from all demonstrations than 95 % of demonstrations are."""
        known = self.distances.isfinite()
        return ((self.distances > self.demonstrated_95) & known).sum(0) / known.sum(0).clamp(min=1)


@torch.no_grad()
def novelty(
    observed: Float[Tensor, "b t d"], demonstrations: Episodes, *, scale: MinMax | None = None, seed: int = 0
) -> Novelty:
    """Distances of a policy's observations from the demonstrations.

    Args:
        observed: Observations of the policy.
        demonstrations: At least two episodes.
        scale: Observation ↔ [-1, 1]. Default: fitted to the demonstrations.
        seed: Random seed for the subsampling.

    Raises:
        DataError: There are fewer than two episodes, or observations of another dimension.
    """
    shown = demonstrations.observed.vector
    if len(demonstrations) < 2:
        raise DataError("one demonstration does not define the distance between demonstrations. Give at least two.")
    if shown.shape[1] != observed.shape[2]:
        raise DataError(
            f"expected observations of dimension {shown.shape[1]}, as in the data, got {observed.shape[2]}."
        )
    units = MinMax.fit(shown) if scale is None else scale
    rows = torch.randperm(len(shown), generator=stream(seed, "novelty"))[:MAX_ROWS]
    episode = torch.repeat_interleave(torch.arange(len(demonstrations)), demonstrations.lengths)[rows]
    known = units.normalize(shown[rows].double())
    some = slice(0, 4 * ROWS_PER_CALL)
    among = _nearest(known[some], known, episodes=(episode[some], episode))
    found = _nearest(units.normalize(observed.double()).flatten(0, 1), known).view(observed.shape[:2])
    demonstrated_median, demonstrated_95 = (float(among.quantile(share)) for share in (0.5, 0.95))
    return Novelty(distances=found, demonstrated_median=demonstrated_median, demonstrated_95=demonstrated_95)


def _nearest(
    these: Float[Tensor, "r d"], those: Float[Tensor, "n d"], *, episodes: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, " r"]:
    """Distance of each row to the nearest of the others, outside its own episode if `episodes` of both are given."""
    parts = list[Tensor]()
    for begin in range(0, len(these), ROWS_PER_CALL):
        part = slice(begin, begin + ROWS_PER_CALL)
        separation = torch.cdist(these[part], those)
        if episodes is not None:
            separation = separation.masked_fill(episodes[0][part, None] == episodes[1], torch.inf)
        parts.append(separation.amin(dim=1))
    return torch.cat(parts)
