"""Meaning of the actions: targets of a servo, velocities or deltas, or forces; and the latency of the response.

For each action coordinate a and state coordinate s, on held-out episodes and at each lag L ≥ 1:

    target    s[t + L] ≈ α a[t] + β             the state moves to the target
    velocity  s[t + L] − s[t + L − 1] ≈ α a[t] + β, or a target of a coordinate that is the rate of another
    force     a[t] explains s[t + 1] − s[t] given s[t], s[t − 1] and the other actions: it changes the velocity

Torques correlate with positions through the demonstrator's own feedback, so a high correlation alone does not make a
target: the state must follow the action, in the same range or almost exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .columns import goals
from .effects import Effect
from .findings import Lag
from .recording import Quantity, Recording
from .regression import Fits, Inputs, held_out_rows, partial

Kind: TypeAlias = Literal["target", "velocity", "force", "unknown"]

LAGS, LONGEST = 16, 128
"""Lags considered [steps]: the first range is doubled up to the second while the best lag is near its end; fewer if
episodes are short."""
WINDOW = 10
"""Steps over which changes are compared to estimate lags: slow drifts correlate at every lag."""
EXACT, LIKELY = 0.9, 0.7
"""R² that is sufficient for a target, and R² that is sufficient if the ranges overlap too."""
FOLLOWS, CLEAR = 0.05, 0.2
DRIVES = 0.9
PUSHES, CHANCE = 0.02, 15
RATE = 0.85
ROWS = 20_000
FEWEST = 60


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """Meaning of one action coordinate.

    Attributes:
        state: Label of the state coordinate that responds, if any.
        lag: Steps until the strongest response; 0 if unknown.
        r2: R² of the response on held-out episodes (for a force: partial R²).
        first: Steps until the first effect; 0 if unknown.
    """

    action: str
    kind: Kind
    state: str | None = None
    lag: int = 0
    r2: float = 0.0
    lags: Lag | None = None
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Fit of every action to every state coordinate, at lags 0, 1, …"""

    level: list[Fits]
    change: list[Fits]
    follow: Float[ndarray, "lags m n"]
    push: Float[ndarray, "pushes m n"]


