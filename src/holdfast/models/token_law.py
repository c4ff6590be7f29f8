"""Parts shared by the families of tokens: loss of a code, sampling of decodable codes, conditioning on a prefix.

A tokenizer's code is complete when its tokens fill exactly `cells` cells. While a code is sampled, only tokens that
still fit are allowed, so that every code can be decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import RecipeError
from ..tokens import Tokenizer, TokenizerChoice, Tokens
from ..types import Chunks, Prefix
from .base import FamilyOptions, Sizes
from .prefix import misfit, project


@dataclass(frozen=True)
class TokenFamily(FamilyOptions):
    """Options of a family that models tokens.

    Attributes:
        tokenizer: Options of the tokenizer, which is fitted to the training set.
    """

    tokenizer: TokenizerChoice

    @staticmethod
    def usable(tokenizer: Tokenizer | None, sizes: Sizes) -> Tokenizer:
        """The tokenizer, if it was fitted to chunks of these sizes."""
        if tokenizer is None:
            raise RecipeError(
                "a model of tokens needs a fitted tokenizer. Make one with fit_tokenizer(options, chunks)."
            )
        if (tokenizer.horizon, tokenizer.width) != (sizes.horizon, sizes.width):
            raise RecipeError(
                f"the tokenizer was fitted on chunks of {tokenizer.horizon} steps of {tokenizer.width} numbers, the "
                f"policy plans {sizes.horizon} steps of {sizes.width}. Fit one to these."
            )
        return tokenizer


@dataclass(frozen=True)
class ForcedTokens:
    """Tokens of a code that are determined by a prefix."""

    ids: Int[Tensor, "b l"]
    mask: Bool[Tensor, "*b l"]


def token_loss(
    logits: Float[Tensor, "b l v"], ids: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"], *, focal: float = 0.0
) -> Float[Tensor, "b l"]:
    """−(1 − p)^γ log p of each token, 0 where masked; cross-entropy for γ = 0.

    Lin et al. 2017 (arXiv 1708.02002), eq. 4; γ = 2 in Behavior Transformers (Shafiullah et al. 2022).
    """
    log_p = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return -((1 - log_p.exp()) ** focal if focal else 1.0) * log_p * mask


def choose(
    logits: Float[Tensor, "b v"], uniform: Float[Tensor, " b"], *, temperature: float, fits: Bool[Tensor, "b v"]
) -> Int[Tensor, " b"]:
    """One token per row, by inversion of the distribution function; the most likely one for temperature 0."""
    allowed = logits.masked_fill(~fits, -torch.inf)
    if temperature == 0:
        return allowed.argmax(-1)
    upto = (allowed.double() / temperature).softmax(-1).cumsum(-1)
    # scaled by the last sum, which may differ from 1 by rounding, so that no forbidden last token is drawn
    ids = (upto <= uniform.double()[:, None] * upto[:, -1:]).sum(-1)
    last = logits.shape[-1] - 1 - fits.flip(-1).long().argmax(-1)
    return torch.minimum(ids, last)


def known_tokens(tokenizer: Tokenizer, prefix: Prefix | None) -> ForcedTokens | None:
    """The tokens determined by a prefix, if tokens describe single steps: those of steps with weights above ½."""
    steps = tokenizer.step_of
    if prefix is None or steps is None:
        return None
    held = prefix.weights[..., steps.to(prefix.weights.device)] > 0.5
    return ForcedTokens(ids=tokenizer.encode(prefix.chunk).ids, mask=held)


def closest(tokenizer: Tokenizer, draw: Callable[[], Chunks], prefix: Prefix | None, *, candidates: int) -> Chunks:
    """A sampled chunk with its known steps replaced.

    If tokens describe several steps at once (frequencies, codes of whole chunks), no token can be forced; then the
    sample closest to the known steps is taken from a number of candidates. With more candidates its distribution
    approaches the conditional one.
    """
    if prefix is None or tokenizer.step_of is not None or candidates == 1:
        return project(draw(), prefix)
    drawn = torch.stack([draw() for _ in range(candidates)])
    best = misfit(drawn, prefix).argmin(0)
    return project(drawn[best, torch.arange(drawn.shape[1], device=best.device)], prefix)


def code_of(ids: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Tokens:
    """A code whose absent tokens are 0."""
    return Tokens(ids=ids * mask, mask=mask)
