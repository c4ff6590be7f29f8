"""Nearest neighbours: for some steps, the nearest step of every other episode, in the units of σ.

    r(z, z′) = ‖z − z′‖ / √d,    z the observation scaled to [-1, 1] as training does

so that r compares with σ: Gaussian noise of standard deviation σ moves an observation by about r = σ. Steps of one
episode are not independent, so only the nearest step of each episode is used.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from ...seeding import stream
from ..windows import Windows
from .grippers import switches_of
from .recording import Recording

EPISODES, ROWS, STEPS, HELD = 400, 20_000, 1500, 200_000
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class EpisodeNeighbours:
    """Some steps and their nearest steps in each other episode.

    Attributes:
        nearest: The nearest step of each episode.
        distance: Distance to it; infinite for the step's own episode.
        z: Observations at every step of the recording, scaled to [-1, 1].
    """

    recording: Recording
    rows: Int[ndarray, " q"]
    nearest: Int[ndarray, "q e"]
    distance: Float[ndarray, "q e"]
    chunks: "Chunks"
    z: Float[ndarray, "rows d"]

    @property
    def at_start(self) -> ndarray:
        """Whether each step is the first of an episode."""
        return np.isin(self.rows, self.recording.starts)


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """Action chunks without switches such as grippers, gathered on demand."""

    actions: Float[ndarray, "rows m"]
    windows: Windows

    def of(self, rows: Int[ndarray, "*q"]) -> Float[ndarray, "*q w"]:
        """The chunks that start at the given rows; beyond an episode's end its last action repeats."""
        ahead, _ = self.windows.chunk_rows(torch.as_tensor(rows.ravel()))
        return self.actions[ahead.numpy()].reshape(*rows.shape, -1)


def neighbours_of(recording: Recording, horizon: int) -> EpisodeNeighbours | None:
    """Neighbours of all starts and of random steps along the episodes; `None` with fewer than two episodes."""
    if len(recording.lengths) < 2:
        return None
    rng = stream(0, "doctor", "neighbours")
    recording = recording.sample(HELD, seed_words="neighbours")
    if len(recording.lengths) > EPISODES:
        order = torch.randperm(len(recording.lengths), generator=rng).numpy()
        recording = recording.choose(np.sort(order[:EPISODES]))
    total = int(recording.lengths.sum())
    stride = -(-total // ROWS)
    step = np.arange(total) - recording.starts[recording.owner]
    thinned = np.flatnonzero(step % stride == 0)
    drawn = torch.randperm(len(thinned), generator=rng)[:STEPS].numpy()
    rows = np.unique(np.concatenate([recording.starts, thinned[drawn]]))
    z = _scaled(recording.observed(np.arange(total)))
    nearest, distance = _nearest(z, rows, thinned, recording.owner)
    windows = Windows(lengths=torch.as_tensor(recording.lengths), n_obs_steps=1, horizon=horizon)
    chunks = Chunks(actions=_scaled(recording.actions.values.astype(np.float64)[:, _moved(recording)]), windows=windows)
    return EpisodeNeighbours(recording=recording, rows=rows, nearest=nearest, distance=distance, chunks=chunks, z=z)


def _moved(recording: Recording) -> list[int]:
    """Columns of the actions without switches: a gripper that closes a step earlier or later is no other way of acting.

    Where all are switches, all are kept.
    """
    switches = {switch.action for switch in switches_of(recording)}
    columns = [column for column, label in enumerate(recording.actions.labels) if label not in switches]
    return columns or list(range(len(recording.actions.labels)))


def _scaled(values: Float[ndarray, "rows d"]) -> Any:
    low, high = values.min(axis=0), values.max(axis=0)
    half = np.where(high > low, (high - low) / 2, 1.0)
    return ((values - (low + high) / 2) / half).astype(np.float32)


def _nearest(
    z: Float[ndarray, "rows d"], rows: Int[ndarray, " q"], thinned: Int[ndarray, " k"], owner: Int[ndarray, " rows"]
) -> tuple[Int[ndarray, "q e"], Float[ndarray, "q e"]]:
    points, owners = z[thinned], owner[thinned]
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    squares = (points**2).sum(axis=1)
    nearest, distance = list[ndarray](), list[ndarray]()
    for block in np.array_split(rows, -(-len(rows) // BLOCK)):
        # ‖z‖² + ‖z′‖² − 2 z·z′ is inexact below r ≈ 1e-3; the distance of the nearest is recomputed exactly
        gaps = (-2 * z[block]) @ points.T
        gaps += squares
        by_episode = np.split(gaps, first[1:], axis=1)
        best = np.stack([part.argmin(axis=1) + a for a, part in zip(first, by_episode, strict=True)], axis=1)
        away = np.sqrt(((points[best] - z[block][:, None]) ** 2).mean(axis=-1))
        away[np.arange(len(block)), owner[block]] = np.inf
        nearest.append(thinned[best])
        distance.append(away)
    return np.concatenate(nearest), np.concatenate(distance).astype(np.float64)
