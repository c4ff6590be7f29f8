"""Relaxed total-variation continuity (RTVC) of binned policies, from the width of their bins.

    ε-RTVC with modulus κ:    inf over couplings of P[‖u − u'‖ > ε] ≤ κ(‖o − o'‖),    u ~ π(o), u' ~ π(o')

which is TV_ε ≤ κ; ε = 0 is TVC. ("Understanding Behavior Cloning with Action Quantization", section 3.1.)
`modulus(…, epsilon=ε)` bounds the true modulus from below.
"""

from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..tokens.binning import BinningTokenizer


def bin_widths(tokenizer: BinningTokenizer) -> Float[Tensor, " w"]:
    """Width of each coordinate's bins, in the units of the binned code."""
    return (tokenizer.tables["high"] - tokenizer.tables["low"]) / tokenizer.options.bins


def binned_rtvc(
    widths: Float[Tensor, " m"],
    distances: Float[Tensor, " k"],
    *,
    epsilon: float,
    lipschitz: float | None = None,
    raw: Float[Tensor, " k"] | None = None,
    raw_epsilon: float = 0.0,
) -> Float[Tensor, " k"]:
    """Modulus κ with which a binned policy q∘π is ε-RTVC, from its bins and the continuity of π.

    Binning moves each coordinate by at most half its width and clips at the same limits, so that ‖q(u) − q(u')‖ ≤
    ‖u − u'‖ + ‖w‖ with w the widths. Hence

        π deterministic, ‖π(o) − π(o')‖ ≤ L ‖o − o'‖     κ(δ) = 1[L δ + ‖w‖ > ε]   for δ > 0
        π ε₀-RTVC with modulus κ₀                         κ = κ₀   if ε ≥ ε₀ + ‖w‖, else 1
        π TVC with modulus κ₀ (ε₀ = 0)                    κ = κ₀   for every ε ≥ 0, by data processing

    The definition of ε-RTVC and κ(δ) = 1[δ > δ₀] for binned smooth policies are from "Understanding Behavior Cloning
    with Action Quantization", sections 3.1 and 4.1, which does not give constants; δ₀ = (ε − ‖w‖) / L is derived here.
    Learned quantisers have no such bound: adjacent cells may have distant centres.

    Args:
        widths: Width of the bins of each compared coordinate, such as those of one action or a flattened chunk.
        distances: ‖o − o'‖ at which to evaluate κ.
        epsilon: Distance up to which actions count as equal.
        lipschitz: L of a deterministic π, in units of the bins per unit of observation.
        raw: κ₀ of a stochastic π at these distances, such as `noised_tv`; instead of `lipschitz`.
        raw_epsilon: ε₀ of that modulus.

    Raises:
        RecipeError: Neither or both of `lipschitz` and `raw` are given, or a value is negative.

    >>> import torch
    >>> binned_rtvc(torch.tensor([0.1]), torch.tensor([0.0, 0.1, 0.3]), epsilon=0.3, lipschitz=1.0)
    tensor([0., 0., 1.])
    """
    reach = float(widths.square().sum()) ** 0.5
    if min(reach, epsilon, raw_epsilon, lipschitz or 0.0, float(distances.min()), float(widths.min())) < 0:
        raise RecipeError("expected widths, distances, epsilon and lipschitz of 0 or above.")
    match lipschitz, raw:
        case float(slope), None:
            return ((slope * distances + reach > epsilon) & (distances > 0)).to(distances)
        case None, Tensor() as known:
            holds = raw_epsilon == 0 or epsilon >= raw_epsilon + reach
            return known.clamp(max=1.0) if holds else (distances > 0).to(distances)
        case _:
            raise RecipeError("give either lipschitz, for a deterministic policy, or raw, the modulus of another one.")
