"""Observed coordinates that are clocks: steps to the end of the episode, progress, or time since its start.

With step t of an episode of T steps, these are functions of T − 1 − t, of t / (T − 1), or of t alone. The steps to go
and the progress are known only when the episode is over. A coordinate is a function of the steps to go if its values at
equal T − 1 − t are equal in all episodes, which have different lengths,

    e[t] = o[t] − mean(o | T − 1 − t),    √mean e² ≤ 0.05 √mean (o[t] − o[t − 1])²,

or if e is white noise that leaves R² ≥ 0.98. A physical coordinate that arrives at a goal in the same way from anywhere
has an e of a fraction of a step, which lasts for the episode and is not white. Progress and time are linear in their
argument, or monotone functions of it that all episodes share (`progress`). Where demonstrations are alike, much is such
a function: nonlinear ones are reported only if no action is one, up to an R² of 0.98.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..unobserving import without_coordinates
from .columns import goals
from .findings import DataFinding, listed, note, warning
from .progress import shared_curve
from .recording import Recording

EXACT, NOISY, WHITE = 0.05, 0.98, 0.3
"""Largest error relative to a step; smallest R² with noise, and the largest correlation of one error with the next."""
ROWS, FEWEST, LENGTHS = 20_000, 5, 3
"""Rows of the sample, and the smallest numbers of episodes and of different lengths."""
ALONE = 0.5
"""Share of the rows from which on others have as many steps to go."""
OTHERS = 0.5
"""Largest share of the moving coordinates that are functions of the steps to go: more are equal demonstrations."""

Kind = Literal["steps to go", "progress", "time"]


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A coordinate of the observation that is a clock, exactly or with noise."""

    label: str
    kind: Kind
    r2: float


def clocks_of(recording: Recording) -> list[Clock]:
    """Clocks among the observed coordinates."""
    some = recording.sample(ROWS, seed_words="clocks")
    if len(some.lengths) < FEWEST or int(some.lengths.min()) < 3:
        return []
    seen = some.observed(np.arange(len(some.owner)))
    moving = np.flatnonzero(~goals(seen, some) & (seen.std(axis=0) > 0))
    curved = not _alike(some)
    found = {int(d): _clock(seen[:, d], some, some.observed_labels[d], curved=curved) for d in moving}
    clocks = [clock for clock in found.values() if clock is not None]
    return clocks if len(clocks) <= OTHERS * len(moving) else []


def _clock(values: Float[ndarray, " rows"], some: Recording, label: str, *, curved: bool) -> Clock | None:
    step = np.arange(len(values)) - some.starts[some.owner]
    left = some.lengths[some.owner] - 1 - step
    varied = len(np.unique(some.lengths)) >= LENGTHS
    centred = values - values.mean()
    if varied and (r2 := _fits(centred, _by_group(centred, left), some)) is not None:
        return Clock(label=label, kind="steps to go", r2=r2)
    arguments = _arguments(some)
    if varied and (r2 := _best(centred, arguments["progress"], some)) is not None:
        return Clock(label=label, kind="progress", r2=r2)
    if (r2 := _best(centred, arguments["time"], some)) is not None:
        return Clock(label=label, kind="time", r2=r2)
    return _curve(centred, some, label) if curved else None


def _arguments(some: Recording) -> dict[Literal["progress", "time"], tuple[Float[ndarray, " rows"], ...]]:
    """Elapsed shares of the episode, in the usual conventions, and steps since its start."""
    step = (np.arange(len(some.owner)) - some.starts[some.owner]).astype(np.float64)
    total = some.lengths[some.owner]
    return {"progress": (step / (total - 1), step / total, (step + 1) / total), "time": (step,)}


