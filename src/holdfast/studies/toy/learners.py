"""The talk's scalar example: two learners with the same mean error, of which one diverges and one does not.

    x' = 0.9 x + u,    expert u = 0,    data: the zero trajectory                            (slides of the talk)

    mean        u = 0.15 x + ε                                          x_t = ε (1.05ᵗ − 1) / 0.05
    bernoulli   u = B + ε,  B = 1 with probability min(1, 0.15 x)       same mean as long as 0.15 x ≤ 1

Both have an expected error of ε on the data. With ε > 0 and x_0 = 0 no state is negative, so 0.15 x is a probability up
to x = 1/0.15; for negative x, which only observation noise produces, it is taken as 0.

**Bounded** means x_s ≤ 10 ε for all s ≤ t, 10 = 1/(1 − 0.9). As long as no B was 1, x_s = 10 ε (1 − 0.9ˢ) < 10 ε; after
one was, x ≥ 1 > 10 ε for ε < 0.1. So a run is bounded exactly as long as no B was 1, and

    P[bounded up to t] = Π_{s<t} (1 − 0.15 x_s)  ≥  1 − Σ_{s<t} 0.15 · 10 ε  =  1 − c t ε,   c = 0.15 / (1 − 0.9) = 1.5

This is the talk's 1 − O(tε) with its constant, and the theorem on TVC policies in contractive systems (`tvc_bound`)
gives the same c: γ(10 ε) = 0.15 · 10 ε per step. After B = 1, x ≥ 1, and from x ≥ 1/0.15 a run does not return:
it stays below 10 (1 + ε) but far away. The *expected* errors of both learners are equal and grow by 1.05 per step until
some runs have come that far; with the first learner all runs are off, with the second a few.

**Smoothing.** "Rounded" is the mean learner with integer actions, u = min(1, ⌊0.15 x⌋₊) + ε: deterministic and not TVC.
With observation noise v, uniform on [0, 1/0.15], P[0.15 (x + v) ≥ 1] = min(1, 0.15 x): smoothed, it *is* the Bernoulli
learner, whose mean is the first learner. Smoothing the first learner itself (Gaussian, at deployment only) makes it TVC
too, but a linear law stays linear under noise: its mean still grows by 1.05 per step. This does not contradict the
theorem: such a policy has an error of 0.15 σ|w| on the noised data, and the bound is then vacuous.
"""

from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ...seeding import stream
from ...types import Observation

STABLE, SLOPE = 0.9, 0.15
LEVEL = 1 / (1 - STABLE)
"""Bound on the states without a mistake, in multiples of ε."""
C = SLOPE * LEVEL
"""Constant c of `P[bounded up to t] ≥ 1 − c t ε`."""

Learner = Literal["mean", "bernoulli", "rounded", "smoothed rounded", "smoothed mean"]
LEARNERS: tuple[Learner, ...] = ("mean", "bernoulli", "rounded", "smoothed rounded", "smoothed mean")


class ToyPolicy:
    """One of the learners, for a batch of runs."""

    def __init__(
        self, learner: Learner, eps: float | Float[Tensor, " b"], *, sigma: float = 0.1, seed: int = 0
    ) -> None:
        self.learner: Learner = learner
        self.eps = torch.as_tensor(eps, dtype=torch.float64)
        self.sigma = sigma
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Restart the random draws."""
        if seed is not None:
            self.rng = stream(seed, "toy", self.learner)

    def act(self, observation: Observation, state: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
        """Action of the learner, including its error ε."""
        return self.drawn(observation.state[:, 0])[:, None] + self.eps.reshape(-1, 1)

    def drawn(self, x: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Action without the error ε."""
        match self.learner:
            case "mean":
                return SLOPE * x
            case "bernoulli":
                return (self._uniform(x) < SLOPE * x).to(x)
            case "rounded":
                return _rounded(x)
            case "smoothed rounded":
                return _rounded(x + self._uniform(x) / SLOPE)
            case "smoothed mean":
                return SLOPE * (x + self.sigma * torch.randn(x.shape, generator=self.rng, dtype=x.dtype))
            case _:
                assert_never(self.learner)

    def _uniform(self, x: Tensor) -> Tensor:
        return torch.rand(x.shape, generator=self.rng, dtype=x.dtype)


def _rounded(x: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    return (SLOPE * x).floor().clamp(0, 1)


def bounded_probability(eps: float, time: int) -> float:
    """`Π_{s<t} (1 − 0.15 x_s)`, `x_s = 10 ε (1 − 0.9ˢ)`: exact for the Bernoulli learner.

    >>> bounded_probability(0.01, 1), round(bounded_probability(0.01, 2), 6)
    (1.0, 0.9985)
    """
    steps = torch.arange(time, dtype=torch.float64)
    return float((1 - SLOPE * LEVEL * eps * (1 - STABLE**steps)).prod())
