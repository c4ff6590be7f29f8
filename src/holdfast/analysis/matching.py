"""Exact optimal couplings of two sets of k equally likely samples, from their pairwise distances.

    TV_ε = inf_μ P_μ[d(X, Y) > ε] = 1 − (maximum matching of the graph d ≤ ε) / k
    W₁   = inf_μ E_μ[d(X, Y)]     = least mean distance over the pairings

Both are attained by a pairing, because pairings are the extreme points of the couplings (Birkhoff 1946). They are exact
for the *samples*, and biased upwards for the distributions: a pairing of samples is a coupling of the distributions, so
E TV_ε(samples) ≥ TV_ε(distributions) for every k, and likewise for W₁. `sample_bounds` computes intervals.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError

BLOCK_SIZE = 2**22
"""Largest number of values in memory for differences other than plain subtraction."""
PIVOTS = 10**9
"""Iteration limit of the network simplex, large enough never to be reached: a truncated solution is not exact."""


def total_variation(distances: Float[Tensor, "*b k j"], epsilons: Sequence[float] | Tensor) -> Float[Tensor, "*b e"]:
    """TV_ε of the empirical distributions of two sets of k samples: unmatched share of an optimal coupling at each ε.

    With d = d_max between composite actions this is Δ_ε (Block et al. 2023, arXiv 2307.14619, definition 3.1). Computed
    by augmenting paths (Pothen and Fan 1990) on rows of bits, which on these dense graphs is a hundred times faster
    than `scipy.sparse.csgraph.maximum_bipartite_matching`, with the same result.

    Args:
        distances: Distances between the samples of the two sets; infinite for pairs that cannot match.
        epsilons: Tolerances ε > 0.

    Raises:
        RecipeError: A tolerance is not positive.
        ShapeError: The sets differ in size.
        DataError: A distance is negative or NaN.

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

    Lost samples are infinitely far from all others and at distance 0 from one another; W₁ is infinite if the sets have
    different numbers of lost samples.

    Raises:
        ShapeError: The sets differ in size.
        DataError: A distance is negative or NaN.

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
        difference: Difference of two states.
        weights: Factor of each coordinate of the difference.
    """
    one, other = one.double(), other.double()
    scale = torch.ones_like(one[0]) if weights is None else weights.to(one)
    if difference is torch.sub:
        # the default computation by inner products has errors of 1e-8 near zero, which move pairs across ε
        return torch.cdist(one * scale, other * scale, compute_mode="donot_use_mm_for_euclid_dist")
    rows = max(1, BLOCK_SIZE // max(other.numel(), 1))
    shape = (len(other), one.shape[-1])
    parts = list[Tensor]()
    for begin in range(0, len(one), rows):
        part = one[begin : begin + rows]
        differences = difference(part[:, None].expand(-1, *shape), other.expand(len(part), *shape))
        parts.append((differences * scale).square().sum(dim=-1).sqrt())
    return torch.cat(parts)


def levels_of(epsilons: Sequence[float] | Tensor) -> Float[Tensor, " e"]:
    """Validated tolerances ε.

    Raises:
        RecipeError: There is none, or one is not positive and finite.
    """
    levels = torch.as_tensor(epsilons, dtype=torch.float64).reshape(-1)
    wrong = levels[~((levels > 0) & levels.isfinite())]
    if not len(levels) or len(wrong):
        found = f"{wrong[0]:g}" if len(wrong) else "none"
        raise RecipeError(
            f"expected values of epsilon above zero, got {found}. At 0 the loss between continuous distributions is 1 "
            "for every policy; use the size of error that matters for the task."
        )
    return levels


def bits(near: NDArray[np.bool_]) -> list[int]:
    """Rows of a boolean table as integers; bit j is column j."""
    packed = np.packbits(near, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def matched(rows: Sequence[int], columns: int) -> int:
    """Size of a maximum matching between rows and columns of a bipartite graph.

    Args:
        rows: Admissible columns of each row, as bits.
        columns: All columns, as bits.
    """
    rows = [row & columns for row in rows]
    owner = [-1] * columns.bit_length()
    idle, free = list[int](), columns
    for index, row in enumerate(rows):
        if ends := row & free:
            # most rows find a free column without a search
            last = ends & -ends
            owner[last.bit_length() - 1] = index
            free ^= last
        else:
            idle.append(index)
    while True:
        # a column is entered at most once per pass; a pass without a new match proves that the matching is maximum
        unseen, left = columns, list[int]()
        for row in idle:
            found, free, unseen = _augment(rows, row, owner, free, unseen)
            if not found:
                left.append(row)
        if not left or len(left) == len(idle):
            return len(rows) - len(left)
        idle = left


def _augment(rows: Sequence[int], start: int, owner: list[int], free: int, unseen: int) -> tuple[bool, int, int]:
    """Match one more row along an alternating path: whether it succeeded, and the free and unvisited columns left."""
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
    """W₁, and the potentials u, v that prove it optimal: uᵢ + vⱼ ≤ dᵢⱼ, mean u + mean v = W₁.

    Distances may be infinite; if no pairing avoids them, W₁ is infinite.
    """
    import ot  # pyright: ignore[reportMissingTypeStubs]  # takes a second to import

    # so large that one such pair costs more than any pairing of the others
    away = (len(table) + 1) * (1 + float(table.max(where=np.isfinite(table), initial=0.0)))
    even = np.full(len(table), 1 / len(table))
    _, log = cast(Any, ot).emd(even, even, np.minimum(table, away), numItermax=PIVOTS, log=True)
    cost = float(log["cost"])
    return (cost if cost < away / (len(table) + 1) else float("inf")), log["u"], log["v"]


def _checked(distances: Tensor) -> NDArray[np.float64]:
    if distances.shape[-1] != distances.shape[-2] or not distances.shape[-1]:
        raise ShapeError(
            f"expected distances between two sets of equally many samples, got a table of {distances.shape[-2]} by "
            f"{distances.shape[-1]}. Draw equally many samples of both."
        )
    if not bool((distances >= 0).all()):
        raise DataError("a distance is negative or NaN. Use infinity for pairs that cannot match.")
    return distances.detach().cpu().double().numpy()
