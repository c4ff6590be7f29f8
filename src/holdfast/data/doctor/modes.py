"""Multimodal actions: observations at which the mean of the demonstrated actions is not itself demonstrated.

For a step, the chunks of its nearest steps in K other episodes are projected onto their first principal direction and
cut in two where the parts explain most of the variance,

    η = max over cuts of  Var(between the parts) / Var(all)

Among unimodal distributions the uniform one has the largest η, so a step counts as *bimodal* if η is larger than in
99 % of uniform samples of size K (a split test after Otsu 1979, with the null distribution of the dip test, Hartigan
and Hartigan 1985). If the observations themselves distinguish the two parts, the step is not bimodal: both parts must
occur among the neighbours with the most similar observations.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...seeding import stream
from .findings import DataFinding, good, listed, note, share
from .neighbours import EpisodeNeighbours

MOST, FEWEST = 32, 12
SMALLEST = 0.2
"""Smallest share of the neighbours in each part; a single outlier is no mode."""
APART = 0.1
"""Smallest root mean square difference between the means of the parts, in units of [-1, 1]."""
LEVEL = 0.01
DISTINGUISHED = 0.5
"""Observations distinguish the parts if their accuracy is this far from chance to 1."""
ALIKE = 3
WORTH = 0.05
OPEN = 0.1


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """Neighbourhoods cut in two.

    Attributes:
        eta: Share of the variance along the first principal direction that is between the parts.
        apart: Distance of the parts' means, root mean square over the numbers of a chunk.
        right: Whether each neighbour belongs to the second part.
    """

    eta: Float[ndarray, " q"]
    apart: Float[ndarray, " q"]
    right: Bool[ndarray, "q k"]


def check_modes(near: EpisodeNeighbours) -> list[DataFinding]:
    """Share of bimodal steps, and the variance of actions that nearly equal observations do not explain."""
    count = min(MOST, near.distance.shape[1] - 1)
    if count < FEWEST:
        what = f"With {near.distance.shape[1]} episodes, multimodality cannot be determined; {FEWEST + 1} are needed."
        return [note("modes", what)]
    order = np.argpartition(near.distance, count - 1, axis=1)[:, :count]
    rows = np.take_along_axis(near.nearest, order, axis=1)
    two = np.zeros(len(rows), dtype=bool)
    within = 0.0
    needed, least = _largest_of_uniform(count), _least_spread(count)
    for block in np.array_split(np.arange(len(rows)), max(1, len(rows) // 128)):
        chunks = near.chunks.of(rows[block])
        spread = chunks.var(axis=1)
        within += float(spread.sum())
        able = block[spread.mean(axis=1) > least]
        found = bisect(chunks[able - block[0]])
        parted = (found.eta > needed) & (found.apart > APART)
        two[able[parted]] = ~_distinguished(near.z[rows[able[parted]]], found.right[parted])
    total = float(near.chunks.of(near.rows).var(axis=0).sum())
    left = within / len(rows) / total if total > 0 else 0.0
    away = float(np.median(np.take_along_axis(near.distance, order, axis=1)))
    return [_report(near, two, left, away)]


def _least_spread(count: int) -> float:
    """Smallest mean variance of the numbers of a chunk with which two parts can be far enough apart.

    Two parts of p and 1 − p of the chunks, at a distance d, have at least the variance p (1 − p) d².
    """
    part = _fewest(count) / count
    return 0.99 * part * (1 - part) * APART**2


def _fewest(count: int) -> int:
    """Number of neighbours in the smaller part, at least."""
    return max(2, int(SMALLEST * count))


def bisect(chunks: Float[ndarray, "q k w"]) -> Bisection:
    """Cut each group of chunks in two along its first principal direction."""
    centred = (chunks - chunks.mean(axis=1, keepdims=True)).astype(np.float64)
    spread, axes = np.linalg.eigh(centred @ centred.transpose(0, 2, 1))
    along = axes[:, :, -1] * np.sqrt(np.maximum(spread[:, -1:], 0.0))
    order = np.argsort(along, axis=1)
    cut, eta = _cut(np.take_along_axis(along, order, axis=1))
    right = np.zeros(along.shape, dtype=bool)
    np.put_along_axis(right, order, np.array(range(along.shape[1]))[None] >= cut[:, None], axis=1)
    between = _mean_of(chunks, right) - _mean_of(chunks, ~right)
    return Bisection(eta=eta, apart=np.sqrt((between**2).mean(axis=1)), right=right)


def _mean_of(chunks: Float[ndarray, "q k w"], part: Bool[ndarray, "q k"]) -> Float[ndarray, "q w"]:
    return (chunks * part[:, :, None]).sum(axis=1) / part.sum(axis=1)[:, None]


def _cut(ordered: Float[ndarray, "q k"]) -> tuple[Int[ndarray, " q"], Float[ndarray, " q"]]:
    """Size of the lower part at the best cut, and the fraction of the variance between the parts."""
    count = ordered.shape[1]
    fewest = _fewest(count)
    sizes = np.array(range(fewest, count - fewest + 1))
    sums: Float[ndarray, "q k"] = np.cumsum(ordered, axis=1)
    low = sums[:, sizes - 1] / sizes
    high = (sums[:, -1:] - sums[:, sizes - 1]) / (count - sizes)
    between = sizes * (count - sizes) / count**2 * (high - low) ** 2
    best = between.argmax(axis=1)
    total = ordered.var(axis=1)
    return sizes[best], np.where(total > 1e-24, between.max(axis=1) / np.maximum(total, 1e-24), 0.0)


def _largest_of_uniform(count: int) -> float:
    """The η that 1 % of uniform samples exceed."""
    drawn = torch.rand(4000, count, dtype=torch.float64, generator=stream(0, "doctor", "uniform")).sort(dim=1).values
    return float(np.quantile(_cut(drawn.numpy())[1], 1 - LEVEL))


def _distinguished(z: Float[ndarray, "q k d"], right: Bool[ndarray, "q k"]) -> Bool[ndarray, " q"]:
    """Whether neighbours with the most similar observations mostly belong to one part."""
    squares = (z**2).sum(axis=-1)
    gaps = squares[:, :, None] + squares[:, None] - 2 * z @ z.transpose(0, 2, 1)
    gaps[:, np.arange(z.shape[1]), np.arange(z.shape[1])] = np.inf
    alike = np.argpartition(gaps, ALIKE - 1, axis=2)[:, :, :ALIKE]
    same = np.take_along_axis(right[:, None, :].repeat(z.shape[1], axis=1), alike, axis=2) == right[:, :, None]
    part = right.mean(axis=1)
    chance = part**2 + (1 - part) ** 2
    return same.mean(axis=(1, 2)) - chance > DISTINGUISHED * (1 - chance)


def _report(near: EpisodeNeighbours, two: Bool[ndarray, " q"], left: float, away: float) -> DataFinding:
    part = float(two.mean())
    values = {"share": part, "left_open": left, "distance": away, "steps": len(two)}
    rest = (
        f"The nearest steps of other episodes (median distance {away:.2g}) leave {share(left)} of the variance of the "
        "action chunks unexplained."
    )
    if part >= WORTH:
        chosen = near.rows[two][:: max(1, int(two.sum()) // 3)]
        places = listed([near.recording.where(row) for row in chosen[:3]])
        return note(
            "modes",
            f"At {share(part)} of the steps, nearly equal observations have two distinct actions, for example "
            f"{places}. {rest}",
            effect="A regression would predict their mean, which was never demonstrated.",
            remedy="Keep the default, a generative model (docs/choose.md flies the families on a fork).",
            values=values,
        )
    few = f"Few steps ({share(part)})" if part else "No steps"
    what = f"{few} have two distinct actions for nearly equal observations. {rest}"
    if left < OPEN:
        return good("modes", what, "One action for each observation.", values=values)
    return note(
        "modes",
        what,
        effect="The rest is unimodal variation, or due to the distance of the neighbors, which denser demonstrations "
        "would show. A regression would learn its mean.",
        remedy="Nothing to change: the default is a generative model.",
        values=values,
    )
