"""How much of the space the episodes cover, and whether a new start would be near known states.

Distances are root mean squares over coordinates in normalised units, comparable with σ (see `neighbours`). The spacing
of the demonstrations is not the error of a policy: it suggests no σ (`benchmarks/advice.py` flies such a suggestion).
The variogram (Matheron 1963) shows how action chunks differ by the distance of their observations.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .findings import Coverage, DataFinding, counted, listed, note, share, warning
from .neighbours import EpisodeNeighbours

SIGMAS = (0.03, 0.1, 0.3)
"""Values of σ in the reports: those of HINT and one below."""
BINS, FEWEST = 18, 30
ODD, FAR = 4.0, 0.1
PAIRS = 30_000


def coverage_of(near: EpisodeNeighbours) -> Coverage:
    """Distances from starts and steps to other episodes, and the difference of actions by distance."""
    nearest = near.distance.min(axis=1)
    distances, disagreement = _variogram(near)
    starts, paths = nearest[near.at_start], nearest[~near.at_start]
    return Coverage(starts=starts, paths=paths, distances=distances, disagreement=disagreement)


def _variogram(near: EpisodeNeighbours) -> tuple[Float[ndarray, " bins"], Float[ndarray, " bins"]]:
    """Half the mean squared difference of action chunks over their variance, by distance of observations."""
    total = float(near.chunks.of(near.rows).var(axis=0, dtype=np.float64).sum())
    gaps = near.distance.ravel()
    usable = np.flatnonzero(np.isfinite(gaps) & (gaps > 0))
    if not len(usable) or total <= 0:
        return np.zeros(0), np.zeros(0)
    # equally many pairs from each distance: near pairs are few, and matter most
    edges = np.geomspace(max(1e-3, float(gaps[usable].min())), float(gaps[usable].max()) * 1.001, BINS + 1)
    which = np.digitize(gaps[usable], edges)
    distances, disagreement = list[float](), list[float]()
    for index in range(1, BINS + 1):
        inside = usable[which == index]
        if len(inside) < FEWEST:
            continue
        some = inside[:: max(1, len(inside) * BINS // PAIRS)]
        here, there = near.rows[some // near.distance.shape[1]], near.nearest.ravel()[some]
        squares = ((near.chunks.of(here) - near.chunks.of(there)) ** 2).sum(axis=1, dtype=np.float64)
        distances.append(float(np.median(gaps[some])))
        disagreement.append(float(squares.mean()) / (2 * total))
    return np.array(distances), np.array(disagreement)


def check_coverage(near: EpisodeNeighbours, coverage: Coverage) -> Iterator[DataFinding]:
    """Distances between episodes, effective number of starts, outlying episodes, and a range for σ."""
    yield _starts(near, coverage)
    yield from _outliers(near)
    if len(coverage.paths):
        median = float(np.median(coverage.paths))
        shares, text = _within(coverage.paths)
        yield note(
            "paths covered",
            f"Along the episodes, the median distance to the nearest step of another episode is {median:.2g}: {text}.",
            effect="Where other episodes are near, a policy that deviates finds demonstrations that lead back.",
            values={"median": median, **shares},
        )


def _within(values: Float[ndarray, " k"]) -> tuple[dict[str, float], str]:
    """Share of the distances within each σ, by name and as text."""
    shares = {sigma: float((values <= sigma).mean()) for sigma in SIGMAS}
    text = ", ".join(f"{share(part)} within {sigma:g}" for sigma, part in shares.items())
    return {f"within_{sigma:g}": part for sigma, part in shares.items()}, text


def effective_starts(near: EpisodeNeighbours) -> float:
    """Effective number of starts: n² / Σ exp(−r² / 2σ²) over all pairs, σ = 0.1.

    The similarity-sensitive diversity of order 2 (Leinster and Cobbold 2012).
    """
    z = near.z[near.recording.starts].astype(np.float64)
    squares = (z**2).mean(axis=1)
    gaps = np.maximum(squares[:, None] + squares[None] - 2 * z @ z.T / z.shape[1], 0.0)
    return len(z) ** 2 / float(np.exp(-gaps / (2 * 0.1**2)).sum())


def _starts(near: EpisodeNeighbours, coverage: Coverage) -> DataFinding:
    count, effective = len(coverage.starts), effective_starts(near)
    alone = float((coverage.starts > SIGMAS[-1]).mean()) >= 0.5
    shares, text = _within(coverage.starts)
    return (warning if alone else note)(
        "starts covered",
        f"{count} starts, effectively {effective:.3g} at σ = 0.1. The median distance from a start to the "
        f"nearest state of another episode is {float(np.median(coverage.starts)):.2g}: {text}.",
        effect="A new start will be about as far from the demonstrations as these starts are from one another; "
        + ("most are too far for any noise." if alone else "noise of each σ reaches the given share of them."),
        remedy="Record more episodes from varied starts." if alone else "",
        values={"starts": count, "effective": effective, **shares},
    )


def _outliers(near: EpisodeNeighbours) -> Iterator[DataFinding]:
    """Episodes far from all others."""
    nearest, owner = near.distance.min(axis=1), near.recording.owner[near.rows]
    usual = float(np.median(nearest))
    medians = {number: float(np.median(nearest[owner == number])) for number in np.unique(owner)}
    odd = [number for number, gap in medians.items() if gap > max(ODD * usual, FAR) and (owner == number).sum() > 2]
    if not odd or len(odd) > 0.2 * len(medians):
        return
    gaps = {int(near.recording.episodes[number]): medians[number] for number in odd}
    examples = listed([f"{name} ({gap:.2g} from the nearest)" for name, gap in gaps.items()])
    yield note(
        "odd episodes",
        f"{counted(len(odd), 'episode')} far from all others: episode {examples}; the median is {usual:.2g}.",
        effect="They may show another strategy, another start or a mistake; no other episode confirms them.",
        remedy="Look at them; drop mistakes, and record more of the intended behavior.",
        values={"episodes": list(gaps), "distances": list(gaps.values())},
    )
