"""Frames that are missing within episodes: single steps that are two or more steps long.

Where k − 1 rows are missing, every coordinate changes by about k times what the model of one step predicts from the
row before. With the predicted change p[t] and the recorded one d[t], both divided by the noise of each coordinate,

    ρ[t] = d[t]ᵀp[t] / p[t]ᵀp[t]

is near 1 in an intact recording, and near k at a gap. Values near 2 count if they are far more frequent than values
half-way between 1 and 2, which motion that is merely hard to predict produces as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..findings import DataFinding, counted, listed, share, warning
from .steps import Steps

CLEAR = 8.0
"""Predicted change of a row that can tell, as a multiple of the noise."""
NEAR, LONGEST = 0.3, 6
ALONG = 0.35
"""Largest difference of the change from k times its prediction, relative to it."""
FEWEST, RATIO, LEAST = 4, 3.0, 0.003
EXPLAINS = 0.8
ROUNDS, SAME = 3, 0.4
JUMPED, MOST = 0.95, 0.5
"""Quantile of the change of the action that is a jump, and the largest part of the gaps that may lie at jumps."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Rows after which frames are missing.

    Attributes:
        rows: The rows (of the sample).
        missing: Number of frames that are missing after each.
        able: Number of rows at which a gap could be seen.
        seen: Number of rows of the sample.
    """

    rows: Int[ndarray, " k"]
    missing: Int[ndarray, " k"]
    able: int
    seen: int


def dropped_of(steps: Steps) -> Dropped | None:
    """Gaps of an otherwise predictable recording; `None` if there are none."""
    change = steps.change[:, steps.size > 0]
    wide = np.concatenate([steps.inputs, np.ones((len(steps.rows), 1))], axis=1)
    guess, left = _robust(wide, change)
    noise = 1.4826 * np.median(np.abs(left), axis=0) + 1e-3
    useful = 1 - np.minimum((left**2).mean(axis=0), noise**2) / (change**2).mean(axis=0) >= EXPLAINS
    # the change of one coordinate is along its prediction wherever the model is wrong
    if useful.sum() < 2:
        return None
    p, d = (guess / noise)[:, useful], (change / noise)[:, useful]
    length = (p**2).sum(axis=1)
    able = np.sqrt(length / p.shape[1]) >= CLEAR
    ratio = np.where(able, (d * p).sum(axis=1) / np.maximum(length, 1e-300), 1.0)
    steps_long = np.rint(ratio).clip(1, LONGEST)
    away = np.sqrt(((d - steps_long[:, None] * p) ** 2).sum(axis=1) / np.maximum(length, 1e-300))
    gaps = able & (steps_long >= 2) & (np.abs(ratio - steps_long) <= NEAR) & (away <= ALONG * steps_long)
    between = able & (ratio > 1.3) & (ratio < 1.7)
    rows = np.flatnonzero(gaps)
    step = steps.rows - steps.recording.starts[steps.owner]
    # what happens at one step of many episodes belongs to the start, not to a recorder that loses frames
    if len(rows) and np.bincount(step[rows]).max() > max(2, SAME * len(rows)):
        return None
    if len(rows) and _at_jumps(steps, gaps, able):
        return None
    if len(rows) < max(FEWEST, RATIO * int(between.sum()), LEAST * int(able.sum())):
        return None
    return Dropped(
        rows=steps.rows[rows], missing=steps_long[rows].astype(int) - 1, able=int(able.sum()), seen=len(steps.rows)
    )


def _at_jumps(steps: Steps, gaps: Bool[ndarray, " rows"], able: Bool[ndarray, " rows"]) -> bool:
    """Whether most gaps lie where the action jumps, as to a new goal: a recorder loses frames anywhere.

    The change that follows a jump may be along the motion before, and several times as large.
    """
    now, before = (steps.recording.actions.values[rows].astype(np.float64) for rows in (steps.rows, steps.rows - 1))
    spread = steps.recording.actions.values.std(axis=0, dtype=np.float64)
    jump = (np.abs(now - before) / np.where(spread > 0, spread, np.inf)).max(axis=1)
    return float((jump[gaps] > np.quantile(jump[able], JUMPED)).mean()) > MOST


def _robust(wide: Float[ndarray, "rows d"], change: Float[ndarray, "rows p"]) -> tuple[ndarray, ndarray]:
    """Predictions and residuals of a fit that leaves out the tenth of the rows that fit worst."""
    kept = np.ones(len(wide), dtype=bool)
    guess: ndarray = np.zeros_like(change)
    for _ in range(ROUNDS):
        gram = wide[kept].T @ wide[kept]
        weights: ndarray = np.linalg.solve(
            gram + 1e-8 * int(kept.sum()) * np.eye(len(gram)), wide[kept].T @ change[kept]
        )
        guess = wide @ weights
        left = np.abs(change - guess)
        worst = (left / np.maximum(np.median(left, axis=0), 1e-12)).max(axis=1)
        kept = worst <= np.quantile(worst, 0.8)
    return guess, change - guess


def check_dropped(steps: Steps | None) -> Iterator[DataFinding]:
    """Frames that are missing within episodes."""
    if steps is None or (found := dropped_of(steps)) is None:
        return
    places = [{"episode": e, "step": t} for e, t in steps.recording.places(found.rows)]
    examples = listed([f"episode {place['episode']} after step {place['step']}" for place in places])
    part = len(found.rows) / found.able
    total = int(found.missing.sum())
    yield warning(
        "dropped",
        f"Frames are missing within episodes: {counted(len(found.rows), 'step')} of {found.able} that show it are "
        f"{listed(sorted({int(k) + 1 for k in found.missing}))} times as long as the motion before and the model of a "
        f"step predict ({share(part)}; {counted(total, 'frame')} missing): {examples}.",
        effect="The next observation follows after twice the time or more. Action chunks skip the missing commands and "
        "play faster than demonstrated, and delays vary.",
        remedy="Record without dropped frames or resample by time stamps; or split the episodes there. "
        "Episodes with many gaps can be left out.",
        values={
            "share": part,
            "gaps": len(found.rows),
            "missing": total,
            "able": found.able,
            "places": places[:100],
            "episodes": sorted({place["episode"] for place in places}),
        },
    )