def meanings(recording: Recording, effects: Sequence[Effect] = ()) -> list[Meaning]:
    """Meaning of each action coordinate; empty if episodes are too few or too short.

    Args:
        recording: Actions and states.
        effects: First effects of the actions, which tell a servo from a force that balances another one.
    """
    some = recording.sample(ROWS, seed_words="semantics")
    usual = float(np.median(some.lengths))
    most = int(min(LAGS, usual // 4))
    moves = {effect.action: effect.moves for effect in effects}
    found = _meanings_up_to(recording, some, most, moves)
    while found and most < min(LONGEST, usual // 3) and any(meaning.lag > most - 2 for meaning in found):
        most = int(min(2 * most, LONGEST, usual // 3))
        found = _meanings_up_to(recording, some, most, moves) or found
    return found


def _meanings_up_to(
    recording: Recording, some: Recording, most: int, moves: Mapping[str, Mapping[str, float]]
) -> list[Meaning]:
    window = int(min(WINDOW, float(np.median(some.lengths)) // 6))
    rows = _rows_between(some, window, most) if most >= 2 else np.zeros(0, dtype=np.int64)
    if len(rows) < FEWEST:
        return []
    actions, states = some.actions.values.astype(np.float64), some.states.values.astype(np.float64)
    still = goals(states, some)
    if still.all():
        return []
    moving = replace(some, states=_columns(some.states, ~still))
    states = states[:, ~still]
    scores = _scores(actions, states, rows, (most, window), moving)
    rates = _rates(states, rows)
    spans = _spans(actions), _spans(states)
    seen = replace(recording, states=_columns(recording.states, ~still))
    pulled = [moves.get(label, {}) for label in recording.actions.labels]
    return [_meaning(index, seen, scores, rates, spans, pulled[index]) for index in range(actions.shape[1])]


def _columns(item: Quantity, kept: Bool[ndarray, " n"]) -> Quantity:
    labels = tuple(label for label, keep in zip(item.labels, kept, strict=True) if keep)
    return replace(item, labels=labels, values=item.values[:, kept])


def _rows_between(recording: Recording, before: int, after: int) -> Int[ndarray, " rows"]:
    """Rows with at least the given numbers of rows before and after them in their episode."""
    step = np.arange(len(recording.owner)) - recording.starts[recording.owner]
    left = recording.lengths[recording.owner] - step
    return np.flatnonzero((step >= before) & (left > after))


def _scores(
    actions: ndarray, states: ndarray, rows: Int[ndarray, " k"], reach: tuple[int, int], some: Recording
) -> Scores:
    most, window = reach
    held = held_out_rows(some.owner[rows])
    now, past = Inputs.of(actions[rows], held), Inputs.of(actions[rows] - actions[rows - window], held)
    # rows of the fit first, so that both parts of each later array are views
    rows, fitted = rows[np.argsort(held, kind="stable")], int((~held).sum())
    level, change, follow = list[Fits](), list[Fits](), list[ndarray]()
    # every row is gathered once, and centred, because lines are fitted to numbers around 0
    states = states - states.mean(axis=0)
    seen = {lag: states[rows + lag] for lag in range(-window, 0)}
    for lag in range(most + 1):
        then = seen[lag] = states[rows + lag]
        level.append(now.fits(then, fitted))
        change.append(now.fits(then - seen[lag - 1], fitted))
        follow.append(past.fits(then - seen.pop(lag - window), fitted).r2)
    return Scores(level=level, change=change, follow=np.stack(follow), push=_pushes(actions, states, some))


def _pushes(actions: ndarray, states: ndarray, some: Recording) -> Float[ndarray, "pushes m n"]:
    """Partial R² of an action up to two steps ago for the change of the state."""
    rows = _rows_between(some, 2, 1)
    others, answer = np.concatenate([states[rows], states[rows - 1]], axis=1), states[rows + 1] - states[rows]
    free = len(rows) - others.shape[1] - actions.shape[1]
    if free < FEWEST:
        return np.zeros((1, actions.shape[1], states.shape[1]))
    found = np.stack([partial(actions[rows - back], others, answer) for back in range(3)])
    # by chance alone the expected value is one over the degrees of freedom
    return np.where(found * free > CHANCE, found, 0.0)


def _rates(states: Float[ndarray, "rows n"], rows: Int[ndarray, " k"]) -> Int[ndarray, " n"]:
    """For each coordinate, the coordinate whose rate it is, or -1: s[t + 1] − s[t] correlates with its mean."""
    steps, mean = states[rows + 1] - states[rows], (states[rows + 1] + states[rows]) / 2
    r2 = np.square(_correlation(mean, steps))
    np.fill_diagonal(r2, 0.0)
    return np.where(r2.max(axis=1) >= RATE, r2.argmax(axis=1), -1)


def _correlation(x: ndarray, y: ndarray) -> ndarray:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x.T @ y) / np.sqrt(np.maximum(np.outer((x**2).sum(axis=0), (y**2).sum(axis=0)), 1e-60))


def _spans(values: Float[ndarray, "rows d"]) -> Float[ndarray, "2 d"]:
    return np.quantile(values[:: max(1, len(values) // 20_000)], [0.01, 0.99], axis=0)


def _meaning(
    index: int,
    recording: Recording,
    scores: Scores,
    rates: Int[ndarray, " n"],
    spans: tuple[Float[ndarray, "2 m"], Float[ndarray, "2 n"]],
    moves: Mapping[str, float],
) -> Meaning:
    label, states = recording.actions.labels[index], recording.states.labels
    level, change = (np.stack([fits.r2[index] for fits in kind]) for kind in (scores.level, scores.change))
    later, state = _best(level[1:])
    shared = _overlap(spans[0][:, index], spans[1][:, state])
    follow = scores.follow[:, index, state]
    lag = _first_best(follow)
    answers = follow[lag] >= max(FOLLOWS, float(follow[0]))
    slope = float(scores.level[_first_best(level[:, state])].slope[index, state])
    # a force that balances another one correlates with the position it holds, but pushes the other way
    if slope * moves.get(states[state], 0.0) < 0:
        later = 0.0
    if (later >= EXACT and later >= level[0, state]) or (later >= LIKELY and shared >= 0.5 and answers):
        kind: Kind = "target" if rates[state] < 0 else "velocity"
        found = Meaning(action=label, kind=kind, state=states[state], r2=later)
        return _at(found, follow, states[state]) if follow[lag] >= CLEAR else found
    driven, state = _best(np.where(rates[None] < 0, change[1:], -1.0))
    if driven >= DRIVES:
        found = Meaning(action=label, kind="velocity", state=states[state], r2=driven)
        return _at(found, change[:, state], f"change of {states[state]}")
    pushed, state = _best(scores.push[:, index])
    if pushed >= PUSHES:
        return Meaning(action=label, kind="force", state=states[state], lag=1, r2=pushed)
    return Meaning(action=label, kind="unknown", r2=later)


def _at(meaning: Meaning, agreement: Float[ndarray, " lags"], response: str) -> Meaning:
    """The meaning with the lag at which a response agrees best."""
    lag = _first_best(agreement)
    label = f"{meaning.action} → {response}"
    curve = Lag(label=label, steps=range(len(agreement)), agreement=agreement.clip(0), best=lag)
    return replace(meaning, lag=lag, lags=curve)


def _first_best(scores: Float[ndarray, " lags"]) -> int:
    """The first lag from 1 on with nearly the largest score."""
    return int(np.flatnonzero(scores[1:] >= float(scores[1:].max()) - 0.002)[0]) + 1


def _best(scores: Float[ndarray, "lags n"]) -> tuple[float, int]:
    """The largest score over lags and coordinates, and its coordinate."""
    state = int(scores.max(axis=0).argmax())
    return float(scores[:, state].max()), state


def _overlap(one: Float[ndarray, " 2"], other: Float[ndarray, " 2"]) -> float:
    """Length of the intersection of two intervals over the length of their union."""
    both = max(one[1], other[1]) - min(one[0], other[0])
    return max(0.0, float(min(one[1], other[1]) - max(one[0], other[0]))) / max(float(both), 1e-12)


def with_effects(found: Sequence[Meaning], effects: Sequence[Effect]) -> list[Meaning]:
    """The meanings with the steps until the first effect of each action coordinate."""
    first = {effect.action: effect.steps + 1 for effect in effects if effect.steps is not None}
    return [replace(meaning, first=first.get(meaning.action, 0)) for meaning in found]
