"""After how many steps an action has its first effect: observations or actions that are recorded late.

Given the state and the one before, an action explains the next change of the state only at the step at which it acts.
With the residuals ỹ and ã of y = s[t + 1] − s[t] and a[t − b] after regression on s[t] and s[t − 1],

    e(b) = partial R² of ã(b) for ỹ,    b = …, −1, 0, 1, …

is largest at b = 0 if rows hold one state and the action taken in it. A peak at b > 0 means that the observation is b
steps late, or that b steps pass before the action acts. A peak at b < 0 is an effect before its cause: the action is
recorded late.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .columns import goals
from .findings import DataFinding, listed, warning
from .recording import Recording
from .regression import explained, held_out_rows

ROWS, WIDE = 8000, 16
"""Number of rows; half as many with more state coordinates than WIDE."""
FEWEST = 60
EARLY, LATE, LONGEST = 4, 8, 64
"""Steps searched before and after the action's own row; the search doubles while the best is near its end, and
while nothing is found."""
STRONG, WEAK = 0.5, 0.05
HALF, SHARP = 2.0, 3.0
"""A strong effect must leave half of what other steps leave open; a weak one must be three times theirs."""
CHANCE = 30.0
TINY = 1e-20


@dataclass(frozen=True, kw_only=True)
class Effect:
    """First effect of one action coordinate.

    Attributes:
        action: Label of the action coordinate.
        steps: Steps b of the peak: 0 as it should be, above 0 for late observations, below for late actions; `None` if
            no step stands out.
        strength: Partial R² at the peak.
        lags: Steps b that were compared.
        curve: Partial R² of each, the largest over state coordinates.
        moves: Partial R² at the peak by state coordinate, with the sign of the change.
    """

    action: str
    steps: int | None
    strength: float
    lags: tuple[int, ...]
    curve: tuple[float, ...]
    moves: Mapping[str, float]


def effects_of(recording: Recording) -> list[Effect]:
    """First effect of each action coordinate; empty if episodes are too few or too short."""
    wide = len(recording.states.labels) > WIDE
    some = recording.sample(ROWS // 2 if wide else ROWS, seed_words="effects")
    late = min(LATE, int(np.median(some.lengths)) // 4)
    while True:
        lags, scores, free = _scan(some, late)
        if not len(scores):
            return []
        longest = min(LONGEST, int(np.median(some.lengths)) // 3)
        sizes = np.abs(scores).max(axis=2)
        rising = (sizes[-2:].max(axis=0) >= np.maximum(WEAK, sizes.max(axis=0))).any()
        if late >= longest or not (rising or (sizes.max(axis=0) < STRONG).all()):
            break
        late = min(2 * late, longest)
    pushes = _pushes(some)
    return [_effect(m, lags, scores[:, m], pushes[m], free, some) for m in range(len(some.actions.labels))]


def _scan(some: Recording, late: int) -> tuple[list[int], Float[ndarray, "lags m n"], int]:
    """Partial R² of each action coordinate for each state coordinate at each lag, with the sign of the change.

    Coordinates that respond to no action, such as goals, have 0.
    """
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    left = some.lengths[some.owner] - step
    rows = np.flatnonzero((step >= max(late, 1)) & (left > EARLY))
    actions, states = some.actions.values.astype(np.float64), some.states.values.astype(np.float64)
    moving = np.flatnonzero(~goals(states, some))
    count, states = states.shape[1], states[:, moving]
    free = len(rows) - 2 * states.shape[1] - actions.shape[1] - 1
    lags = list(range(-EARLY, late + 1))
    if late < 2 or free < FEWEST or not states.shape[1]:
        return lags, np.zeros((0, actions.shape[1], count)), free
    basis = _basis(np.concatenate([states[rows], states[rows - 1], np.ones((len(rows), 1))], axis=1))
    change = _unexplained(states[rows + 1] - states[rows], basis)
    found = [_partial(_unexplained(actions[rows - lag], basis), change) for lag in lags]
    scores = np.zeros((len(lags), actions.shape[1], count))
    scores[:, :, moving] = np.stack(found)
    return lags, scores, free


def _pushes(some: Recording) -> Float[ndarray, "m n"]:
    """Signed partial R² of each action for the next change of each state coordinate, given the state alone.

    Where two states determine an action, as feedback does, they leave nothing to compare; one state may leave some.
    """
    rows = np.flatnonzero(some.pairs())
    actions, states = some.actions.values.astype(np.float64), some.states.values.astype(np.float64)
    moving = np.flatnonzero(~goals(states, some))
    found = np.zeros((actions.shape[1], states.shape[1]))
    now = states[:, moving]
    basis = _basis(np.concatenate([now[rows], np.ones((len(rows), 1))], axis=1))
    found[:, moving] = _partial(_unexplained(actions[rows], basis), _unexplained(now[rows + 1] - now[rows], basis))
    return found


def _basis(columns: Float[ndarray, "rows d"]) -> Float[ndarray, "rows k"]:
    """Orthonormal columns of the same span."""
    scale = np.sqrt((columns**2).mean(axis=0))
    u, s, _ = np.linalg.svd(columns / np.where(scale > 0, scale, 1.0), full_matrices=False)
    return u[:, s > 1e-9 * s[0]]


def _unexplained(values: Float[ndarray, "rows d"], basis: Float[ndarray, "rows k"]) -> Float[ndarray, "rows d"]:
    """Residuals of a regression; those that are rounding of the values become 0."""
    centred = values - values.mean(axis=0)
    left = basis @ (basis.T @ values)
    np.subtract(values, left, out=left)
    left[:, _squares(left) <= 1e-12 * _squares(centred)] = 0.0
    return left


def _squares(values: Float[ndarray, "rows d"]) -> Float[ndarray, " d"]:
    return np.einsum("rd,rd->d", values, values)


def _partial(x: Float[ndarray, "rows m"], y: Float[ndarray, "rows n"]) -> Float[ndarray, "m n"]:
    """Partial R² of each x for each y, given the other x, with the sign of the slope."""
    gram = x.T @ x
    scale = np.sqrt(np.diag(gram))
    unit = np.where(scale > 0, scale, 1.0)
    gram = gram / np.outer(unit, unit) + 1e-9 * np.eye(x.shape[1])
    inverse = np.linalg.inv(gram)
    right = (x.T @ y) / unit[:, None]
    weights = inverse @ right
    left = np.maximum(_squares(y) - (weights * (2 * right - gram @ weights)).sum(axis=0), 0.0)
    added = weights**2 / np.diag(inverse)[:, None]
    found = np.where(added + left > TINY, added / np.maximum(added + left, TINY), 0.0)
    return np.where(scale[:, None] > 0, np.sign(weights) * found, 0.0)


def _effect(
    index: int,
    lags: Sequence[int],
    moves: Float[ndarray, "lags n"],
    pushes: Float[ndarray, " n"],
    free: int,
    some: Recording,
) -> Effect:
    scores, now = np.abs(moves).max(axis=1), lags.index(0)
    steps, after = None, range(now, len(lags))
    best = max(after, key=lambda at: scores[at])
    first = next(at for at in after if scores[at] >= scores[best] - 0.02 * (1 - scores[best]) - 0.002)
    if _stands_out(scores, first, [at for at in after if at != first], free):
        steps = lags[first]
    early = max(range(now), key=lambda at: (scores[at] >= 0.99 * scores[:now].max(), at))
    if scores[early] >= STRONG and scores[early] > HALF * scores[now] and _reveals(some, index, -lags[early]):
        steps = lags[early]
    at = lags.index(steps) if steps is not None else first
    return Effect(
        action=some.actions.labels[index],
        steps=steps,
        strength=float(scores[at]),
        lags=tuple(lags),
        curve=tuple(float(score) for score in scores),
        moves=_clear(some.states.labels, moves[at] if scores[at] >= WEAK else pushes, free),
    )


def _clear(labels: Sequence[str], moves: Float[ndarray, " n"], free: int) -> dict[str, float]:
    """The signed partial R² that is more than chance, by state coordinate."""
    return {label: float(move) for label, move in zip(labels, moves, strict=True) if abs(move) * free > CHANCE}


def _stands_out(scores: Float[ndarray, " lags"], at: int, others: list[int], free: int) -> bool:
    """Whether a lag explains far more than others do: strongly, or weakly and sharply."""
    here, before = scores[at], [scores[other] for other in others if other < at]
    if here >= STRONG:
        return all(1 - score >= HALF * (1 - here) for score in before)
    rest = max((scores[other] for other in others), default=0.0)
    return bool(here >= WEAK and here * free > CHANCE and here >= SHARP * rest)


def _reveals(some: Recording, index: int, late: int) -> bool:
    """Whether the motion of a later time determines the action, as if it were recorded late, and the state does not.

    An action that the newest observation determines is feedback on it, which process noise shows in the same way.
    """
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero(step >= late)
    held = held_out_rows(some.owner[rows])
    answer = some.actions.values[rows][:, index : index + 1].astype(np.float64)
    after, before = some.observed(rows - late + 1), some.observed(rows - late)
    one = float(explained(some.observed(rows), answer, held)[0])
    two = float(explained(np.concatenate([after, before], axis=1), answer, held)[0])
    return two >= 0.9 and 1 - two <= 0.3 * (1 - one)


def check_lag(effects: Sequence[Effect], dt: float | None, *, paired: bool = False) -> Iterator[DataFinding]:
    """Observations or actions that most of the clear action coordinates show to be late.

    Args:
        effects: First effect of each action coordinate.
        dt: Seconds per step.
        paired: Whether the observation holds the action of the step before, so that no action is recorded late: the
            recorded action of a step would be the last one at the time of its observation.
    """
    clear = [effect for effect in effects if effect.steps is not None and (effect.steps >= 0 or not paired)]
    if not clear:
        return
    steps = int(np.median([effect.steps or 0 for effect in clear]))
    agree = [effect for effect in clear if effect.steps == steps]
    if not steps or 2 * len(agree) <= len(clear):
        return
    yield _late_observation(agree, steps, dt) if steps > 0 else _late_action(agree, -steps, dt)


def _evidence(agree: Sequence[Effect]) -> str:
    parts = [f"{e.action} (partial R² {e.strength:.2f}, {e.curve[e.lags.index(0)]:.2f} without a lag)" for e in agree]
    return listed(parts)


def _values(agree: Sequence[Effect], steps: int, direction: str) -> dict[str, object]:
    curves = [{"action": e.action, "lags": list(e.lags), "partial_r2": list(e.curve)} for e in agree]
    return {"direction": direction, "steps": steps, "shift_actions": -steps, "coordinates": curves}


def _late_observation(agree: Sequence[Effect], steps: int, dt: float | None) -> DataFinding:
    return warning(
        "lag",
        f"The observation is {_steps(steps, dt)} late: an action changes it only after {steps + 1} steps instead of 1: "
        f"{_evidence(agree)}.",
        effect="The policy learns actions from the observations of another time. At deployment with current "
        "observations each action comes too late or too early; unstable systems fail.",
        remedy=f"If only the recording is late, train with --shift-actions {-steps}, which gives each observation the "
        "action that was taken at its time. If the sensor or the robot is as late at deployment, the data are right as "
        "they are: keep the delay the same there.",
        values=_values(agree, steps, "late observation"),
    )


def _late_action(agree: Sequence[Effect], steps: int, dt: float | None) -> DataFinding:
    return warning(
        "lag",
        f"The action is recorded {_steps(steps, dt)} late: the state changes before the action that causes the change: "
        f"{_evidence(agree)}.",
        effect="The policy learns to act after the effect: at deployment each action comes too late.",
        remedy=f"Train with --shift-actions {steps}, which takes the action of a later row, or correct the recorder.",
        values=_values(agree, -steps, "late action"),
    )


def _steps(count: int, dt: float | None) -> str:
    text = f"{count} step{'' if count == 1 else 's'}"
    return text if dt is None else f"{text} ({count * dt:.3g} s)"
