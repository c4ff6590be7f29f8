"""Whether earlier observations explain the actions: information that the observation lacks, and the copycat problem.

R² of the action on held-out episodes, by ridge regression on the coordinates and on random cosines of them (Rahimi and
Recht 2007), so that a nonlinear law of the newest observation is not taken for one of the earlier ones:

    R₁ = R²(a[t] | o[t])          R₂ = R²(a[t] | o[t], o[t − 1])
    Rₐ = R²(a[t] | a[t − 1])      Rₑ = R²(a[t] | a[t − 1], a[t − 2])

If two observations determine the action (R₂ near 1) and one does not, the demonstrator used a quantity that one lacks,
such as a velocity. If the previous action alone predicts the next better than one observation does, and two
observations determine it, a policy with a window of observations can repeat it and ignore the state: the *copycat
problem* (Wen et al. 2020, arXiv 2010.14876).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from ...seeding import stream
from .findings import DataFinding, note, warning
from .recording import Recording
from .regression import held_out_rows, standard

ROWS, FEWEST = 5000, 200
COSINES, RIDGE = 120, 1e-6
OPEN, CHANGES, HALF = 0.05, 0.35, 0.5
LITTLE = 0.1
"""Largest part of what one observation leaves open that two may leave where they show the previous action better than
the next. Of 900 clean sets, sixteen left 0.13 to 0.46 of it, and one less: their two observations show the previous
action, and with it the speed of this episode and the noise of the hand. Without the velocity that a force needs, two
leave the noise of the hand alone, of either action."""
SHOWN, INERT = 0.99, 0.95
RARE, SUDDEN = 20, 0.8
"""Part of the steps that holds most of what the previous actions do not predict, where the action is repeated else."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Held-out R² of the actions, the median over their coordinates.

    Attributes:
        one: Given the newest observation.
        fitted: Given the newest observation, on the episodes of the fit: what held-out episodes lack beyond this is due
            to few demonstrations, not to the observation.
        two: Given the newest two.
        previous: Given the previous action.
        extrapolated: Given the previous two actions.
        both: Given two observations and the previous action.
        shown: R² of the previous action, given two observations.
        sudden: Fraction of the squared error given the previous two actions that a twentieth of the steps has.
    """

    one: float
    fitted: float
    two: float
    previous: float
    extrapolated: float
    both: float
    shown: float
    sudden: float


def history_of(recording: Recording) -> History | None:
    """What one observation, two, and the previous action explain; `None` with too few steps."""
    some = recording.sample(ROWS, seed_words="history")
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero(step >= 1)
    actions = some.actions.values.astype(np.float64)
    if len(rows) < FEWEST or len(some.lengths) < 3:
        return None
    moves = (actions[rows] - actions[rows - 1]).var(axis=0) > 0
    if not moves.any():
        return None
    now, before = some.observed(rows), some.observed(rows - 1)
    if len(rows) < 10 * (2 * now.shape[1] + actions.shape[1]):
        return None
    held = held_out_rows(some.owner[rows])
    wanted, past = actions[rows][:, moves], actions[rows - 1][:, moves]
    window = np.concatenate([now, before], axis=1)

    curves, further = _cosines(standard(now)), _cosines(standard(window))
    ahead = _explained(window, further, np.concatenate([wanted, past], axis=1), held)
    both = np.concatenate([window, past], axis=1)
    extrapolated, sudden = _extrapolated(some, actions[:, moves])
    return History(
        one=float(np.median(_explained(now, curves, wanted, held))),
        fitted=float(np.median(_fitted(now, curves, wanted, held))),
        two=float(np.median(ahead[: wanted.shape[1]])),
        previous=float(np.median(_ridge(standard(past), wanted, held))),
        extrapolated=extrapolated,
        sudden=sudden,
        both=float(np.median(_explained(both, further, wanted, held))),
        shown=float(np.median(ahead[wanted.shape[1] :])),
    )


def _extrapolated(some: Recording, actions: Float[ndarray, "rows m"]) -> tuple[float, float]:
    """R² of the actions, given the two before, and the fraction of the error in the steps with the largest errors."""
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero(step >= 2)
    if len(rows) < FEWEST:
        return 0.0, 0.0
    past = np.concatenate([actions[rows - 1], actions[rows - 2]], axis=1)
    left = _left(standard(past), actions[rows], held_out_rows(some.owner[rows]))
    worst = np.sort(left.error, axis=0)[-max(1, len(left.error) // RARE) :]
    shares = worst.sum(axis=0) / np.maximum(left.error.sum(axis=0), 1e-300)
    return float(np.median(left.r2)), float(np.median(shares))


def _explained(
    x: Float[ndarray, "rows x"],
    curves: Float[ndarray, "rows c"],
    y: Float[ndarray, "rows y"],
    held: Bool[ndarray, " rows"],
) -> ndarray:
    """R² on held-out rows: of a linear fit, or of one with cosines where that is better."""
    z = standard(x)
    return np.maximum(_ridge(z, y, held), _ridge(np.concatenate([z, curves], axis=1), y, held))


def _fitted(
    x: Float[ndarray, "rows x"],
    curves: Float[ndarray, "rows c"],
    y: Float[ndarray, "rows y"],
    held: Bool[ndarray, " rows"],
) -> ndarray:
    """R² on the rows of the fit, of a fit with cosines."""
    wide = np.concatenate([standard(x), curves, np.ones((len(x), 1))], axis=1)[~held]
    gram = wide.T @ wide + RIDGE * len(wide) * np.eye(wide.shape[1])
    error = ((y[~held] - wide @ np.linalg.solve(gram, wide.T @ y[~held])) ** 2).mean(axis=0)
    spread = y[~held].var(axis=0)
    return np.where(spread > 0, 1 - error / np.maximum(spread, 1e-300), 0.0)


def _cosines(z: Float[ndarray, "rows x"]) -> Float[ndarray, "rows c"]:
    rng = stream(0, "doctor", "cosines", z.shape[1])
    directions = torch.randn(z.shape[1], COSINES, generator=rng).numpy() / np.sqrt(max(z.shape[1], 1))
    phases = 2 * np.pi * torch.rand(COSINES, generator=rng).numpy()
    return np.cos(z.astype(np.float32) @ directions + phases.astype(np.float32)).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class _Left:
    """Squared errors of a ridge regression on held-out rows, and its R²."""

    error: Float[ndarray, "held y"]
    r2: Float[ndarray, " y"]


def _left(x: Float[ndarray, "rows x"], y: Float[ndarray, "rows y"], held: Bool[ndarray, " rows"]) -> _Left:
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    train = wide[~held]
    gram = train.T @ train + RIDGE * len(train) * np.eye(wide.shape[1])
    error = (y[held] - wide[held] @ np.linalg.solve(gram, train.T @ y[~held])) ** 2
    spread = ((y[held] - y[~held].mean(axis=0)) ** 2).mean(axis=0)
    return _Left(error=error, r2=np.where(spread > 0, 1 - error.mean(axis=0) / np.maximum(spread, 1e-300), 0.0))


def _ridge(x: Float[ndarray, "rows x"], y: Float[ndarray, "rows y"], held: Bool[ndarray, " rows"]) -> ndarray:
    return _left(x, y, held).r2


def check_history(found: History | None) -> Iterator[DataFinding]:
    """An observation that lacks what the demonstrator used, or the copycat problem."""
    if found is None:
        return
    values = {"r2_one": found.one, "r2_two": found.two, "r2_previous": found.previous, "r2_both": found.both}
    values |= {"r2_extrapolated": found.extrapolated, "r2_fitted": found.fitted}
    values |= {"shown": found.shown, "sudden": found.sudden, "inert": found.previous, "looked": found.one}
    # a smooth action is predicted well by the one before, however much the observation explains
    missing, inert = 1 - max(found.one, found.fitted), 1 - found.previous
    left = 1 - found.two
    part = HALF if left <= 1 - found.shown else LITTLE
    explains = missing >= OPEN and left <= part * missing
    # where a hidden quantity is needed, the newest two explain the changes of the action too, which neither inertia nor
    # smoothness does
    if explains and left <= CHANGES * inert and left <= CHANGES * (1 - found.extrapolated):
        yield _lacking(found, values)
    elif found.shown >= SHOWN and _inert(found) and inert < HALF * missing and missing > 0.002:
        yield _copycat(found, values, risky=missing >= OPEN)


def _inert(found: History) -> bool:
    """Whether the action goes on as before in most steps and changes in a few.

    The smooth noise of a hand is predicted by the previous action too, but its innovations are spread over all steps.
    """
    return found.previous >= INERT and found.sudden >= SUDDEN


def _lacking(found: History, values: dict[str, float]) -> DataFinding:
    return warning(
        "history",
        f"The observation lacks something that the demonstrator used: one observation explains {found.one:.2f} of the "
        f"actions' variance on held-out episodes (R²), the newest two explain {found.two:.2f}.",
        effect="A policy that sees one observation cannot act as demonstrated, however long it is trained.",
        remedy="Record the missing quantity (usually a velocity) as an observation. Try in closed loop whether two "
        "observations (--n-obs-steps 2) replace it: on three small tasks they did not (docs/doctor.md).",
        values=values,
    )


def _copycat(found: History, values: dict[str, float], *, risky: bool) -> DataFinding:
    return (warning if risky else note)(
        "copycat",
        f"The previous action predicts the next (R² {found.previous:.3f}) better than the observation does "
        f"(R² {found.one:.3f}): its error is {(1 - found.one) / max(1 - found.previous, 1e-6):.1f} times smaller. Two "
        f"consecutive observations reveal the previous action (R² {found.shown:.3f}).",
        effect="A policy that can infer its previous action from several observations reaches a low loss by repeating "
        "it; it may fail to start, to stop or to turn.",
        remedy="Judge windows of several observations (--n-obs-steps) by flying, not by the loss, and look at what "
        "the demonstrator reacts to: if it is not observed, record it.",
        values=values,
    )
