"""One update as a function of parameters, optimiser state, batch and noise.

Except for the loss, every operation is elementwise in the parameters and thus also works for parameters with a leading
axis of variants.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..recipe import Training
from .gradients import Differentiated, Parameters

ENCODERS = "cameras."
"""Beginning of the names of the parameters of encoders of pictures."""


@dataclass(frozen=True)
class Moments:
    """State of AdamW: running means of gradients and squared gradients, and the update count of each parameter."""

    first: Parameters
    second: Parameters
    count: Parameters


def zero_moments(parameters: Mapping[str, Tensor]) -> Moments:
    """State before the first update."""
    return Moments(
        first={name: torch.zeros_like(value) for name, value in parameters.items()},
        second={name: torch.zeros_like(value) for name, value in parameters.items()},
        count={name: torch.zeros((), device=value.device) for name, value in parameters.items()},
    )


def learning_rate_at(step: int, options: Training) -> float:
    """Linear warm-up, then half a cosine down to zero at `options.steps`.

    >>> options = Training(steps=1000, warmup_steps=100, learning_rate=1.0)
    >>> [round(learning_rate_at(step, options), 3) for step in (0, 99, 550, 999)]
    [0.01, 1.0, 0.5, 0.0]
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(options.steps - options.warmup_steps, 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def ema_decay_at(step: int, largest: float) -> float:
    """min(largest, (1 + i) / (10 + i)): a short memory while the parameters still change fast."""
    return min(largest, (1 + step) / (10 + step))


def train_step(
    differentiated: Differentiated,
    parameters: Parameters,
    moments: Moments,
    average: Parameters,
    batch: Any,
    draws: Any,
    *,
    step: int,
    options: Training,
) -> Tensor:
    """One AdamW update and one update of the moving average; returns the loss before it.

    `parameters`, `moments` and `average` are written in place: copying them would cost as much as the update.
    """
    loss, gradients = differentiated(parameters, batch, draws)
    trees = (parameters, average, moments.first, moments.second, moments.count)
    for places, own in _groups(list(parameters), options):
        lists = ([list(tree.values())[place] for place in places] for tree in trees)
        apply_update(*lists, gradients=[gradients[place] for place in places], step=step, options=own)
    return loss


def _groups(names: list[str], options: Training) -> list[tuple[list[int], Training]]:
    """Places of the parameters that are updated together, with the options of their update."""
    rate = options.encoder_learning_rate
    encoders = [] if rate is None else [place for place, name in enumerate(names) if name.startswith(ENCODERS)]
    if rate is None or not encoders:
        return [(list(range(len(names))), options)]
    others = [place for place in range(len(names)) if place not in set(encoders)]
    return [(others, options), (encoders, replace(options, learning_rate=rate))]


@torch.no_grad()
def apply_update(
    parameters: list[Tensor],
    average: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    count: list[Tensor],
    *,
    gradients: list[Tensor],
    step: int,
    options: Training,
) -> None:
    """AdamW and the moving average, written in place; `step` is the number of updates before this one."""
    adamw(
        parameters,
        gradients,
        first,
        second,
        [],
        count,
        fused=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=learning_rate_at(step, options),
        weight_decay=options.weight_decay,
        eps=1e-8,
        maximize=False,
    )
    blend(average, parameters, ema_decay_at(step, options.ema_decay))


@torch.no_grad()
def blend(average: list[Tensor], newest: list[Tensor], decay: float) -> None:
    """Update a moving average in place: decay · average + (1 − decay) · newest."""
    # torch ships no types for its averaging, whose last argument is not used
    cast("Callable[..., None]", get_ema_multi_avg_fn(decay))(average, newest, 0)
