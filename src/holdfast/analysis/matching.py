"""Exact optimal couplings of two sets of k equally likely samples, from the distances between them.

    TV_ε = inf_μ P_μ[d(X, Y) > ε] = 1 − (largest matching of the graph d ≤ ε) / k
    W₁   = inf_μ E_μ[d(X, Y)]     = least mean distance over the pairings

Both are attained by a pairing, because pairings are the extreme points of the couplings (Birkhoff 1946). They are exact
for the *samples*. Of the laws that the samples came from they say too much: E TV_ε(samples) ≥ TV_ε(laws) for every k,
and the same of W₁, for a pairing of samples is a coupling of the laws. `witnesses` has intervals.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError

__all__ = ["pairwise", "total_variation", "wasserstein"]

MANY_NUMBERS = 2**22
"""Numbers held at a time when differences are not plain ones."""
PIVOTS = 10**9
"""Of the network simplex, in effect no limit: an answer cut short would not be exact."""


def total_variation(distances: Float[Tensor, "*b k j"], epsilons: Sequence[float] | Tensor) -> Float[Tensor, "*b e"]:
    """Share of two sets of k samples that no coupling brings within ε, at each ε: TV_ε of the two empirical laws.

    With d = d_max between composite actions it is Δ_ε (Block et al. 2023, arXiv 2307.14619, definition 3.1). Computed
    by augmenting paths (Pothen and Fan 1990) over rows of bits: on graphs as dense as these, that is a hundred times
    faster than `scipy.sparse.csgraph.maximum_bipartite_matching`, whose answer is the same.

    Args:
        distances: From each sample of the one set to each of the other; infinite where a pair can never match.
        epsilons: Above zero.

    Raises:
        RecipeError: An ε of zero or below.
        ShapeError: The sets are not equally large.
        DataError: A distance that is negative or no number.

    >>> total_variation(torch.tensor([[0.0, 2.0], [1.0, 3.0]]), [0.5, 1.0, 2.0]).tolist()
    [0.5, 0.5, 0.0]
    """
    levels, tables = levels_of(epsilons), _checked(distances)
    k = tables.shape[-1]
    everyone = (1 << k) - 1
    shares = [
        [1 - matched(bits(table <= float(level)), everyone) / k for level in levels]
        for table in tables.reshape(-1, k, k)
    ]
    return torch.tensor(shares, dtype=torch.float64).reshape(*distances.shape[:-2], len(levels))


def wasserstein(distances: Float[Tensor, "*b k j"]) -> Float[Tensor, "*b"]:
    """W₁ of two sets of k samples: least mean distance of a pairing, by POT's network simplex.

    Samples may be lost, that is infinitely far from all but one another; W₁ is infinite where the sets have lost
    unequally many.

    Raises:
        ShapeError: The sets are not equally large.
        DataError: A distance that is negative or no number.

    >>> wasserstein(torch.tensor([[0.0, 2.0], [1.0, 3.0]]))
    tensor(1.5000, dtype=torch.float64)
    """
    tables = _checked(distances)
    values = [transport(table)[0] for table in tables.reshape(-1, *tables.shape[-2:])]
    return torch.tensor(values, dtype=torch.float64).reshape(distances.shape[:-2])


def pairwise(
    one: Float[Tensor, "i n"],
    other: Float[Tensor, "j n"],
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub,
    weights: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, "i j"]:
    """Euclidean distances ‖w · (x − y)‖ between all vectors of two sets, in float64.

    Args:
        one: Vectors x.
        other: Vectors y.
        difference: The system's own difference of states (angles wrap).
        weights: Factor of each coordinate of the difference.
    """
    one, other = one.double(), other.double()
    scale = torch.ones_like(one[0]) if weights is None else weights.to(one)
    if difference is torch.sub:
        # the quick way by inner products errs by 1e-8 near zero, which moves pairs across ε
        return torch.cdist(one * scale, other * scale, compute_mode="donot_use_mm_for_euclid_dist")
    rows = max(1, MANY_NUMBERS // max(other.numel(), 1))
    shape = (len(other), one.shape[-1])
    parts = list[Tensor]()
    for begin in range(0, len(one), rows):
        part = one[begin : begin + rows]
        apart = difference(part[:, None].expand(-1, *shape), other.expand(len(part), *shape))
        parts.append((apart * scale).square().sum(dim=-1).sqrt())
    return torch.cat(parts)


def levels_of(epsilons: Sequence[float] | Tensor) -> Float[Tensor, " e"]:
    """The values of ε as numbers, checked.

    Raises:
        RecipeError: None given, or one of zero or below, or infinite, or no number.
    """
    levels = torch.as_tensor(epsilons, dtype=torch.float64).reshape(-1)
    wrong = levels[~((levels > 0) & levels.isfinite())]
    if not len(levels) or len(wrong):
        found = f"{wrong[0]:g}" if len(wrong) else "none"
        raise RecipeError(
            f"expected values of epsilon above zero, got {found}. Between continuous laws the loss at 0 is 1 whatever "
            "the policy does; take the size of error that matters to the task."
        )
    return levels


def bits(near: NDArray[np.bool_]) -> list[int]:
    """Each row of a table of truths as one integer, whose bit j is column j."""
    packed = np.packbits(near, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def matched(rows: Sequence[int], columns: int) -> int:
    """Size of a largest matching between rows and columns of a bipartite graph.

    Args:
        rows: The columns that each row may be matched with, as bits.
        columns: The columns there are, as bits.
    """
    rows = [row & columns for row in rows]
    owner = [-1] * columns.bit_length()
    idle, free = list[int](), columns
    for index, row in enumerate(rows):
        if ends := row & free:
            # most find a free column at once, without a search
            last = ends & -ends
            owner[last.bit_length() - 1] = index
            free ^= last
        else:
            idle.append(index)
    while True:
        # a column need be entered once a pass only; a pass that adds nothing proves the matching largest
        unseen, left = columns, list[int]()
        for row in idle:
            found, free, unseen = _augment(rows, row, owner, free, unseen)
            if not found:
                left.append(row)
        if not left or len(left) == len(idle):
            return len(rows) - len(left)
        idle = left


def _augment(rows: Sequence[int], start: int, owner: list[int], free: int, unseen: int) -> tuple[bool, int, int]:
    """Match one more row along an alternating path, if there is one: whether, and the free and unseen columns left."""
    path, entered = [start], list[int]()
    while path:
        reach = rows[path[-1]]
        if ends := reach & free:
            last = ends & -ends
            entered.append(last.bit_length() - 1)
            for row, column in zip(path, entered, strict=True):
                owner[column] = row
            return True, free ^ last, unseen
        if doors := reach & unseen:
            door = doors & -doors
            unseen ^= door
            entered.append(door.bit_length() - 1)
            path.append(owner[entered[-1]])
        else:
            path.pop()
            del entered[-1:]
    return False, free, unseen


def transport(table: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Least mean distance of a pairing, and the potentials u, v that prove it: uᵢ + vⱼ ≤ dᵢⱼ, mean u + mean v = W₁.

    Infinite distances are allowed; where they cannot be avoided W₁ is infinite.
    """
    import ot  # pyright: ignore[reportMissingTypeStubs]  # takes a second to import

    # so far away that one such pair outweighs any pairing of the others
    away = (len(table) + 1) * (1 + float(table.max(where=np.isfinite(table), initial=0.0)))
    even = np.full(len(table), 1 / len(table))
    _, log = cast(Any, ot).emd(even, even, np.minimum(table, away), numItermax=PIVOTS, log=True)
    cost = float(log["cost"])
    return (cost if cost < away / (len(table) + 1) else float("inf")), log["u"], log["v"]


def _checked(distances: Tensor) -> NDArray[np.float64]:
    if distances.shape[-1] != distances.shape[-2] or not distances.shape[-1]:
        raise ShapeError(
            f"expected distances between two sets of equally many samples, got a table of {distances.shape[-2]} by "
            f"{distances.shape[-1]}. Draw as many of the one as of the other."
        )
    if not bool((distances >= 0).all()):
        raise DataError("a distance is negative or no number. Give infinity where a pair can never be matched.")
    return distances.detach().cpu().double().numpy()
