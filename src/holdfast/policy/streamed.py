"""Plans from the buffer of a streaming model: each continues the previous one.

    plan        1              2              3
    buffer   [clean|noisy]  [clean|noisy]  [clean|noisy]     levels 0, K/B, …
                 │    └──────►┘    └──────►┘                 a block moves up and is denoised on the way
    executed   block 1        block 2        block 3

Høeg et al. 2024 (arXiv 2406.04806). The buffer is implemented in `models.StreamingModel`.
"""

from dataclasses import dataclass
from typing import cast

import torch

from ..errors import RecipeError
from ..models import StreamingBuffer, StreamingModel
from ..types import Observation, Prefix, PrimitiveControllers
from .smoothing import Smoothed


@dataclass
class Streamed:
    """Smoothed planner of a streaming model, with its buffer.

    Attributes:
        smoothed: Smoothed planner.
        buffer: Buffer of the last plan.
        whole: A plan is the whole chunk, with the model's current estimate of the steps that are not clean yet.
    """

    smoothed: Smoothed
    buffer: StreamingBuffer | None = None
    whole: bool = False

    def restart(self) -> None:
        """Start a new episode: the next plan starts from noise."""
        self.buffer = None

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Next block `[b, h / blocks]` of each episode's composite action, or the `whole` chunk `[b, h]`.

        Raises:
            RecipeError: A prefix was given for one block; the buffer already determines how it begins.
        """
        if prefix is not None and not self.whole:
            raise RecipeError(
                "a streaming buffer already determines how its plans begin. Give no prefix, or stream=False."
            )
        planner = self.smoothed.planner
        model = cast(StreamingModel, planner.generator)
        seen = planner.model_input(self.smoothed.noised(window, rng=rng))
        if self.buffer is None or len(self.buffer.chunk) != len(seen.state):
            self.buffer = model.start(seen, rng=rng)
        else:
            self.buffer = model.advance(self.buffer, seen, rng=rng, prefix=prefix)
        return planner.controllers(self.buffer.estimate if self.whole else self.buffer.ready, like=window.vector)
