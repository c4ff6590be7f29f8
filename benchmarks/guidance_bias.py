"""Bias of guidance by a prefix, on two distributions whose conditional distributions are known in closed form.

    python benchmarks/guidance_bias.py

A chunk has two steps, of which the first is given. *Gaussian*: unit variances and correlation ρ; the second step's
conditional mean is ρ Y. *Fork*: both steps near +0.5 or both near −0.5; if the first is given as +0.5, the second is
near +0.5 with probability 1. Denoisers and velocities are exact, so all errors are due to guidance and to the number of
sampling steps. A mixture, which conditions by Bayes' rule, and a token model, which forces the given tokens, are the
references.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.models import FlowSampler, Sampler, cosine_schedule, sample
from holdfast.models.flow import integrate
from holdfast.models.mixture_law import DiagonalMixture
from holdfast.seeding import stream
from holdfast.types import Prefix

COUNT = 20_000
HELD = torch.tensor([1.0, 0.0], dtype=torch.float64)
SPREAD = 0.05
RHO = 0.8


def fork_mean(noisy: Float[Tensor, "b 2 1"], signal: float, noise: float) -> Float[Tensor, "b 2 1"]:
    """E[clean | noisy] for x = signal · clean + noise · ε, of the fork."""
    centres = torch.tensor([[0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64)[:, None, :, None]
    variance = signal**2 * SPREAD**2 + noise**2
    residual = noisy - signal * centres
    weight = (-(residual**2).sum((-2, -1)) / (2 * variance)).softmax(0)[..., None, None]
    return (weight * (centres + signal * SPREAD**2 / variance * residual)).sum(0)


def gauss_mean(noisy: Float[Tensor, "b 2 1"], signal: float, noise: float) -> Float[Tensor, "b 2 1"]:
    """E[clean | noisy] for x = signal · clean + noise · ε, of the correlated Gaussian."""
    covariance = torch.tensor([[1.0, RHO], [RHO, 1.0]], dtype=torch.float64)
    inverse = torch.linalg.inv(signal**2 * covariance + noise**2 * torch.eye(2, dtype=torch.float64))
    return (signal * covariance @ inverse) @ noisy


Mean = Callable[[Tensor, float, float], Tensor]


def drawn_by_diffusion(mean: Mean, steps: int, eta: float, guidance: float, prefix: Prefix) -> Float[Tensor, "b 2 1"]:
    """Guided chunks from the exact denoiser."""
    schedule = cosine_schedule(100)

    def denoise(noisy: Tensor, level: int) -> Tensor:
        signal = float(schedule.signal[level])
        return mean(noisy, signal**0.5, (1 - signal) ** 0.5)

    noise = torch.randn(COUNT, 2, 1, dtype=torch.float64, generator=stream(0, "noise"))
    options = Sampler(steps=steps, eta=eta, clip=None, guidance=guidance)
    return sample(denoise, schedule, noise, options=options, rng=stream(1, "path"), prefix=prefix)


def drawn_by_flow(mean: Mean, steps: int, guidance: float, prefix: Prefix) -> Float[Tensor, "b 2 1"]:
    """Guided chunks from the exact velocity."""

    def velocity(noisy: Tensor, time: float) -> Tensor:
        return (mean(noisy, time, 1 - time) - noisy) / (1 - time)

    noise = torch.randn(COUNT, 2, 1, dtype=torch.float64, generator=stream(0, "noise"))
    options = FlowSampler(steps=steps, guidance=guidance, clip=None)
    return integrate(velocity, noise, options=options, prefix=prefix)


def told(name: str, gauss: Tensor, fork: Tensor) -> None:
    """One row: mean of the second step over ρ Y, its width, share in the given mode, error of the first step."""
    right = float((fork[:, 1] > 0).double().mean())
    miss = float((fork[:, 0] - 0.5).abs().mean())
    shift = float(gauss[:, 1].mean()) / (RHO * 0.7)
    width = float(gauss[:, 1].std()) / (1 - RHO**2) ** 0.5
    print(f"{name:34s} {shift:6.2f} {width:8.2f} {right:8.2f} {miss:10.3f}")


def main() -> None:
    """Print the table."""
    at = {"gauss": 0.7, "fork": 0.5}
    known = {
        name: Prefix(chunk=torch.tensor([[y], [0.0]], dtype=torch.float64).expand(COUNT, 2, 1), weights=HELD)
        for name, y in at.items()
    }
    print(f"{'':34s} {'mean':>6s} {'width':>8s} {'right':>8s} {'miss':>10s}")
    for guidance in (1.0, 5.0, 1e9):
        for steps, eta in ((10, 0.0), (30, 1.0), (100, 1.0)):
            rows = [
                drawn_by_diffusion(mean, steps, eta, guidance, known[name])
                for name, mean in (("gauss", gauss_mean), ("fork", fork_mean))
            ]
            told(f"diffusion, {steps} steps, eta {eta:g}, beta {guidance:g}", rows[0], rows[1])
        for steps in (5, 10, 50):
            rows = [
                drawn_by_flow(mean, steps, guidance, known[name])
                for name, mean in (("gauss", gauss_mean), ("fork", fork_mean))
            ]
            told(f"flow, {steps} steps, beta {guidance:g}", rows[0], rows[1])
    centres = torch.tensor([[[0.5, 0.5], [-0.5, -0.5]]], dtype=torch.float64)
    law = DiagonalMixture(
        log_weights=torch.tensor([[0.5, 0.5]], dtype=torch.float64).log(),
        means=centres,
        stds=torch.full_like(centres, SPREAD),
    )
    conditional = law.given(known["fork"].chunk[:1].flatten(1), HELD[None])
    print(f"mixture by Bayes' rule: {float(conditional.log_weights.exp()[0, 0]):.4f} of its weight in the given mode")


if __name__ == "__main__":
    main()
