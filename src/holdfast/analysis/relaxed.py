"""Relaxed total-variation continuity (RTVC) of binned policies, from the width of their bins.

    ε-RTVC with modulus κ:    inf over couplings of P[‖u − u'‖ > ε] ≤ κ(‖o − o'‖),    u ~ π(o), u' ~ π(o')

which is TV_ε ≤ κ; ε = 0 is TVC. ("Understanding Behavior Cloning with Action Quantization", section 3.1.) What a policy
does in truth is bounded from below by `modulus(…, epsilon=ε)`.
"""

from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..tokens.binning import BinningTokenizer

__all__ = ["bin_widths", "binned_rtvc"]


def bin_widths(tokenizer: BinningTokenizer) -> Float[Tensor, " w"]:
    """Width of each coordinate's bins, in the units of the code that is binned."""
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
    """The modulus κ with which a binned policy q∘π is ε-RTVC, from its bins and what is known of π.

    Binning moves no number by more than half its width, and clips alike at the ends, so that ‖q(u) − q(u')‖ ≤
    ‖u − u'‖ + ‖w‖ with w the widths. Hence

        π deterministic, ‖π(o) − π(o')‖ ≤ L ‖o − o'‖     κ(δ) = 1[L δ + ‖w‖ > ε]   for δ > 0
        π ε₀-RTVC with modulus κ₀                         κ = κ₀   where ε ≥ ε₀ + ‖w‖, and 1 below
        π TVC with modulus κ₀ (ε₀ = 0)                    κ = κ₀   for every ε ≥ 0, by data processing

    The definition of ε-RTVC and κ(δ) = 1[δ > δ₀] for binned smooth policies are those of the seed ("Understanding
    Behavior Cloning with Action Quantization", sections 3.1 and 4.1); its text leaves the constants out, and δ₀ =
    (ε − ‖w‖) / L is derived here. Learned quantisers have no such bound: cells may be far apart that meet.

    Args:
        widths: Of the bins of each number of what is compared, such as one action, or a chunk's numbers laid end to
            end.
        distances: ‖o − o'‖ at which κ is asked for.
        epsilon: Distance below which actions count as equal.
        lipschitz: L of a deterministic π, in the units of the bins a unit of observation.
        raw: κ₀ of a stochastic π at these distances, such as `noised_tv`; in place of `lipschitz`.
        raw_epsilon: ε₀ of that modulus.

    Raises:
        RecipeError: Neither or both of `lipschitz` and `raw`, or a negative number.

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
            raise RecipeError("give either lipschitz, of a deterministic policy, or raw, the modulus of any other.")
