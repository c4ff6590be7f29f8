"""The losses of proximal policy optimisation over control steps and denoising steps.

    ℓ_i = mean over numbers of log p_θ(x_{i+1} | x_i, o), each within its bounds,     ρ_i = exp(ℓ_i − ℓ_i of the player)
    L = −E min(ρ_i Â_i, clip(ρ_i, 1 ± ε_i) Â_i),     Â_i = γ_d^{K'−1−i} Â

where Â is the advantage of the plan, normalised in the batch, and i runs over its K' fine-tuned sampling steps. (Ren et
al. 2024, DPPO, arXiv 2409.00588, section 4; Schulman et al. 2017, arXiv 1707.06347, eq. 7.)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...types import Chunks, Window
from .options import FineTuning
from .process import Process, clipped_mean


@dataclass(frozen=True)
class Transitions:
    """Denoising transitions of plans, in any order.

    Attributes:
        seen: Observation windows of the policy.
        states: Windows of the critic.
        before: Chunks before the sampling step.
        after: Chunks after it.
        index: Index i of the sampling step.
        played: Mean log density of the policy that played.
        advantages: Advantage of the plan.
        returns: Target of the critic.
    """

    seen: Window
    states: Float[Tensor, "b s"]
    before: Chunks
    after: Chunks
    index: Int[Tensor, " b"]
    played: Float[Tensor, " b"]
    advantages: Float[Tensor, " b"]
    returns: Float[Tensor, " b"]


@dataclass(frozen=True)
class PolicyLoss:
    """A policy loss, and what is reported of it.

    Attributes:
        loss: The loss.
        kl: Estimate of the divergence from the policy that played, E[ρ − 1 − log ρ].
        clipped: Share of the transitions whose ratio is outside its bounds.
    """

    loss: Float[Tensor, ""]
    kl: float
    clipped: float


def clip_bounds(index: Int[Tensor, " b"], steps: int, options: FineTuning) -> Float[Tensor, " b"]:
    """Largest change of the ratio at each sampling step, from `clip_first` to `clip`.

        ε_i = ε_first + (ε − ε_first) (e^{r t} − 1) / (e^r − 1),     t = i / (K' − 1),  rate r

    It is linear in t for r = 0, and ε where there is only one step.

    >>> options = FineTuning(clip=0.01, clip_first=0.001, clip_rate=0.0)
    >>> clip_bounds(torch.arange(3), 3, options)
    tensor([0.0010, 0.0055, 0.0100])
    """
    share = index.float() / (steps - 1) if steps > 1 else torch.ones_like(index, dtype=torch.float32)
    rate = options.clip_rate
    way = torch.expm1(rate * share) / math.expm1(rate) if rate > 0 else share
    return options.clip_first + (options.clip - options.clip_first) * way


def policy_loss(process: Process, batch: Transitions, options: FineTuning) -> PolicyLoss:
    """The clipped surrogate of the policy."""
    density = clipped_mean(process.log_densities(batch.seen, batch.before, batch.after, batch.index), options)
    advantages = batch.advantages
    if options.normalize_advantages:
        advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    advantages = advantages * options.gamma_denoising ** (process.steps - 1 - batch.index)
    change = density - batch.played
    ratio, bounds = change.exp(), clip_bounds(batch.index, process.steps, options).to(density)
    within = torch.clamp(ratio, 1 - bounds, 1 + bounds)
    loss = torch.maximum(-advantages * ratio, -advantages * within).mean()
    with torch.no_grad():
        kl = float((ratio - 1 - change).mean())
        clipped = float(((ratio - 1).abs() > bounds).double().mean())
    return PolicyLoss(loss, kl, clipped)
