"""Tokens predicted independently: each position of the code has its own distribution given the observation.

    min_θ E Σ_i −log p_θ(w_i | o)

Independent positions cannot agree on a mode: where demonstrations fork, each step chooses by itself. With one token per
chunk, or a few of which the first is decisive, nothing is lost. RT-1 (Brohan et al. 2022, arXiv 2212.06817) predicts
bins this way; Behavior Transformers (Shafiullah et al. 2022, arXiv 2206.11251) and VQ-BeT (Lee et al. 2024, arXiv
2403.03181) predict codes with offsets.
"""

from dataclasses import dataclass, field, replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, at_least
from ..nn import Network, ResidualMlp
from ..seeding import drawn
from ..tokens import Binning, KMeans, ResidualVq, Tokenizer, TokenizerChoice
from ..types import Batch, Chunks, Observation, Prefix, Window
from .base import ChunkModel, Conditioning, Sizes, masked_mean
from .offsets import Offsets, correction, offset_numbers
from .token_law import TokenFamily, choose, closest, known_tokens, token_loss


@dataclass(frozen=True)
class IndependentTokens(TokenFamily):
    """Options of a model of independent tokens.

    Attributes:
        tokenizer: Options of the tokenizer, which is fitted to the training set; its codes must have equal lengths.
        network: Network from observations to the logits of every position.
        focal: Exponent γ of the focal loss; 0 is cross-entropy.
        place_weights: Weight of each position's loss; the last one holds for all further positions. Default: all 1.
        offsets: Continuous corrections of the decoded chunk; `None` for none.
        temperature: Sampling temperature; 0 takes the most likely token.
        candidates: Samples from which the one closest to a prefix is taken, if tokens cannot be forced.
    """

    tokenizer: TokenizerChoice = field(default_factory=Binning)
    network: Network = field(default_factory=ResidualMlp)
    focal: float = 0.0
    place_weights: tuple[float, ...] | None = None
    offsets: Offsets | None = None
    temperature: float = 1.0
    candidates: int = 16

    def __post_init__(self) -> None:
        at_least(1, candidates=self.candidates)
        at_least(0, temperature=self.temperature, focal=self.focal)
        for weight in self.place_weights or ():
            at_least(0, place_weights=weight)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "IndependentTokensModel":
        return IndependentTokensModel(self, sizes, self.usable(tokenizer, sizes))


def bet(*, network: Network | None = None, clusters: int = 24) -> IndependentTokens:
    """The head of a Behavior Transformer: k-means bins with offsets, focal loss (its constants for block pushing).

    Published: K = 24, 32 or 64, offset weight 10⁵, 500 or 1000, in the units of the task; here codes are normalised.
    """
    return IndependentTokens(
        tokenizer=KMeans(clusters=clusters), network=network or ResidualMlp(), focal=2.0, offsets=Offsets(weight=100.0)
    )


def vq_bet(*, network: Network | None = None) -> IndependentTokens:
    """The head of VQ-BeT: two layers of 16 residual codes of the whole chunk, the first with ten times the weight.

    The published code trains the offsets of codes drawn from the model, `Offsets(tokens="drawn")`. With two modes, a
    drawn code is often that of the other mode, and its offset learns to lead to the middle; here the offsets of the
    true codes are trained.
    """
    return IndependentTokens(
        tokenizer=ResidualVq(),
        network=network or ResidualMlp(),
        focal=2.0,
        place_weights=(5.0, 0.5),
        offsets=Offsets(weight=10.0, penalty="l1"),
    )


