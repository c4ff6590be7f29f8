"""How much of the space the episodes cover, whether a new start would be near known states, and which σ fills gaps.

Distances are root mean squares over coordinates in normalised units, comparable with σ (see `neighbours`). Noise of
standard deviation σ on two observations makes them differ by √2 σ; hence

    spacing ≤ σ ≤ r* / √2

where *spacing* is the median distance of a step to the nearest other episode, and r* the distance at which the action
chunks differ by a quarter of the difference of unrelated ones (the range of their variogram; Matheron 1963). Smaller
noise does not fill the gaps between demonstrations; larger noise blurs distinct behaviours.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .findings import Coverage, DataFinding, counted, listed, note, share, warning
from .neighbours import EpisodeNeighbours

SIGMAS = (0.03, 0.1, 0.3)
"""Values of σ in the reports: those of HINT and one below."""
BLUR = 0.25
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
        yield from _sigma(coverage)


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
        remedy="Look at them; drop mistakes, and record more of the intended behaviour.",
        values={"episodes": list(gaps), "distances": list(gaps.values())},
    )


def _sigma(coverage: Coverage) -> Iterator[DataFinding]:
    spacing, blur = float(np.median(coverage.paths)), blur_distance(coverage)
    if blur is None:
        return
    upper = blur / math.sqrt(2)
    if upper < spacing:
        what = (
            f"Episodes are {spacing:.2g} apart, but actions already differ at {blur:.2g}: no noise level both fills "
            "the gaps and preserves distinct behaviours."
        )
        effect = "Noise on the observations would mix distinct behaviours."
        remedy = f"Start with --sigma-train {max(upper, 0.001):.1g} or none; more demonstrations help more."
    else:
        what = (
            f"Suitable noise levels are σ = {spacing:.2g} (spacing of the episodes) to {upper:.2g} (where actions "
            "begin to differ)."
        )
        effect = "Smaller noise does not fill the gaps between episodes; larger noise blurs distinct behaviours."
        remedy = (
            f"Try --sigma-train {math.sqrt(max(spacing, 1e-3) * upper):.1g} (also used at deployment, unless you set "
            "--sigma-deploy). This is a suggestion: compare in closed loop."
        )
    yield note("sigma", what, effect, remedy, {"low": spacing, "high": upper})


def blur_distance(coverage: Coverage) -> float | None:
    """Distance at which chunks differ by a quarter more than the nearest ones do; `None` if not reached."""
    if len(coverage.distances) < 3:
        return None
    level = coverage.disagreement[0] + BLUR * max(0.0, 1 - float(coverage.disagreement[0]))
    beyond = np.flatnonzero(coverage.disagreement >= level)
    return float(coverage.distances[beyond[0]]) if len(beyond) else None
