"""How the next observation answers to actions, in the data and in the environment.

    o[t + 1] − o[t] = A o[t] + A' o[t − 1] + B a[t − k] + c

by least squares, with the lag k of the smallest error; fitted on two thirds of the episodes and judged on the others. A
negative lag is an action that is recorded later than its effect. A lag is *clear* if the action explains most of what
the observation alone leaves open, and much more at this lag than at others.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ....data.doctor.regression import explained, held_out_rows
from ....types import Episodes
from .rows import owners

EARLIEST, LATEST = -4, 16
ROWS = 8_000
FEWEST = 100
CLEAR, BETTER = 0.5, 0.5


@dataclass(frozen=True)
class Response:
    """Response of the observation to actions.

    Attributes:
        lag: Control steps between an action and the first change that it causes; 0 is the next observation.
        clear: Whether the lag is clear.
        gained: Share of the change that the action explains beyond the observation, at each lag.
        lags: The lags.
    """

    lag: int
    clear: bool
    gained: Float[ndarray, " lags"]
    lags: tuple[int, ...]

    def at(self, lag: int) -> float:
        """Share of the remaining change that the action of a lag explains."""
        return float(self.gained[self.lags.index(lag)])


def response_of(episodes: Episodes) -> Response | None:
    """Lag of the response; `None` if there are too few steps."""
    seen, actions = (part.double().cpu().numpy() for part in (episodes.observed.vector, episodes.actions))
    owner = owners(episodes.lengths.cpu()).numpy()
    lags = tuple(range(EARLIEST, LATEST + 1))
    rows = _rows(owner)
    if len(rows) < FEWEST:
        return None
    gained = np.array([_gained(seen, actions, owner, rows, lag) for lag in lags])
    best = int(gained.argmax())
    # slow actions explain nearly as much at neighbouring lags: what they leave open must be much larger
    others = np.delete(1 - gained, best)
    clear = bool(gained[best] > CLEAR and (1 - gained[best]) < BETTER * others.min())
    return Response(lags[best], clear, gained, lags)


def _rows(owner: ndarray) -> ndarray:
    """Rows t whose window from the latest lag to the next step lies in one episode."""
    rows = np.arange(max(LATEST, 1), len(owner) + min(EARLIEST, -1))
    inside = (owner[rows - LATEST] == owner[rows]) & (owner[rows - EARLIEST] == owner[rows])
    rows = rows[inside & (owner[rows - 1] == owner[rows + 1])]
    every = max(1, len(rows) // ROWS)
    return rows[::every]


def _gained(seen: ndarray, actions: ndarray, owner: ndarray, rows: ndarray, lag: int) -> float:
    """Largest share, over the coordinates, of the remaining change that the action explains."""
    change = seen[rows + 1] - seen[rows]
    known = np.concatenate([seen[rows], seen[rows - 1]], axis=1)
    held = held_out_rows(owner[rows])
    if held.all() or not held.any():
        return 0.0
    moving = change.std(axis=0) > 1e-9 * (np.abs(seen).max(axis=0) + 1e-12)
    if not moving.any():
        return 0.0
    alone = 1 - explained(known, change, held)[moving]
    both = 1 - explained(np.concatenate([known, actions[rows - lag]], axis=1), change, held)[moving]
    # a coordinate that the observation determines, as a position by the velocity, says nothing
    open_ = alone > 1e-3
    if not open_.any():
        return 0.0
    return float(np.max(1 - both[open_] / alone[open_]))


def response_rows(episodes: Episodes, lag: int) -> tuple[ndarray, ndarray]:
    """Inputs [1, o[t], a[t − lag]] and outputs o[t + 1] − o[t] of a linear response."""
    seen, actions = (part.double().cpu().numpy() for part in (episodes.observed.vector, episodes.actions))
    rows = _rows(owners(episodes.lengths.cpu()).numpy())
    x = np.concatenate([np.ones((len(rows), 1)), seen[rows], actions[rows - lag]], axis=1)
    return x, seen[rows + 1] - seen[rows]


def linear_response(episodes: Episodes, lag: int) -> tuple[Tensor, Tensor, float]:
    """Coefficients [1, o, a] → change of the observation at a lag, residual variances and median R²."""
    x, y = response_rows(episodes, lag)
    weights, *_ = np.linalg.lstsq(x, y, rcond=1e-8)
    left = (y - x @ weights).var(axis=0)
    moved = y.var(axis=0)
    r2 = float(np.median(1 - left[moved > 0] / moved[moved > 0])) if (moved > 0).any() else 0.0
    return torch.as_tensor(weights), torch.as_tensor(left), r2
