"""Two cameras that are exchanged in some episodes: each then shows what the other one usually shows.

The first pictures of the episodes are compared with the median picture of each camera, pixel by pixel, which a minority
of exchanged episodes does not move.
"""

from collections.abc import Iterator
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ....errors import HoldfastError
from ....types import Episodes, Pictures
from ...choosing import dropping
from ..findings import DataFinding, listed, warning

EPISODES, MOST, SIZE = 40, 400, 8
"""Largest number of episodes whose first pictures are read, the same once one is exchanged, and pixels of their
thumbnails."""
ROUNDS = 5
FEWEST, SINGLE, ALIKE = 3, 2, 0.8
"""Smallest number of episodes on each side of a change, and of exchanged episodes at any place."""


def check_views(episodes: Episodes) -> Iterator[DataFinding]:
    """Cameras whose first pictures are, in some episodes, like those of the other camera in most."""
    full = torch.nonzero(episodes.lengths > 0).flatten()
    for one, other in combinations(episodes.cameras, 2) if len(full) >= 2 * FEWEST else ():
        cameras = episodes.cameras[one], episodes.cameras[other]
        for most in (EPISODES, MOST):
            chosen = full[torch.linspace(0, len(full) - 1, min(len(full), most)).long()]
            exchanged = _exchanged(cameras, episodes.starts.cpu()[chosen])
            if exchanged is None or not exchanged.any():
                break
        else:
            yield _finding(one, other, chosen, exchanged)


def _exchanged(cameras: tuple[Pictures, Pictures], rows: Int[Tensor, " e"]) -> Bool[Tensor, " e"] | None:
    a, b = (_thumbnails(pictures, rows) for pictures in cameras)
    return None if a is None or b is None else _exchange(a, b)


def _thumbnails(pictures: Pictures, rows: Tensor) -> Float[Tensor, "episodes pixels"] | None:
    """Small versions of the pictures; `None` if they cannot be read, which another check reports."""
    try:
        read = pictures.read(rows).to(torch.float32)
    except HoldfastError:
        return None
    return torch.nn.functional.adaptive_avg_pool2d(read.permute(0, 3, 1, 2), SIZE).flatten(1)


def _exchange(
    a: Float[Tensor, "episodes pixels"], b: Float[Tensor, "episodes pixels"]
) -> Bool[Tensor, " episodes"] | None:
    """Which episodes have the cameras exchanged; `None` if the cameras show nearly the same, or anything at all.

    Of two groups, the one that holds the first episode is right where the other one begins later and never ends, and
    the larger one elsewhere.
    """
    if a.shape != b.shape:
        return None
    first = torch.zeros(len(a), dtype=torch.bool)
    own, crossed = _distances(a, b, first)
    for _ in range(ROUNDS):
        first = crossed < own
        own, crossed = _distances(a, b, first)
    clear = torch.where(first, crossed < ALIKE * own, own < ALIKE * crossed)
    turns = torch.nonzero(first[1:] != first[:-1]).flatten()
    if not bool(clear.all()) or min(int(first.sum()), int((~first).sum())) < SINGLE:
        return None if not bool(clear.all()) else torch.zeros_like(first)
    if len(turns) == 1 and FEWEST <= int(turns[0]) + 1 <= len(a) - FEWEST:
        return first != first[0]
    return first if first.sum() <= len(a) / 2 else ~first


def _distances(
    a: Float[Tensor, "episodes pixels"], b: Float[Tensor, "episodes pixels"], exchanged: Bool[Tensor, " episodes"]
) -> tuple[Float[Tensor, " episodes"], Float[Tensor, " episodes"]]:
    """How far the pictures are from what their own camera usually shows, and from what the other one does."""
    both = torch.where(exchanged[:, None], b, a), torch.where(exchanged[:, None], a, b)
    one, two = (pictures.median(dim=0).values for pictures in both)
    return _away(a, one) + _away(b, two), _away(a, two) + _away(b, one)


def _away(pictures: Float[Tensor, "episodes pixels"], mean: Float[Tensor, " pixels"]) -> Float[Tensor, " episodes"]:
    return (pictures - mean).square().sum(dim=1).sqrt()


def _finding(one: str, other: str, chosen: Int[Tensor, " e"], exchanged: Bool[Tensor, " e"]) -> DataFinding:
    numbers = [int(e) for e in chosen[exchanged]]
    right = [int(e) for e in chosen[~exchanged]]
    if begins := numbers[0] > right[-1]:
        first, last = numbers[0], right[-1]
        near = (
            f"from episode {first} on"
            if first == last + 1
            else f"between episodes {last} and {first}, and from then on"
        )
        drop = f"--drop-episodes {first}-"
    else:
        near, drop = f"in the episodes {listed(numbers, 40)}", dropping(numbers)
    return warning(
        "exchanged",
        f"The cameras {one} and {other} are exchanged {near}: each shows what the other one usually shows.",
        effect="The same name means two views. A policy that sees pictures averages over both.",
        remedy="Exchange the two in these episodes and convert again, or leave them out with " + drop + ".",
        values={"cameras": [one, other], "episodes": numbers}
        | ({"first_episode": numbers[0], "last_before": right[-1]} if begins else {}),
    )
