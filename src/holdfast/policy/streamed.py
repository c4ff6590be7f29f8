"""Plans from a streaming model's buffer: each goes on where the last one ended.

    plan        1              2              3
    buffer   [clean|noisy]  [clean|noisy]  [clean|noisy]     levels 0, K/B, …
                 │    └──────►┘    └──────►┘                 a block moves up and is denoised on the way
    executed   block 1        block 2        block 3

Høeg et al. 2024 (arXiv 2406.04806); the buffer itself is `models.StreamingModel`'s.
"""

from dataclasses import dataclass
from typing import cast

import torch

from ..errors import RecipeError
from ..models import StreamingBuffer, StreamingModel
from ..types import Observation, Prefix, PrimitiveControllers
from .smoothing import Smoothed

__all__ = ["Streamed"]


@dataclass
class Streamed:
    """A smoothed planner of a streaming model that keeps its buffer; `restart` begins an episode.

    Attributes:
        smoothed: Shows the model noised observations.
        buffer: Of the last plan; `None` before the first one.
    """

    smoothed: Smoothed
    buffer: StreamingBuffer | None = None

    def restart(self) -> None:
        """Forget the buffer: the next plan starts from noise."""
        self.buffer = None

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """The next block `[b, h / blocks]` of each episode's composite action.

        Raises:
            RecipeError: A prefix was given: what a buffer goes on from is the buffer.
        """
        if prefix is not None:
            raise RecipeError("a streaming buffer already holds how its plans begin. Give no prefix, or stream=False.")
        planner = self.smoothed.planner
        model = cast(StreamingModel, planner.model)
        seen = planner.model_input(self.smoothed.noised(window, rng=rng))
        if self.buffer is None or len(self.buffer.chunk) != len(seen.state):
            self.buffer = model.start(seen, rng=rng)
        else:
            self.buffer = model.advance(self.buffer, seen, rng=rng)
        return planner.controllers(self.buffer.ready, like=window.vector)
