"""Demonstrations as the tensors that training reads: normalised once, resident, gathered by index."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import MinMax, NoiseLaw, Windows, encode, noised
from ..policy import PolicySpec
from ..tokens import Tokenizer
from ..types import Batch, Episodes, PrimitiveControllers

__all__ = ["TrainingSet", "chunks_of", "training_set"]


@dataclass(frozen=True)
class TrainingSet:
    """Normalised rows and the index arithmetic that makes windows of them.

    Attributes:
        observations: Normalised observations.
        codes: Normalised codes of the primitive controllers.
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
        rows, mask = self.windows.chunk_rows(now)
        window = self.observations[self.windows.observation_rows(now)]
        return Batch(observation=noised(window, sigma, rng=rng, law=law), chunk=self.codes[rows], mask=mask)


def chunks_of(data: TrainingSet, *, most: int, rng: torch.Generator) -> Float[Tensor, "n h w"]:
    """Normalised chunks of all control steps, or of as many as asked for."""
    now = torch.arange(len(data)) if len(data) <= most else torch.randperm(len(data), generator=rng)[:most]
    rows, _ = data.windows.chunk_rows(now.to(data.codes.device))
    return data.codes[rows]


def training_set(
    spec: PolicySpec,
    episodes: Episodes,
    controllers: PrimitiveControllers,
    *,
    device: torch.device | str = "cpu",
    scales_of: TrainingSet | None = None,
) -> TrainingSet:
    """Scales fitted on these episodes alone, and their rows normalised by them.

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
        observations=observation_scale.normalize(observed).to(device, torch.float32),
        codes=code_scale.normalize(codes).to(device, torch.float32),
        windows=Windows(lengths=episodes.lengths.to(device), n_obs_steps=spec.n_obs_steps, horizon=spec.horizon),
        observation_scale=observation_scale,
        code_scale=code_scale,
        tokenizer=None if scales_of is None else scales_of.tokenizer,
    )
