"""Two positions in a plane that velocities move, in the frame of the room or of a base with a heading.

With z = x + iy, the actions of the last steps and the heading θ,

    Δz[t] ≈ e^{iσθ[t]} Σ_k Σ_m c_{m,k} a_m[t − k],    σ ∈ {0, 1, −1}

where complex c hold the gain and the direction of each action. σ = 0 is a robot that moves in the frame of its
positions, σ = 1 a base that moves in its own, and σ = −1 one whose x and y are exchanged, because exchanging them is
z → i z̄. The direction of the motion against its prediction p,

    φ_e = arg Σ_t p̄[t] Δz[t]

is one number for each episode, whose drift is one of the heading, or of the frame of the positions. Both are taken
without their means of the episode, which an offset of the commands shifts.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Complex, Float, Int
from numpy import ndarray

from ..columns import goals
from ..recording import Recording
from .changes import from_on, ramp
from .drifting import EPISODES, Series, series_of

ROWS, WIDEST, TAPS = 8000, 12, 4
"""Rows that are compared, the largest number of coordinates, and previous actions."""
TURNS = 1.0
"""Smallest range of a heading [rad]; a coordinate that stays in a narrower one cannot tell σ."""
RATE = 0.9
"""Smallest R² of the change of a position and a coordinate that is its rate."""
KNOWN, BETTER, TARGET = 0.9, 0.5, 0.8
"""Smallest R² of the motion; largest fraction of the error of σ = 0, or of the other sign, that is left; correlation of
an action with a position that it is a target for, which is no velocity."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Two positions that velocities move.

    Attributes:
        positions: Names of x and y.
        heading: Name of the heading, or "" in the frame of the room.
        sign: σ.
        r2: Fraction of the motion that is explained on held-out episodes.
        weights: c of each action, summed over the steps.
        episodes: Number of episodes.
        drift: How the direction follows the order of the episodes.
        shift: Change of the direction from the first episode to the last, or at the step [rad].
        first: The first changed episode, as numbered in the data set; 0 for a trend.
    """

    positions: tuple[str, str]
    heading: str
    sign: int
    r2: float
    weights: Complex[ndarray, " m"]
    episodes: int
    drift: Series
    shift: float
    first: int


def planes_of(recording: Recording) -> list[Plane]:
    """Neighbouring coordinates that velocities move together; empty where there are none."""
    some = recording.sample(ROWS, seed_words="planes")
    states = some.states.values.astype(np.float64)
    moving = np.flatnonzero(~goals(states, some) & (states.std(axis=0) > 0))
    actions = some.actions.values.astype(np.float64)
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero((step >= TAPS) & (step < some.lengths[some.owner] - 1))
    narrow = max(len(moving), actions.shape[1]) > WIDEST or actions.shape[1] < 2 or len(moving) < 2
    if narrow or len(some.lengths) < EPISODES or len(rows) < 20 * actions.shape[1] * TAPS:
        return []
    past = np.concatenate([actions[rows - back] for back in range(TAPS + 1)], axis=1)
    search = _Search(some=some, states=states, rows=rows, past=past, owner=some.owner[rows])
    pairs = [(int(x), int(y)) for x, y in pairwise(moving) if y == x + 1]
    found = [search.best(pair, moving) for pair in pairs if not search.aimed(pair)]
    return [plane for plane in found if plane is not None]


@dataclass(frozen=True, kw_only=True)
class _Search:
    some: Recording
    states: Float[ndarray, "all n"]
    rows: Int[ndarray, " rows"]
    past: Float[ndarray, "rows k"]
    owner: Int[ndarray, " rows"]

    def best(self, pair: tuple[int, int], moving: Int[ndarray, " p"]) -> Plane | None:
        """The frame that explains the motion of two coordinates; `None` if none does."""
        change = self.states[self.rows + 1][:, pair] - self.states[self.rows][:, pair]
        moved = change[:, 0] + 1j * change[:, 1]
        still = self._fit(moved)
        best, heading, sign = still, -1, 0
        for other in (int(n) for n in moving if n not in pair and self._turns(int(n), change)):
            both = [self._fit(self._own(moved, other, turn)) for turn in (1, -1)]
            one = int(both[1][0] > both[0][0])
            if 1 - both[one][0] <= BETTER * (1 - max(best[0], both[1 - one][0])):
                best, heading, sign = both[one], other, (1, -1)[one]
        r2, weights = best
        if r2 < KNOWN:
            return None
        labels = self.some.states.labels
        drift, shift = self._drift(self._own(moved, heading, sign), weights)
        return Plane(
            positions=(labels[pair[0]], labels[pair[1]]),
            heading=labels[heading] if heading >= 0 else "",
            sign=sign,
            r2=r2,
            weights=weights.reshape(TAPS + 1, -1).sum(axis=0),
            episodes=len(self.some.lengths),
            drift=drift,
            shift=shift,
            first=int(self.some.episodes[drift.first]) if drift.stepped else 0,
        )

    def aimed(self, pair: tuple[int, int]) -> bool:
        """Whether an action is a target for one of two coordinates."""
        now = self.past[:, : self.some.actions.values.shape[1]]
        both = np.corrcoef(now[:, now.std(axis=0) > 0], self.states[self.rows][:, pair], rowvar=False)
        return bool((both[:-2, -2:] > TARGET).any())

    def _turns(self, other: int, change: Float[ndarray, "rows 2"]) -> bool:
        """Whether a coordinate may be a heading: it has the range of one, and is not the rate of a position.

        At a constant speed, the velocity across the path turns with it.
        """
        if np.ptp(self.states[:, other]) < TURNS:
            return False
        rate = (self.states[self.rows + 1, other] + self.states[self.rows, other]) / 2
        both = change[:, change.std(axis=0) > 0]
        return not (np.corrcoef(rate, both, rowvar=False)[0, 1:] ** 2 >= RATE).any()

    def _own(self, moved: Complex[ndarray, " rows"], heading: int, sign: int) -> Complex[ndarray, " rows"]:
        """The motion in the frame of the base, or as it is for σ = 0."""
        return moved * np.exp(-1j * sign * self.states[self.rows, heading])

    def _fit(self, own: Complex[ndarray, " rows"]) -> tuple[float, ndarray]:
        """R² of the motion on held-out episodes, and the weights."""
        held = self.owner % 2 == 1
        inputs: ndarray = self.past[~held]
        gram: ndarray = inputs.T @ inputs
        ridge = 1e-9 * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
        weights: ndarray = np.linalg.solve(gram + ridge, inputs.T @ own[~held])
        left = np.abs(own - self.past @ weights)[held]
        return 1 - float((left**2).sum()) / max(float((np.abs(own[held]) ** 2).sum()), 1e-300), weights

    def _drift(self, own: Complex[ndarray, " rows"], weights: ndarray) -> tuple[Series, float]:
        """How the direction follows the order of the episodes; without their means, which an offset shifts too."""
        products: ndarray = np.conj(self._centred(self.past @ weights)) * self._centred(own)
        sums = self._sums(products)
        # from the usual direction, so that no episode lies across the cut of the angle
        angles: ndarray = np.angle(sums / np.exp(1j * np.angle(sums.sum())))
        found = series_of(angles)
        over = from_on(len(angles), found.first).astype(float) if found.stepped else ramp(len(angles))
        return found, float(np.polyfit(over, angles, 1)[0])

    def _centred(self, values: Complex[ndarray, " rows"]) -> Complex[ndarray, " rows"]:
        counts = np.bincount(self.owner)
        return values - (self._sums(values) / counts)[self.owner]

    def _sums(self, values: Complex[ndarray, " rows"]) -> Complex[ndarray, " episodes"]:
        return np.bincount(self.owner, np.real(values)) + 1j * np.bincount(self.owner, np.imag(values))