def _curve(centred: Float[ndarray, " rows"], some: Recording, label: str) -> Clock | None:
    """A clock that is a monotone function of progress or time."""
    varied = len(np.unique(some.lengths)) >= LENGTHS
    for kind, arguments in _arguments(some).items():
        for u in arguments if varied or kind == "time" else ():
            guess = shared_curve(centred, u, some)
            if guess is not None and (r2 := _fits(centred, guess, some)) is not None:
                return Clock(label=label, kind=kind, r2=r2)
    return None


def _alike(some: Recording) -> bool:
    """Whether an action is a function of progress or time too, as in demonstrations that repeat one motion."""
    for index in range(len(some.actions.labels)):
        values = some.actions.column(index)
        centred = values - values.mean()
        for u in (arguments[0] for arguments in _arguments(some).values()):
            guess = shared_curve(centred, u, some)
            if guess is not None and float(((centred - guess) ** 2).mean()) <= (1 - NOISY) * float(centred.var()):
                return True
    return False


def _best(centred: Float[ndarray, " rows"], arguments: tuple[ndarray, ...], some: Recording) -> float | None:
    """R² of the first argument in which the values are linear."""
    for x in arguments:
        x = x - x.mean()
        guess = x * float(x @ centred / max(float(x @ x), 1e-300))
        if (r2 := _fits(centred, guess, some)) is not None:
            return r2
    return None


def _by_group(centred: Float[ndarray, " rows"], group: Int[ndarray, " rows"]) -> Float[ndarray, " rows"]:
    """Mean of the values with equal numbers; 0 if most values are alone, because such a mean explains nothing."""
    counts = np.bincount(group)
    means = np.bincount(group, centred) / np.maximum(counts, 1)
    return means[group] if (counts[group] > 1).mean() > ALONE else np.zeros(len(group))


def _fits(centred: Float[ndarray, " rows"], guess: Float[ndarray, " rows"], some: Recording) -> float | None:
    """R² of a guess that leaves nothing but rounding or white noise; else `None`."""
    error, inside = centred - guess, some.pairs()
    r2 = 1 - float((error**2).mean() / (centred**2).mean())
    if r2 < NOISY:
        return None
    moves = np.diff(centred)[inside]
    if float((error**2).mean()) <= EXACT**2 * float((moves**2).mean()):
        return r2
    now, later = error[:-1][inside], error[1:][inside]
    alike = float(now @ later) / max(float(np.sqrt((now @ now) * (later @ later))), 1e-300)
    return r2 if abs(alike) <= WHITE else None


def check_clocks(clocks: list[Clock], recording: Recording) -> Iterator[DataFinding]:
    """One finding for each kind of clock."""
    equal = len(set(recording.lengths.tolist())) == 1
    remedy = without_coordinates(recording.observed_labels, [clock.label for clock in clocks])
    for kind in dict.fromkeys(clock.kind for clock in clocks):
        own = [clock for clock in clocks if clock.kind == kind]
        r2 = min(clock.r2 for clock in own)
        noise = f", with noise (R² {r2:.4f})" if r2 < 1 - 1e-4 else ""
        labels = listed([clock.label for clock in own])
        values = {"kind": kind, "coordinates": [clock.label for clock in own], "r2": r2}
        if kind == "time":
            more = ". All episodes are of one length, so that this is also the time to go" if equal else ""
            yield note(
                "clocks",
                f"The observation contains the time since the start of the episode: {labels}{noise}{more}.",
                effect="A policy may replay the demonstrations by the clock instead of reacting to the state, and "
                "later steps than the demonstrated ones are outside the data.",
                remedy=f"{remedy}. Keep it if the task depends on the time.",
                values=values,
            )
        else:
            thing = "number of steps to go" if kind == "steps to go" else "progress, the elapsed share of the episode"
            yield warning(
                "clocks",
                f"The observation contains the {thing}: {labels} (up to scale and offset{noise}).",
                effect="It is known only when the episode is over. At deployment nothing provides it, and a policy "
                "that relies on it fails.",
                remedy=f"{remedy}.",
                values=values,
            )
