"""Observations that contain an action: exact copies, and copies with noise.

A copy of the action in the observation differs from a state near its target by its residual, for the best lag k:

    e[t] = o[t] − α a[t − k] − β,    k = 0 the current action, k = 1 the previous one, …

An exact copy leaves far less than the action's own steps, Var e ≤ 10⁻³ Var(a[t] − a[t − 1]). A noisy copy leaves noise
that is white, and has no memory: given a[t], …, a[t − 3], the previous value o[t − 1] explains nothing of o[t], while a
state that follows its target remembers where it was. A servo that arrives within one step has no memory either; so a
noisy copy is reported only if the action moves another coordinate too.

A coordinate that the previous observation already determines is not a copy, but a state with linear feedback, and one
whose rate is observed, or that moves at the same time as the others instead of before them, is a reading of the robot:
then the action is a copy of the state, not the other way round (`offsets.readings_of`). So is one of which the previous
value and the actions explain nine tenths of e: a servo, whose target is nearly where the robot will be. Coordinates
that their names call actions are copies in any case.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .columns import goals
from .findings import DataFinding, error, good, listed, warning
from .recording import Recording
from .regression import explained, fit_each, held_out_rows, partial

COPY, NOISY = 1e-3, 0.99
ROWS = 20_000
FEWEST = 60
MOST_BACK = 3
WHITE, MEMORY = 0.3, 0.1
RATE = 0.98
LEADS = 0.02
MOVES = 0.02
ROUNDING = 1e-6
NAMED = re.compile(r"\b((last|prev|previous)_?)?actions?(_\d+)?$", re.IGNORECASE)
"""Coordinates that their names call actions."""
SAME = 1 - 1e-6
"""Correlation from which two coordinates are one."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A coordinate of the observation that is an action, some steps back."""

    action: str
    observation: str
    back: int
    r2: float
    noisy: bool


def leaks_of(recording: Recording) -> list[Leak] | None:
    """Copies of actions in the observations; `None` if there are too few steps."""
    some = recording.sample(ROWS, seed_words="leaks")
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero(step >= MOST_BACK)
    if len(rows) < FEWEST:
        rows = np.flatnonzero(step >= 1)
    if len(rows) < FEWEST:
        return None
    return _Search.of(some, rows).leaks()


