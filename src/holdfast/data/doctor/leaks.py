"""Observations that contain the action, and actions that previous actions predict.

A copy of the action in the observation differs from a target that the state is near by its residual: a tracking error
is as large as the action's own steps, the residual of a copy is far smaller.

    residual = Var(a[t − k] − α o[t] − β) / Var(a[t] − a[t − 1]),    k = 0 the current action, k = 1 the previous one

A coordinate that the previous observation already determines is not a copy, but a state with linear feedback.

The *copycat problem* (Wen et al. 2020, arXiv 2010.14876): if a window of observations determines the previous action,
and the previous action is nearly the next one, the network repeats it and ignores the state.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .findings import DataFinding, error, good, listed, note, warning
from .recording import Recording
from .regression import explained, fit_each, held_out_rows

COPY = 1e-3
ROWS = 20_000
FEWEST = 60
SHOWN, INERT, CLEAR = 0.99, 0.95, 0.998


def check_leaks(recording: Recording) -> list[DataFinding]:
    """Copies of the current or the previous action in the observations, and the copycat problem."""
    some = recording.sample(ROWS, seed_words="leaks")
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero(step >= 1)
    if len(rows) < FEWEST:
        return []
    actions = some.actions.values.astype(np.float64)
    seen, before = some.observed(rows), some.observed(rows - 1)
    held = held_out_rows(some.owner[rows])
    # what an observation determines of the next is dynamics: a linear feedback law, not a copy
    foreseen = (1 - explained(before, seen, held)) * seen.var(axis=0) <= COPY * (seen - before).var(axis=0)
    now = _copies(seen, actions[rows], actions, rows, held, foreseen)
    past = _copies(seen, actions[rows - 1], actions, rows, held, foreseen)
    found = [*_report(some, now, "current"), *_report(some, past, "previous")]
    found = found or [good("leaks", "No observation contains a copy of an action.")]
    window = np.concatenate([seen, before], axis=1)
    return [*found, *_copycat(actions[rows], actions[rows - 1], window, seen, held)]


def _copies(
    seen: Float[ndarray, "rows d"],
    wanted: Float[ndarray, "rows m"],
    actions: Float[ndarray, "all m"],
    rows: Int[ndarray, " rows"],
    held: Bool[ndarray, " rows"],
    foreseen: Bool[ndarray, " d"],
) -> list[tuple[int, int]]:
    """Pairs (action, observation) that are equal up to scale and offset."""
    moves = (actions[rows] - actions[rows - 1]).var(axis=0)
    r2 = fit_each(seen, wanted, held).r2.T
    left = (1 - r2) * wanted[held].var(axis=0)[:, None]
    copied = (left <= COPY * moves[:, None]) & (moves[:, None] > 0) & ~foreseen[None]
    return [(int(action), int(coordinate)) for action, coordinate in np.argwhere(copied)]


def _report(recording: Recording, pairs: list[tuple[int, int]], which: str) -> Iterator[DataFinding]:
    if not pairs:
        return
    current = which == "current"
    labels = recording.observed_labels
    copies = [f"{labels[coordinate]} = {recording.actions.labels[action]}" for action, coordinate in pairs]
    yield (error if current else warning)(
        "leaks",
        f"The observation contains the {which} action: {listed(copies)} (up to scale and offset).",
        effect="The network copies the action from the observation: its loss falls to 0, but the policy fails at "
        "deployment, where the action is not observed."
        if current
        else "If actions change slowly, the previous action is nearly the next one: the network repeats it and "
        "ignores the state (the copycat problem), with a low loss and poor behaviour.",
        remedy="Remove these coordinates from the observation.",
        values={"which": which, "coordinates": [labels[coordinate] for _, coordinate in pairs]},
    )


def _copycat(
    now: Float[ndarray, "rows m"], past: Float[ndarray, "rows m"], window: ndarray, seen: ndarray, held: ndarray
) -> Iterator[DataFinding]:
    """Whether two observations determine the previous action, which predicts the next better than one observation."""
    moves = now.std(axis=0) > 0
    if len(now) < 10 * window.shape[1] or not moves.any():
        return
    shown, inert, looked = (
        float(np.median(explained(x, y, held)[moves])) for x, y in ((window, past), (past, now), (seen, now))
    )
    if shown < SHOWN or inert < INERT or looked > CLEAR or 1 - inert >= 0.5 * (1 - looked):
        return
    yield note(
        "copycat",
        f"Two consecutive observations determine the previous action (linear R² {shown:.3f}), and the previous action "
        f"alone predicts the next (R² {inert:.3f}) better than one observation does (R² {looked:.3f}).",
        effect="With a window of several observations, repeating the previous action gives a low loss; such a "
        "policy may fail to start, to stop or to turn.",
        remedy="Compare --n-obs-steps 1 with 2 in closed loop, not by the loss; noise on the observations "
        "(--sigma-train) hides the previous action.",
        values={"shown": shown, "inert": inert, "looked": looked},
    )