class IndependentTokensModel(ChunkModel):
    """Logits of every position of a code, from one network call."""

    def __init__(self, options: IndependentTokens, sizes: Sizes, tokenizer: Tokenizer) -> None:
        super().__init__()
        if not bool((tokenizer.spans == 1).all()):
            raise RecipeError(
                f"{type(options.tokenizer).__name__} has codes of variable length, which independent tokens cannot "
                "end. Use AutoregressiveTokens."
            )
        self.options = options
        self.sizes = sizes
        self._tokenizer = tokenizer
        each = 1 + (offset_numbers(tokenizer) if options.offsets else 0)
        ports = sizes.ports(n_in=1, n_out=tokenizer.vocabulary * each, any_range=True)
        self.network = options.network.build(replace(ports, horizon=tokenizer.length))

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> Float[Tensor, "b l"]:
        """A uniform number for each token, for offsets of drawn tokens."""
        return torch.rand(shape[0], self.tokenizer.length, generator=rng, device=rng.device)

    def loss(self, batch: Batch, draws: Float[Tensor, "b l"]) -> Float[Tensor, ""]:
        """Cross-entropy or focal loss of the tokens, plus the error of the corrected chunk if there are offsets."""
        logits, offsets = self.predict(batch.observation.vector)
        code = self.tokenizer.encode(batch.chunk)
        inside = self._inside(batch)
        of_tokens = token_loss(logits, code.ids, code.mask, focal=self.options.focal) * self._place_weights(logits)
        loss = (of_tokens * inside).sum() / inside.sum()
        if self.options.offsets is None:
            return loss
        ids = code.ids if self.options.offsets.tokens == "true" else self._drawn(logits.detach(), draws)
        corrected = self._decode(ids, offsets).to(batch.chunk)
        error = corrected - batch.chunk
        penalty = error.abs() if self.options.offsets.penalty == "l1" else error**2
        return loss + self.options.offsets.weight * masked_mean(penalty, batch.mask)

    def predict(self, observation: Window) -> tuple[Float[Tensor, "b l v"], Float[Tensor, "b l vn"]]:
        """Logits of each position, and the offsets of every token there."""
        memory = self.network.encode(observation)
        output = cast(Tensor, self.network(self.network.blank(memory), memory.new_zeros(memory.shape[0], 0), memory))
        return output[..., : self.tokenizer.vocabulary].float(), output[..., self.tokenizer.vocabulary :]

    @property
    def conditioning(self) -> Conditioning:
        return "selection" if self.tokenizer.step_of is None else "exact"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """A chunk of independent tokens; known steps force theirs, or select among several samples."""
        logits, offsets = self.predict(observation)
        known = known_tokens(self.tokenizer, prefix)

        def draw() -> Tensor:
            uniform = drawn("uniform", logits.shape[:2], rng=rng).to(logits.device)
            ids = self._drawn(logits, uniform)
            if known is not None:
                ids = torch.where(known.mask, known.ids, ids)
            return self._decode(ids, offsets).to(observation)

        return closest(self.tokenizer, draw, prefix, candidates=self.options.candidates)

    def log_likelihood(self, observation: Observation, chunk: Chunks) -> Float[Tensor, " b"]:
        code = self.tokenizer.encode(chunk)
        return -token_loss(self.predict(observation.vector)[0], code.ids, code.mask).sum(1)

    def _drawn(self, logits: Tensor, uniform: Tensor) -> Int[Tensor, "b l"]:
        rows = logits.flatten(0, 1)
        fits = torch.ones_like(rows, dtype=torch.bool)
        ids = choose(rows, uniform.flatten(), temperature=self.options.temperature, fits=fits)
        return ids.view(logits.shape[:2])

    def _decode(self, ids: Int[Tensor, "b l"], offsets: Float[Tensor, "b l vn"]) -> Chunks:
        decoded = self.tokenizer.decode_full(ids)
        if self.options.offsets is None:
            return decoded
        return decoded.to(offsets) + correction(self.tokenizer, offsets, ids)

    def _inside(self, batch: Batch) -> Float[Tensor, "b l"]:
        """1 for tokens of steps inside their episodes; all 1 if tokens describe whole chunks."""
        if self.tokenizer.step_of is None:
            return torch.ones(batch.chunk.shape[0], self.tokenizer.length, device=batch.chunk.device)
        return batch.mask[:, self.tokenizer.step_of.to(batch.mask.device)].float()

    def _place_weights(self, like: Tensor) -> Float[Tensor, " l"]:
        given = self.options.place_weights or (1.0,)
        padded = (*given, *[given[-1]] * self.tokenizer.length)[: self.tokenizer.length]
        return like.new_tensor(padded)
