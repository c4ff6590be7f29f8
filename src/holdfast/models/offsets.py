"""Continuous corrections (offsets) of a decoded chunk, one for each possible token.

    a = decode(w₁ … w_l) + Σ_i offset_i(w_i),       offset_i(w): one vector for every token w at position i

The offset of a token for a single step corrects that step, others the whole chunk. Behavior Transformers train the
offsets of the true tokens (Shafiullah et al. 2022, arXiv 2206.11251, eq. 2), VQ-BeT those of tokens drawn from the
model (Lee et al. 2024, arXiv 2403.03181, section 4.2, as in its code).
"""

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError
from ..tokens import Tokenizer
from ..types import Chunks


@dataclass(frozen=True)
class Offsets:
    """Options of continuous corrections.

    Attributes:
        weight: Weight of their error relative to the tokens' loss.
        tokens: Tokens whose offsets are trained: the "true" ones, or tokens "drawn" from the model as in VQ-BeT's
            code, which pulls modes together.
        penalty: Loss of the error: "l2" as in Behavior Transformers, "l1" as in VQ-BeT.
    """

    weight: float = 100.0
    tokens: Literal["true", "drawn"] = "true"
    penalty: Literal["l1", "l2"] = "l2"

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise RecipeError(
                f"expected a weight above 0, got {self.weight}. For a model without offsets, set offsets=None."
            )


def offset_numbers(tokenizer: Tokenizer) -> int:
    """Size of one token's offset: that of a step's code or of a chunk."""
    if not bool((tokenizer.spans == 1).all()):
        raise RecipeError(
            f"{type(tokenizer.options).__name__} has codes of variable length, which have no offsets. Set offsets=None."
        )
    return tokenizer.width if tokenizer.step_of is not None else tokenizer.horizon * tokenizer.width


def correction(tokenizer: Tokenizer, offsets: Float[Tensor, "b l vn"], ids: Int[Tensor, "b l"]) -> Chunks:
    """Sum of the offsets of a code's tokens."""
    batch, length = ids.shape
    by_token = offsets.view(batch, length, tokenizer.vocabulary, -1)
    chosen = by_token.gather(2, ids[..., None, None].expand(-1, -1, 1, by_token.shape[-1]))[:, :, 0]
    if tokenizer.step_of is None:
        return chosen.sum(1).view(batch, tokenizer.horizon, tokenizer.width)
    # tokens are in the order of their steps, the same number for each
    return chosen.view(batch, tokenizer.horizon, -1, tokenizer.width).sum(2)
