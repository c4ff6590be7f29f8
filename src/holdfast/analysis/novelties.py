"""How far a policy goes from what was demonstrated, and how far demonstrations are from one another.

    novelty(o) = min_i ‖(o − o_i) / half range‖,   over the demonstrated observations o_i

A learnt policy is only known to be right where there were data. The yardstick is what a further demonstration would
show: the distance of each demonstrated observation to the nearest one of *another* episode.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import MinMax
from ..errors import DataError
from ..seeding import stream
from ..types import Episodes

__all__ = ["Novelty", "novelty"]

MOST_ROWS = 20_000
"""Of the demonstrations; more are thinned at random."""
ROWS_A_CALL = 512


@dataclass(frozen=True)
class Novelty:
    """Distances to the demonstrations, in normalised coordinates.

    Attributes:
        visited: Of what the policy saw, at each step.
        usual: Of a demonstrated observation to the other episodes: median.
        unusual: The same: 95 % quantile.
    """

    visited: Float[Tensor, "b t"]
    usual: float
    unusual: float

    @property
    def outside(self) -> Float[Tensor, " t"]:
        """Share of flights that are further from all demonstrations than 95 % of demonstrations are, at each step."""
        known = self.visited.isfinite()
        return ((self.visited > self.unusual) & known).sum(0) / known.sum(0).clamp(min=1)


@torch.no_grad()
def novelty(
    observed: Float[Tensor, "b t d"], demonstrations: Episodes, *, scale: MinMax | None = None, seed: int = 0
) -> Novelty:
    """Measure what a policy saw against what was demonstrated.

    Args:
        observed: What the policy saw.
        demonstrations: At least two episodes.
        scale: Observation ↔ [-1, 1]; fitted on the demonstrations if nothing is said.
        seed: Of the thinning.

    Raises:
        DataError: Fewer than two episodes, or observations of another size.
    """
    shown = demonstrations.observed.vector
    if len(demonstrations) < 2:
        raise DataError("one demonstration says nothing about how far demonstrations are apart. Give at least two.")
    if shown.shape[1] != observed.shape[2]:
        raise DataError(f"expected observations of {shown.shape[1]} numbers, as demonstrated, got {observed.shape[2]}.")
    units = MinMax.fit(shown) if scale is None else scale
    rows = torch.randperm(len(shown), generator=stream(seed, "novelty"))[:MOST_ROWS]
    episode = torch.repeat_interleave(torch.arange(len(demonstrations)), demonstrations.lengths)[rows]
    known = units.normalize(shown[rows].double())
    some = slice(0, 4 * ROWS_A_CALL)
    among = _nearest(known[some], known, apart=(episode[some], episode))
    found = _nearest(units.normalize(observed.double()).flatten(0, 1), known).view(observed.shape[:2])
    usual, unusual = (float(among.quantile(share)) for share in (0.5, 0.95))
    return Novelty(visited=found, usual=usual, unusual=unusual)


def _nearest(
    these: Float[Tensor, "r d"], those: Float[Tensor, "n d"], *, apart: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, " r"]:
    """Distance of each to the nearest of the others; `apart` numbers the episodes of both, and leaves out the own."""
    parts = list[Tensor]()
    for begin in range(0, len(these), ROWS_A_CALL):
        part = slice(begin, begin + ROWS_A_CALL)
        distances = torch.cdist(these[part], those)
        if apart is not None:
            distances = distances.masked_fill(apart[0][part, None] == apart[1], torch.inf)
        parts.append(distances.amin(dim=1))
    return torch.cat(parts)
