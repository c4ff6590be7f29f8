"""Several answers to one observation: where the mean of the demonstrated actions is none of them.

For a step, the chunks of its nearest steps in K other episodes are laid along their first principal direction and cut
in two where the parts explain most of the variance,

    η = max over cuts of  Var(between the parts) / Var(all)

Of all laws with a single mode the uniform one splits best, so the neighbourhood counts as *two answers* where η is
larger than in 99 % of uniform samples of K (a split test after Otsu 1979, with the null law of the dip test, Hartigan
and Hartigan 1985). Where the observations themselves tell the two parts apart, the step has one answer after all: parts
must be mixed among the neighbours that look most alike.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...seeding import stream
from .findings import Finding, listed, share
from .neighbours import Neighbours

__all__ = ["check_modes"]

MOST, FEWEST = 32, 12
SMALLEST = 0.2
"""Each part holds at least this share of the neighbours; a single odd one makes no mode."""
APART = 0.1
"""The parts' means differ by this much a number, of [-1, 1]; less does not matter."""
LEVEL = 0.01
TOLD = 0.5
"""Parts are told apart by what is seen if looking goes this far from chance to certainty."""
ALIKE = 3
WORTH = 0.05
OPEN = 0.1


@dataclass(frozen=True, kw_only=True)
class Split:
    """Neighbourhoods cut in two.

    Attributes:
        eta: Share of the variance along the first principal direction that lies between the parts.
        apart: Distance of the parts' means, root mean square over the numbers of a chunk.
        right: Which neighbours belong to the second part.
    """

    eta: Float[ndarray, " q"]
    apart: Float[ndarray, " q"]
    right: Bool[ndarray, "q k"]


def check_modes(near: Neighbours) -> list[Finding]:
    """Share of the steps with two answers, and what near-equal observations leave open of the action."""
    count = min(MOST, near.distance.shape[1] - 1)
    if count < FEWEST:
        said = f"With {near.distance.shape[1]} episodes it cannot be told whether one observation has several answers; "
        return [Finding(check="modes", severity="note", what=f"{said}it takes {FEWEST + 1}.")]
    order = np.argpartition(near.distance, count - 1, axis=1)[:, :count]
    rows = np.take_along_axis(near.nearest, order, axis=1)
    two = np.zeros(len(rows), dtype=bool)
    within = 0.0
    needed = _largest_of_uniform(count)
    for block in np.array_split(np.arange(len(rows)), max(1, len(rows) // 128)):
        chunks = near.chunks.of(rows[block])
        within += float(chunks.var(axis=1).sum())
        found = split(chunks)
        two[block] = (found.eta > needed) & (found.apart > APART) & ~_told(near.z[rows[block]], found.right)
    total = float(near.chunks.of(near.rows).var(axis=0).sum())
    left = within / len(rows) / total if total > 0 else 0.0
    away = float(np.median(np.take_along_axis(near.distance, order, axis=1)))
    return [_say(near, two, left, away)]


def split(chunks: Float[ndarray, "q k w"]) -> Split:
    """Cut each group of chunks in two along its first principal direction."""
    centred = (chunks - chunks.mean(axis=1, keepdims=True)).astype(np.float64)
    spread, axes = np.linalg.eigh(centred @ centred.transpose(0, 2, 1))
    along = axes[:, :, -1] * np.sqrt(np.maximum(spread[:, -1:], 0.0))
    order = np.argsort(along, axis=1)
    cut, eta = _cut(np.take_along_axis(along, order, axis=1))
    right = np.zeros(along.shape, dtype=bool)
    np.put_along_axis(right, order, np.array(range(along.shape[1]))[None] >= cut[:, None], axis=1)
    between = _mean_of(chunks, right) - _mean_of(chunks, ~right)
    return Split(eta=eta, apart=np.sqrt((between**2).mean(axis=1)), right=right)


def _mean_of(chunks: Float[ndarray, "q k w"], part: Bool[ndarray, "q k"]) -> Float[ndarray, "q w"]:
    return (chunks * part[:, :, None]).sum(axis=1) / part.sum(axis=1)[:, None]


def _cut(ordered: Float[ndarray, "q k"]) -> tuple[Int[ndarray, " q"], Float[ndarray, " q"]]:
    """Size of the lower part at the best cut, and the share of the variance between the parts."""
    count = ordered.shape[1]
    fewest = max(2, int(SMALLEST * count))
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


def _told(z: Float[ndarray, "q k d"], right: Bool[ndarray, "q k"]) -> Bool[ndarray, " q"]:
    """Whether neighbours that look most alike mostly belong to one part."""
    squares = (z**2).sum(axis=-1)
    gaps = squares[:, :, None] + squares[:, None] - 2 * z @ z.transpose(0, 2, 1)
    gaps[:, np.arange(z.shape[1]), np.arange(z.shape[1])] = np.inf
    alike = np.argpartition(gaps, ALIKE - 1, axis=2)[:, :, :ALIKE]
    same = np.take_along_axis(right[:, None, :].repeat(z.shape[1], axis=1), alike, axis=2) == right[:, :, None]
    part = right.mean(axis=1)
    chance = part**2 + (1 - part) ** 2
    return same.mean(axis=(1, 2)) - chance > TOLD * (1 - chance)


def _say(near: Neighbours, two: Bool[ndarray, " q"], left: float, away: float) -> Finding:
    part = float(two.mean())
    values = {"share": part, "left_open": left, "distance": away, "steps": len(two)}
    rest = (
        f"Among the nearest steps of other episodes (median distance {away:.2g}), {share(left)} of the variance of the "
    )
    rest += "action chunks stays open"
    if part >= WORTH:
        chosen = near.rows[two][:: max(1, int(two.sum()) // 3)]
        places = listed([near.recording.say(int(row)) for row in chosen[:3]])
        return Finding(
            check="modes",
            severity="note",
            what=f"{share(part)} of the steps have two distinct answers to one observation, for example {places}. "
            f"{rest}.",
            effect="A regression would answer with their mean, which nobody demonstrated.",
            remedy="Keep a generative model (the default), and chunks long enough to carry a choice through "
            "(--horizon).",
            values=values,
        )
    few = f"Few steps, {share(part)}, have" if part else "No step has"
    return Finding(
        check="modes",
        severity="good" if left < OPEN else "note",
        what=f"{few} two distinct answers to one observation. {rest}.",
        effect="A regression could learn these actions; a generative model does no harm."
        if left < OPEN
        else "What stays open is a spread without a gap, or differences that neighbours this far away explain: denser "
        "demonstrations would tell. A regression would learn the middle of the spread.",
        remedy="" if left < OPEN else "A generative model (the default) is the safe choice.",
        values=values,
    )
