"""How much of the space the episodes cover: would one more start be near something known? And which σ bridges gaps.

Distances are a coordinate's root mean square in normalised units, so they compare with σ (see `neighbours`). With noise
of standard deviation σ on two observations they differ by √2 σ; so

    spacing ≤ σ ≤ r* / √2

where *spacing* is the median distance of a step to the nearest other episode, and r* the distance at which the action
chunks differ by a quarter of what unrelated ones do (the range of their variogram; Matheron 1963). Below, noise does
not fill the gaps between demonstrations; above, it blurs behaviours that are distinct.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .findings import Coverage, Finding, counted, listed, share
from .neighbours import Neighbours

__all__ = ["check_coverage", "coverage_of"]

SIGMAS = (0.03, 0.1, 0.3)
"""The σ of the study: HINT's own and one below."""
BLUR = 0.25
BINS, FEWEST = 18, 30
ODD, FAR = 4.0, 0.1
PAIRS = 30_000


def coverage_of(near: Neighbours) -> Coverage:
    """Distances from starts and steps to other episodes, and how actions differ with distance."""
    nearest = near.distance.min(axis=1)
    distances, disagreement = _variogram(near)
    return Coverage(
        starts=nearest[near.at_start],
        paths=nearest[~near.at_start],
        distances=distances,
        disagreement=disagreement,
    )


