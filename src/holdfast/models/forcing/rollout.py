"""Sequences far longer than those of training: each pass begins where the last one ended.

    pass 1   window | a₀ x₁  a₁ x₂ … a_{h−1} x_h
    pass 2                    window | known context | new frames

The window of a pass ends where its first frame begins; the frames that it repeats from the last pass are its context.
Window and context are held at the sampler's `history` level, so that small errors of what was generated are within the
noise that the network was trained with (Chen et al. 2024, arXiv 2407.01392, section 4.1).
"""

import torch
from torch import Tensor

from ...errors import RecipeError, at_least
from ...types import Window
from .frames import Frames, KnownFrames
from .guidance import Guidance
from .model import ForcingModel


@torch.no_grad()
def imagined(
    model: ForcingModel,
    observation: Window,
    steps: int,
    *,
    rng: torch.Generator,
    context: int = 0,
    guidance: Guidance | None = None,
) -> Frames:
    """Sequences of any length, one for each normalised observation window.

    Args:
        model: Trained model whose windows are readings alone.
        observation: First windows.
        steps: Frames of a sequence.
        rng: Random generator.
        context: Frames of the last pass that each pass is given besides its window. The window of the next pass ends
            before them, so that with a window of `o` observations at least `o + context` frames are kept.
        guidance: Reward or goal, of each pass by itself.

    Raises:
        RecipeError: The model's windows have numbers that it does not model, so that they cannot be continued; or the
            context leaves no new frames.
    """
    at_least(1, steps=steps)
    sizes = model.sizes
    if sizes.n_observed != sizes.readings:
        raise RecipeError(
            f"sequences cannot be continued: of {sizes.n_observed} numbers in an observation the model models "
            f"{sizes.readings}, and pictures or instructions not. Train on readings alone."
        )
    if not 0 <= context < sizes.horizon:
        raise RecipeError(
            f"a context of {context} leaves no new frames of {sizes.horizon} in a pass. Give 0 to {sizes.horizon - 1}."
        )
    found = model.frames(observation, rng=rng, guidance=guidance).values
    while found.shape[1] < steps:
        seen = torch.cat([observation, found[..., sizes.width :]], dim=1)
        window, given = _continued(seen, found, context, sizes.n_obs_steps)
        known = KnownFrames.first(Frames(given, sizes.width), horizon=sizes.horizon) if context else None
        values = model.frames(window, rng=rng, known=known, guidance=guidance).values
        found = torch.cat([found, values[:, context:]], dim=1)
    return Frames(found[:, :steps], sizes.width)


def _continued(seen: Tensor, found: Tensor, context: int, n_obs_steps: int) -> tuple[Tensor, Tensor]:
    """Window of the next pass, and the frames that it is given."""
    end = seen.shape[1] - context
    return seen[:, end - n_obs_steps : end], found[:, found.shape[1] - context :]
