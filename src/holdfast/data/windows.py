"""Rows of observation windows and chunks: index arithmetic over a ragged set.

Every row `r` of the set can be *now*. The observation window ends now; the chunk starts now: its first step
corresponds to the newest observation. Rows beyond the episode's ends repeat its first or last row (edge padding):

    n_obs_steps = 2, horizon = 4, an episode of 5 rows that starts at row 10

                          now = 10               now = 12               now = 14
                           ↓                      ↓                      ↓
    observation rows   [10 10]                [11 12]                [13 14]
    chunk rows            [10 11 12 13]          [12 13 14 14]          [14 14 14 14]
    mask                  [ 1  1  1  1]          [ 1  1  1  0]          [ 1  0  0  0]

No window crosses into another episode, and an episode shorter than a window is padded. Windows are not
stored, only the first and the last row of each row's episode.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from ..errors import DataError, ShapeError


def gathered(values: Shaped[Tensor, "n *d"], rows: Int[Tensor, "*b"]) -> Shaped[Tensor, "..."]:
    """`values[rows]`, on one thread on a CPU.

    PyTorch divides a gather of 32,768 numbers or more among its threads, and each waits for the last one: beside a busy
    process, a batch that takes a fraction of a millisecond then waits for a time slice of the operating system, which
    is a hundred times as long. NumPy copies whole rows in one thread, and takes less time than PyTorch on two.

    >>> gathered(torch.arange(10.0), torch.tensor([[9, 0], [1, 1]]))
    tensor([[9., 0.],
            [1., 1.]])
    """
    plain = type(values) is Tensor and type(rows) is Tensor and not values.requires_grad
    if not plain or values.device.type != "cpu" or rows.device.type != "cpu" or values.dtype == torch.bfloat16:
        return values[rows]
    return torch.as_tensor(values.numpy().take(rows.numpy(), axis=0))


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Observation windows and chunks of a ragged set, one pair per row.

        observation rows of r:  max(r − n_obs_steps + 1 + i, first(r))   for i = 0 … n_obs_steps − 1
        chunk rows of r:        min(r + j, last(r))                      for j = 0 … horizon − 1
        mask of r:              r + j ≤ last(r)

    Attributes:
        lengths: Number of steps of each episode, at least 1.
        n_obs_steps: Number of steps in an observation window, including now.
        horizon: Number of steps in a chunk, including now.

    Raises:
        DataError: No episodes, or an empty one.
        ShapeError: `n_obs_steps` or `horizon` below 1.

    >>> windows = Windows(lengths=torch.tensor([10, 5]), n_obs_steps=2, horizon=4)
    >>> len(windows)
    15
    >>> windows.observation_rows(torch.tensor([10, 12, 14])).tolist()
    [[10, 10], [11, 12], [13, 14]]
    >>> rows, mask = windows.chunk_rows(torch.tensor([12]))
    >>> rows.tolist(), mask.tolist()
    ([[12, 13, 14, 14]], [[True, True, True, False]])
    """

    lengths: Int[Tensor, " episodes"]
    n_obs_steps: int
    horizon: int

    def __post_init__(self) -> None:
        if self.n_obs_steps < 1 or self.horizon < 1:
            raise ShapeError(
                f"windows need n_obs_steps >= 1 and horizon >= 1, got {self.n_obs_steps} and {self.horizon}."
            )
        if not len(self.lengths) or int(self.lengths.min()) < 1:
            raise DataError(
                f"windows need episodes of at least one step, got lengths {self.lengths}. Remove the empty ones."
            )

    def __len__(self) -> int:
        return self.first_rows.shape[0]

    @cached_property
    def first_rows(self) -> Int[Tensor, " rows"]:
        """First row of each row's episode."""
        return (self.lengths.cumsum(0) - self.lengths).repeat_interleave(self.lengths)

    @cached_property
    def last_rows(self) -> Int[Tensor, " rows"]:
        """Last row of each row's episode."""
        return (self.lengths.cumsum(0) - 1).repeat_interleave(self.lengths)

    def observation_rows(self, rows: Int[Tensor, " b"]) -> Int[Tensor, "b {self.n_obs_steps}"]:
        """Rows of the observation windows that end at the given rows, oldest first."""
        back = torch.arange(1 - self.n_obs_steps, 1, device=rows.device)
        return torch.maximum(rows[:, None] + back, self.first_rows[rows][:, None])

    def chunk_rows(
        self, rows: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, "b {self.horizon}"], Bool[Tensor, "b {self.horizon}"]]:
        """Rows of the chunks that start at the given rows, and whether they are inside the episode."""
        return self._ahead(rows, 0)

    def following_rows(
        self, rows: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, "b {self.horizon}"], Bool[Tensor, "b {self.horizon}"]]:
        """Rows after each row of the chunks that start at the given rows, and whether they are inside the episode."""
        return self._ahead(rows, 1)

    def _ahead(self, rows: Tensor, first: int) -> tuple[Tensor, Tensor]:
        ahead = rows[:, None] + torch.arange(first, first + self.horizon, device=rows.device)
        last = self.last_rows[rows][:, None]
        return torch.minimum(ahead, last), ahead <= last