def _variogram(near: Neighbours) -> tuple[Float[ndarray, " bins"], Float[ndarray, " bins"]]:
    """Half the mean squared difference of action chunks over their variance, along the distance of observations."""
    total = float(near.chunks.of(near.rows).var(axis=0, dtype=np.float64).sum())
    gaps = near.distance.ravel()
    usable = np.flatnonzero(np.isfinite(gaps) & (gaps > 0))
    if not len(usable) or total <= 0:
        return np.zeros(0), np.zeros(0)
    # as many pairs from each distance: near ones are few, and they matter most
    edges = np.geomspace(max(1e-3, float(gaps[usable].min())), float(gaps[usable].max()) * 1.001, BINS + 1)
    which = np.digitize(gaps[usable], edges)
    distances, disagreement = list[float](), list[float]()
    for index in range(1, BINS + 1):
        inside = usable[which == index]
        if len(inside) < FEWEST:
            continue
        some = inside[:: max(1, len(inside) * BINS // PAIRS)]
        one, other = (
            near.chunks.of(near.rows[some // near.distance.shape[1]]),
            near.chunks.of(near.nearest.ravel()[some]),
        )
        distances.append(float(np.median(gaps[some])))
        disagreement.append(float(((one - other) ** 2).sum(axis=1, dtype=np.float64).mean()) / (2 * total))
    return np.array(distances), np.array(disagreement)


def check_coverage(near: Neighbours, coverage: Coverage) -> list[Finding]:
    """How near episodes come to one another, how many starts there are in effect, odd ones, and a range for σ."""
    found = [_say_starts(near, coverage), *_odd(near)]
    return [*found, _say_paths(coverage), *_say_sigma(coverage)] if len(coverage.paths) else found


def _within(values: Float[ndarray, " k"]) -> dict[str, float]:
    return {f"within_{sigma:g}": float((values <= sigma).mean()) for sigma in SIGMAS}


def _spoken(values: Float[ndarray, " k"]) -> str:
    return ", ".join(f"{share(float((values <= sigma).mean()))} within {sigma:g}" for sigma in SIGMAS)


def effective_starts(near: Neighbours) -> float:
    """How many starts there are in effect: n² / Σ exp(−r² / 2σ²) over all pairs, σ = 0.1.

    The number of distinct kinds among similar ones (order 2 of Leinster and Cobbold 2012).
    """
    z = near.z[near.recording.starts].astype(np.float64)
    squares = (z**2).mean(axis=1)
    gaps = np.maximum(squares[:, None] + squares[None] - 2 * z @ z.T / z.shape[1], 0.0)
    return len(z) ** 2 / float(np.exp(-gaps / (2 * 0.1**2)).sum())


def _say_starts(near: Neighbours, coverage: Coverage) -> Finding:
    count, effective = len(coverage.starts), effective_starts(near)
    alone = float((coverage.starts > SIGMAS[-1]).mean())
    values: dict[str, Any] = {"starts": count, "effective": effective, **_within(coverage.starts)}
    return Finding(
        check="starts covered",
        severity="warning" if alone >= 0.5 else "note",
        what=f"{count} starts, in effect {effective:.3g} at σ = 0.1. Leaving its own episode out, a start is "
        f"{float(np.median(coverage.starts)):.2g} from the nearest state that others passed (median): "
        f"{_spoken(coverage.starts)}.",
        effect="A new start is about as far from what is known as these are from one another; "
        + ("most lie beyond what any noise bridges." if alone >= 0.5 else "noise of that σ reaches so many of them."),
        remedy="Record more episodes from varied starts." if alone >= 0.5 else "",
        values=values,
    )


def _say_paths(coverage: Coverage) -> Finding:
    return Finding(
        check="paths covered",
        severity="note",
        what=f"Along the episodes, the nearest step of another episode is {float(np.median(coverage.paths)):.2g} away "
        f"(median): {_spoken(coverage.paths)}.",
        effect="Where others pass nearby, a policy that strays meets demonstrations that lead back.",
        values={"median": float(np.median(coverage.paths)), **_within(coverage.paths)},
    )


def _odd(near: Neighbours) -> list[Finding]:
    """Episodes that keep to themselves."""
    nearest, owner = near.distance.min(axis=1), near.recording.owner[near.rows]
    usual = float(np.median(nearest))
    medians = {number: float(np.median(nearest[owner == number])) for number in np.unique(owner)}
    odd = [number for number, gap in medians.items() if gap > max(ODD * usual, FAR) and (owner == number).sum() > 2]
    if not odd or len(odd) > 0.2 * len(medians):
        return []
    names = [int(near.recording.episodes[number]) for number in odd]
    said = listed([f"{name} ({medians[number]:.2g} from the nearest)" for name, number in zip(names, odd, strict=True)])
    return [
        Finding(
            check="odd episodes",
            severity="note",
            what=f"{counted(len(odd), 'episode')} apart from all others: episode {said}, where {usual:.2g} is usual.",
            effect="They show another way, another start or a mistake, and nothing beside them says which.",
            remedy="Look at them; drop mistakes, record more of what is wanted.",
            values={"episodes": names, "distances": [medians[number] for number in odd]},
        )
    ]


def _say_sigma(coverage: Coverage) -> list[Finding]:
    spacing, blur = float(np.median(coverage.paths)), blur_distance(coverage)
    if blur is None:
        return []
    upper = blur / math.sqrt(2)
    values = {"low": spacing, "high": upper}
    if upper < spacing:
        return [
            Finding(
                check="sigma",
                severity="note",
                what=f"Episodes are {spacing:.2g} apart, but actions already differ at {blur:.2g}: no noise both "
                "bridges the gaps and keeps behaviours distinct.",
                effect="Noise on the observations would mix what the demonstrations keep apart.",
                remedy=f"Start with --sigma-train {max(upper, 0.001):.1g} or none; more demonstrations help more.",
                values=values,
            )
        ]
    return [
        Finding(
            check="sigma",
            severity="note",
            what=f"Noise from σ = {spacing:.2g} (episodes' spacing) to {upper:.2g} (where actions begin to differ) "
            "suits these demonstrations.",
            effect="Below, noise does not fill the gaps between episodes; above, it blurs distinct behaviours.",
            remedy=f"Try --sigma-train {math.sqrt(max(spacing, 1e-3) * upper):.1g} (used at deployment too, unless "
            "--sigma-deploy says otherwise). A suggestion: what counts is closed loop.",
            values=values,
        )
    ]


def blur_distance(coverage: Coverage) -> float | None:
    """Distance at which chunks differ by a quarter of what is left beyond the nearest ones; `None` if not reached."""
    if len(coverage.distances) < 3:
        return None
    level = coverage.disagreement[0] + BLUR * max(0.0, 1 - float(coverage.disagreement[0]))
    beyond = np.flatnonzero(coverage.disagreement >= level)
    return float(coverage.distances[beyond[0]]) if len(beyond) else None
