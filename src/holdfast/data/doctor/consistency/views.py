"""Two cameras that are exchanged from some episode on: each then shows what the other one showed before."""

from collections.abc import Iterator
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import HoldfastError
from ....types import Episodes, Pictures
from ..findings import DataFinding, warning

EPISODES, SIZE = 40, 8
"""Largest number of episodes whose first pictures are read, and pixels of their thumbnails."""
FEWEST, ALIKE = 3, 0.5


def check_views(episodes: Episodes) -> Iterator[DataFinding]:
    """Cameras whose first pictures of the later episodes are alike those of the other camera in the earlier ones."""
    full = torch.nonzero(episodes.lengths > 0).flatten()
    chosen = full[torch.linspace(0, max(len(full) - 1, 0), min(len(full), EPISODES)).long()]
    if len(episodes.cameras) < 2 or len(chosen) < 2 * FEWEST:
        return
    rows = episodes.starts.cpu()[chosen]
    small = {name: found for name, p in episodes.cameras.items() if (found := _thumbnails(p, rows)) is not None}
    for one, other in combinations(small, 2):
        first = _exchange(small[one], small[other])
        if first is not None:
            yield _finding(one, other, int(chosen[first - 1]), int(chosen[first]))


def _thumbnails(pictures: Pictures, rows: Tensor) -> Float[Tensor, "episodes pixels"] | None:
    """Small versions of the pictures; `None` if they cannot be read, which another check reports."""
    try:
        read = pictures.read(rows).to(torch.float32)
    except HoldfastError:
        return None
    return torch.nn.functional.adaptive_avg_pool2d(read.permute(0, 3, 1, 2), SIZE).flatten(1)


def _exchange(a: Float[Tensor, "episodes pixels"], b: Float[Tensor, "episodes pixels"]) -> int | None:
    """The first exchanged picture; `None` if the cameras are not exchanged, or show the same."""
    if a.shape != b.shape:
        return None
    for first in range(FEWEST, len(a) - FEWEST + 1):
        # a camera that is exchanged at the first picture of the search would fit its own mean no longer
        mean_a, mean_b = a[:first].mean(dim=0), b[:first].mean(dim=0)
        own, crossed = _away(a, mean_a) + _away(b, mean_b), _away(a, mean_b) + _away(b, mean_a)
        before, after = own[:first] < ALIKE * crossed[:first], crossed[first:] < ALIKE * own[first:]
        if bool(before.all()) and bool(after.all()):
            return first
    return None


def _away(pictures: Float[Tensor, "episodes pixels"], mean: Float[Tensor, " pixels"]) -> Float[Tensor, " episodes"]:
    return (pictures - mean).square().sum(dim=1).sqrt()


def _finding(one: str, other: str, last: int, first: int) -> DataFinding:
    where = (
        f"from episode {first} on" if first == last + 1 else f"between episodes {last} and {first}, and from then on"
    )
    return warning(
        "exchanged",
        f"The cameras {one} and {other} are exchanged {where}: each shows what the other showed before.",
        effect="The same name means two views. A policy that sees pictures averages over both.",
        remedy=f"Exchange the two in the later episodes and convert again, or leave out the episodes from {first} on "
        "(or those before) with --drop-episodes.",
        values={"cameras": [one, other], "first_episode": first, "last_before": last},
    )
