"""Demonstrations as the tensors that training reads: resident as they are, gathered by index, normalised in batches.

A normalised copy of all rows would double what a set takes; of a batch it costs next to nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data import MinMax, NoiseLaw, Windows, encode, noised
from ..policy import PolicySpec
from ..tokens import Tokenizer
from ..types import Batch, Episodes, PrimitiveControllers

__all__ = ["TrainingSet", "chunks_of", "training_set"]


@dataclass(frozen=True)
class TrainingSet:
    """Rows, their scales, and the index arithmetic that makes windows of them.

    Attributes:
        observations: Of each row, in the data's units.
        codes: Of each row's primitive controller, in the data's units.
        windows: Which rows make the window and the chunk of each *now*.
        observation_scale: Fitted on these episodes.
        code_scale: Fitted on these episodes.
        tokenizer: Fitted on these episodes' chunks, for families of tokens.
    """

    observations: Float[Tensor, "rows d"]
    codes: Float[Tensor, "rows w"]
    windows: Windows
    observation_scale: MinMax
    code_scale: MinMax
    tokenizer: Tokenizer | None = None

    def __len__(self) -> int:
        return self.observations.shape[0]

    def batch(self, now: Int[Tensor, " b"], *, sigma: float, rng: torch.Generator, law: NoiseLaw = "gaussian") -> Batch:
        """Windows and chunks at the given rows; HINT's noise on the observations."""
        chunk, mask = self.chunks_at(now)
        return Batch(observation=noised(self.windows_at(now), sigma, rng=rng, law=law), chunk=chunk, mask=mask)

    def windows_at(self, now: Int[Tensor, " b"]) -> Float[Tensor, "b o d"]:
        """Normalised observation windows that end at the given rows."""
        rows = self.observations[self.windows.observation_rows(now)]
        return self.observation_scale.normalize(rows).float()

    def chunks_at(self, now: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h"]]:
        """Normalised chunks from the given rows on, and which of their steps lie inside their episodes."""
        rows, mask = self.windows.chunk_rows(now)
        return self.code_scale.normalize(self.codes[rows]).float(), mask


def chunks_of(data: TrainingSet, *, most: int, rng: torch.Generator) -> Float[Tensor, "n h w"]:
    """Normalised chunks of all control steps, or of as many as asked for."""
    now = torch.arange(len(data)) if len(data) <= most else torch.randperm(len(data), generator=rng)[:most]
    return data.chunks_at(now.to(data.codes.device))[0]


def training_set(
    spec: PolicySpec,
    episodes: Episodes,
    controllers: PrimitiveControllers,
    *,
    device: torch.device | str = "cpu",
    scales_of: TrainingSet | None = None,
) -> TrainingSet:
    """Scales fitted on these episodes alone, beside their rows, which are shared with the episodes where they can be.

    Args:
        spec: Names the codec and the lengths of windows and chunks.
        episodes: The training episodes.
        controllers: One primitive controller a row.
        device: Where the rows live.
        scales_of: Take scales and device of this set instead, for episodes that are not trained on.
    """
    observed = episodes.observed.vector
    codes = encode(spec.codec, controllers)
    if scales_of is None:
        observation_scale, code_scale = MinMax.fit(observed), MinMax.fit(codes)
    else:
        observation_scale, code_scale = scales_of.observation_scale, scales_of.code_scale
        device = scales_of.observations.device
    return TrainingSet(
        observations=observed.to(device),
        codes=codes.to(device),
        windows=Windows(lengths=episodes.lengths.to(device), n_obs_steps=spec.n_obs_steps, horizon=spec.horizon),
        observation_scale=observation_scale.to(device),
        code_scale=code_scale.to(device),
        tokenizer=None if scales_of is None else scales_of.tokenizer,
    )
