"""Mixtures of diagonal Gaussians: density, conditioning on a measurement, and components.

    p(a) = Σ_k π_k Π_j N(a_j; μ_kj, σ_kj²)

Bishop 1994 (NCRG/94/004, "Mixture density networks"), eq. 22–23.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DiagonalMixture:
    """Mixtures of `k` Gaussians over `d` numbers: normalised log π, μ, and σ, which is 0 after an exact measurement."""

    log_weights: Float[Tensor, "*b k"]
    means: Float[Tensor, "*b k d"]
    stds: Float[Tensor, "*b k d"]

    def log_density(
        self, value: Float[Tensor, "*b d"], inside: Bool[Tensor, "*b d"] | None = None
    ) -> Float[Tensor, "*b"]:
        """Log p of the coordinates inside (default: all), with the others marginalised.

        A coordinate of standard deviation 0, which has been measured exactly, is a point: its log density is ∞ at the
        mean and −∞ elsewhere. Components of weight 0 do not count.

        >>> law = DiagonalMixture(
        ...     log_weights=torch.tensor([0.5, 0.5]).log(), means=torch.zeros(2, 1), stds=torch.ones(2, 1)
        ... )
        >>> law.log_density(torch.zeros(1)).exp()  # 1/√(2π)
        tensor(0.3989)
        """
        counted = torch.ones_like(value, dtype=torch.bool) if inside is None else inside
        counted = counted[..., None, :]
        # the error itself is set to zero, so that no value outside, however large, reaches a gradient
        off = torch.where(counted, value[..., None, :] - self.means, 0.0)
        point = self.stds == 0
        stds = torch.where(point, 1.0, self.stds)
        terms = -0.5 * (off / stds) ** 2 - stds.log() - 0.5 * math.log(2 * math.pi)
        terms = torch.where(point, torch.where(off == 0, math.inf, -math.inf), terms)
        logs = torch.where(counted, terms, 0.0).sum(-1)
        # one coordinate off its point outweighs any number of coordinates on theirs
        logs = torch.where((counted & point & (off != 0)).any(-1) | (self.log_weights == -math.inf), -math.inf, logs)
        return (torch.where(logs == -math.inf, 0.0, self.log_weights) + logs).logsumexp(-1)

    def given(self, value: Float[Tensor, "*b d"], weights: Float[Tensor, "*b d"]) -> "DiagonalMixture":
        """Posterior after measuring each coordinate j as y_j with variance (1 − w_j)/w_j.

            g = w σ² / (w σ² + 1 − w),     μ' = μ + g (y − μ),     σ'² = (1 − g) σ²
            log π' = log π − ½ Σ_j [w (y − μ)² / (w σ² + 1 − w) + log(w σ² + 1 − w)] + constant

        Exact by Bayes' rule: the posterior is a mixture. Weight 0 has no effect, weight 1 fixes the coordinate at y.
        """
        measured, weight = value[..., None, :], weights[..., None, :]
        spread = weight * self.stds**2 + (1 - weight)
        gain = weight * self.stds**2 / spread
        evidence = -0.5 * (weight * (measured - self.means) ** 2 / spread + spread.log()).sum(-1)
        return DiagonalMixture(
            log_weights=(self.log_weights + evidence).log_softmax(-1),
            # lerp, because μ + 1 (y − μ) is y only up to rounding
            means=torch.lerp(self.means, measured.expand_as(self.means), gain),
            stds=(1 - gain).sqrt() * self.stds,
        )

    def component(self, index: Int[Tensor, "*b"]) -> tuple[Float[Tensor, "*b d"], Float[Tensor, "*b d"]]:
        """Mean and standard deviation of one component of each mixture."""
        chosen = index[..., None, None].expand(*index.shape, 1, self.means.shape[-1])
        return self.means.gather(-2, chosen).squeeze(-2), self.stds.gather(-2, chosen).squeeze(-2)


def pick(logits: Float[Tensor, "*b k"], uniform: Float[Tensor, "*b"]) -> Int[Tensor, "*b"]:
    """Draw an index per row with probabilities softmax(logits), by inversion of the distribution function.

    >>> pick(torch.tensor([0.25, 0.0, 0.75]).log().expand(3, 3), torch.tensor([0.0, 0.2, 0.25]))
    tensor([0, 0, 2])
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    # divided by the last value, which may be below 1 by rounding
    return (cumulative / cumulative[..., -1:] <= uniform[..., None]).sum(-1)