@dataclass(frozen=True)
class _Search:
    """Actions and observations of the rows that are examined."""

    some: Recording
    rows: Int[ndarray, " rows"]
    actions: Float[ndarray, "all m"]
    seen: Float[ndarray, "all d"]
    held: Bool[ndarray, " rows"]
    foreseen: Bool[ndarray, " d"]
    still: Bool[ndarray, " d"]
    named: Bool[ndarray, " d"]

    @staticmethod
    def of(some: Recording, rows: Int[ndarray, " rows"]) -> "_Search":
        seen = some.observed(np.arange(len(some.owner)))
        held = held_out_rows(some.owner[rows])
        now, before = seen[rows], seen[rows - 1]
        # what an observation determines of the next is dynamics: a linear feedback law, not a copy
        foreseen = (1 - explained(before, now, held)) * now.var(axis=0) <= COPY * (now - before).var(axis=0)
        named = np.array([NAMED.search(label) is not None for label in some.observed_labels])
        actions = some.actions.values.astype(np.float64)
        return _Search(some, rows, actions, seen, held, foreseen, goals(seen, some), named)

    @property
    def backs(self) -> range:
        """Steps back that every row has."""
        first = int((self.rows - self.some.starts[self.some.owner[self.rows]]).min())
        return range(min(first, MOST_BACK) + 1)

    def leaks(self) -> list[Leak]:
        """Copies, each observation once, at the lag that fits best."""
        fits = [fit_each(self.seen[self.rows], self.actions[self.rows - back], self.held) for back in self.backs]
        r2 = np.stack([fit.r2 for fit in fits])
        best = r2.argmax(axis=0)
        found = list[Leak]()
        for d, m in np.argwhere(r2.max(axis=0) >= NOISY).tolist():
            back = int(best[d, m])
            left = (1 - r2[back, d, m]) * self.actions[self.rows - back, m][self.held].var()
            moves = float((self.actions[self.rows, m] - self.actions[self.rows - 1, m]).var())
            named = bool(self.named[d])
            exact = bool(left <= COPY * moves and (named or not self.foreseen[d]))
            if (
                moves == 0
                or self.still[d]
                or not (exact or self._is_noisy(d, m, back))
                or (not named and (self._remembers(d, m, back) or self._is_reading(d, m, exact)))
            ):
                continue
            labels = self.some.actions.labels[m], self.some.observed_labels[d]
            strength = float(r2[back, d, m])
            found.append(Leak(action=labels[0], observation=labels[1], back=back, r2=strength, noisy=not exact))
        best_of = {leak.observation: leak for leak in sorted(found, key=lambda leak: leak.r2)}
        # in the order of the columns: strengths of exact copies differ in their last bits, as the processor rounds them
        return [best_of[name] for name in dict.fromkeys(leak.observation for leak in found)]

    def _is_noisy(self, d: int, m: int, back: int) -> bool:
        """Whether a coordinate is an action plus white noise, without a memory of its own, beside other responses."""
        values, wanted = self.seen[self.rows, d], self.actions[self.rows - back, m]
        centred = wanted - wanted.mean()
        slope = float(centred @ values) / max(float(centred @ centred), 1e-300)
        left = np.zeros(len(self.seen))
        left[self.rows] = values - values.mean() - slope * centred
        pairs = self.rows[1:][np.diff(self.rows) == 1]
        now, before = left[pairs], left[pairs - 1]
        scale = float(np.sqrt((now**2).sum() * (before**2).sum()))
        if scale == 0 or abs(float((now * before).sum())) > WHITE * scale:
            return False
        past = np.stack([self.actions[self.rows - k, m] for k in self.backs], axis=1)
        memory = float(partial(self.seen[self.rows - 1][:, [d]], past, self.seen[self.rows][:, [d]])[0, 0])
        return bool(memory < MEMORY) and self._moves_another(d, m)

    def _remembers(self, d: int, m: int, back: int) -> bool:
        """Whether the previous value and the actions explain what the copied action alone leaves: a state, no copy."""
        left = np.stack([self.actions[self.rows - back, m], np.ones(len(self.rows))], axis=1)
        before = [self.actions[self.rows - k, m] for k in self.backs[1:]]
        past = np.stack([self.seen[self.rows - 1, d], *before], axis=1)
        alone, both = (_error(x, self.seen[self.rows, d]) for x in (left, np.concatenate([left, past], axis=1)))
        steps = float(((self.seen[self.rows, d] - self.seen[self.rows - 1, d]) ** 2).mean())
        return alone > ROUNDING * steps and both < MEMORY * alone

    def _moves_another(self, d: int, m: int) -> bool:
        """Whether the action explains the change of a coordinate that is no copy of it."""
        others = self._others(d)
        rows = self.rows[self.rows + 1 < len(self.seen)]
        rows = rows[self.some.owner[rows] == self.some.owner[rows + 1]]
        if not others or len(rows) < FEWEST:
            return False
        state = self.seen[:, others]
        known = np.concatenate([state[rows], state[rows - 1]], axis=1)
        x = self.actions[rows][:, [m]]
        return float(partial(x, known, state[rows + 1] - state[rows]).max()) >= MOVES

    def _others(self, d: int) -> list[int]:
        """Coordinates that move and are neither the same as this one nor named as actions."""
        moving = np.flatnonzero(~(self.still | self.named)).tolist()
        return [k for k in moving if not self._alike(k, d)]

    def _alike(self, k: int, d: int) -> bool:
        return k == d or abs(float(np.corrcoef(self.seen[:, k], self.seen[:, d])[0, 1])) > SAME

    def _is_reading(self, d: int, m: int, exact: bool) -> bool:
        """Whether a coordinate is a position of the robot: its rate is seen, or it does not move before the others."""
        rows = self.rows[self.rows + 1 < len(self.seen)]
        rows = rows[self.some.owner[rows] == self.some.owner[rows + 1]]
        steps, mean = self.seen[rows + 1] - self.seen[rows], (self.seen[rows + 1] + self.seen[rows]) / 2
        others = self._others(d)
        if any(_r2(mean[:, k], steps[:, d]) >= RATE for k in others):
            return True
        if not exact:
            return False
        now, later = (max((_r2(steps[: -a or None, d], steps[a:, k]) for k in others), default=0.0) for a in (0, 1))
        first = self.seen[:, d][rows] - self.seen[:, d][rows - 1]
        caused = max((_r2(first, steps[:, k]) for k in others), default=0.0)
        return max(later, caused) <= now + LEADS and not self._moves_another(d, m)


def _error(x: Float[ndarray, "rows x"], y: Float[ndarray, " rows"]) -> float:
    """Mean squared error of the regression on x."""
    return float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).mean())


def _r2(x: ndarray, y: ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) ** 2 / max(float((x @ x) * (y @ y)), 1e-300))


def check_leaks(leaks: Sequence[Leak] | None) -> Iterator[DataFinding]:
    """One finding for each number of steps back."""
    if leaks is None:
        return
    if not leaks:
        yield good("leaks", "No observation contains a copy of an action.")
    for back in sorted({leak.back for leak in leaks}):
        yield _report([leak for leak in leaks if leak.back == back], back)


def _report(leaks: Sequence[Leak], back: int) -> DataFinding:
    which = {0: "current", 1: "previous"}.get(back, f"{back} steps earlier")
    copies = listed([f"{leak.observation} = {leak.action}" for leak in leaks])
    noise = f", with noise (R² {min(leak.r2 for leak in leaks):.4f})" if any(leak.noisy for leak in leaks) else ""
    what = "current action" if back == 0 else "previous action" if back == 1 else f"action of {back} steps before"
    return (warning if back else error)(
        "leaks",
        f"The observation contains the {what}: {copies} (up to scale and offset{noise}).",
        effect="If actions change slowly, an earlier action is nearly the next one: the network repeats it and ignores "
        "the state (the copycat problem), with a low loss and poor behavior."
        if back
        else "The network copies the action from the observation: its loss falls to 0, but the policy fails at "
        "deployment, where the action is not observed.",
        remedy="Remove these coordinates from the observation.",
        values={
            "which": which,
            "back": back,
            "coordinates": [leak.observation for leak in leaks],
            "actions": [leak.action for leak in leaks],
            "r2": [leak.r2 for leak in leaks],
            "noisy": [leak.noisy for leak in leaks],
        },
    )
