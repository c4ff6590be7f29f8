"""Tokens predicted one after the other, each given its predecessors.

    p_θ(w₁ … w_l | o) = Π_i p_θ(w_i | w_1 … w_{i−1}, o),       min_θ E Σ_i −log p_θ(w_i | w_<i, o)

Any distribution of codes has this form; later tokens depend on the mode that earlier ones chose. Training conditions on
the true earlier tokens, sampling on the sampled ones. With bins: OpenVLA (Kim et al. 2024, arXiv 2406.09246); with
FAST: Pertsch et al. 2025 (arXiv 2501.09747).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import at_least
from ..nn import CausalTransformer, Gpt
from ..seeding import drawn
from ..tokens import Fast, Tokenizer, TokenizerChoice
from ..types import Batch, Chunks, Observation, Prefix, Window
from .base import ChunkModel, Conditioning, Sizes
from .token_law import ForcedTokens, TokenFamily, choose, closest, code_of, known_tokens, token_loss


@dataclass(frozen=True)
class AutoregressiveTokens(TokenFamily):
    """Options of an autoregressive model of tokens.

    Attributes:
        tokenizer: Options of the tokenizer, which is fitted to the training set.
        network: Options of the causal transformer.
        temperature: Sampling temperature; 0 takes the most likely token, as in OpenVLA.
        candidates: Samples from which the one closest to a prefix is taken, if tokens cannot be forced.
    """

    tokenizer: TokenizerChoice = field(default_factory=Fast)
    network: Gpt = field(default_factory=Gpt)
    temperature: float = 1.0
    candidates: int = 16

    def __post_init__(self) -> None:
        at_least(1, candidates=self.candidates)
        at_least(0, temperature=self.temperature)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "AutoregressiveTokensModel":
        return AutoregressiveTokensModel(self, sizes, self.usable(tokenizer, sizes))


class AutoregressiveTokensModel(ChunkModel):
    """A causal transformer over the tokens of a chunk."""

    def __init__(self, options: AutoregressiveTokens, sizes: Sizes, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self._tokenizer = tokenizer
        self.equal_lengths = bool((tokenizer.spans == 1).all())
        self.network = CausalTransformer(
            options.network,
            vocabulary=tokenizer.vocabulary,
            length=tokenizer.length,
            n_obs_steps=sizes.n_obs_steps,
            n_observed=sizes.n_observed,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def loss(self, batch: Batch, draws: None) -> Float[Tensor, ""]:
        """Cross-entropy of the tokens, without those of single steps outside their episodes."""
        code = self.tokenizer.encode(batch.chunk)
        of_tokens = token_loss(self._logits(batch.observation.vector, code.ids), code.ids, code.mask)
        inside = code.mask
        if self.tokenizer.step_of is not None:
            inside = inside & batch.mask[:, self.tokenizer.step_of.to(batch.mask.device)]
        return (of_tokens * inside).sum() / inside.sum()

    @property
    def conditioning(self) -> Conditioning:
        return "selection" if self.tokenizer.step_of is None else "exact"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """A chunk whose tokens are sampled in turn; known steps force theirs, or select among several samples."""
        memory = self.network.encode(observation)
        known = known_tokens(self.tokenizer, prefix)

        def draw() -> Tensor:
            shape = (memory.shape[0], self.tokenizer.length)
            uniform = drawn("uniform", shape, rng=rng).to(memory.device)
            return self._written(memory, uniform, known).to(observation)

        return closest(self.tokenizer, draw, prefix, candidates=self.options.candidates)

    def log_likelihood(self, observation: Observation, chunk: Chunks) -> Float[Tensor, " b"]:
        code = self.tokenizer.encode(chunk)
        return -token_loss(self._logits(observation.vector, code.ids), code.ids, code.mask).sum(1)

    def _logits(self, observation: Tensor, ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l v"]:
        return self.network(ids, self.network.encode(observation)).float()

    def _written(self, memory: Tensor, uniform: Float[Tensor, "b l"], known: ForcedTokens | None) -> Chunks:
        """Chunks whose codes are sampled token by token until all are complete."""
        if self.equal_lengths:
            return self._written_in_full(memory, uniform, known)
        spans = self.tokenizer.spans.to(memory.device)
        left = torch.full(uniform.shape[:1], self.tokenizer.cells, device=memory.device)
        written, open_places = list[Tensor](), list[Tensor]()
        logits, cache = self.network.start(memory)
        for place in range(self.tokenizer.length):
            unfinished = left > 0
            if not bool(unfinished.any()):
                break
            # complete codes continue with any token, which is masked out below
            fits = (spans <= left[:, None]) | ~unfinished[:, None]
            ids = self._token(place, logits, uniform, known, fits)
            written.append(ids)
            open_places.append(unfinished)
            left = left - spans[ids] * unfinished
            if place + 1 < self.tokenizer.length:
                logits, cache = self.network.step(ids, cache)
        return self.tokenizer.decode(code_of(torch.stack(written, 1), torch.stack(open_places, 1)))

    def _written_in_full(self, memory: Tensor, uniform: Float[Tensor, "b l"], known: ForcedTokens | None) -> Chunks:
        """Chunks of codes of one length; the number of steps does not depend on the tokens."""
        written, (logits, cache) = list[Tensor](), self.network.start(memory)
        fits = torch.ones_like(logits, dtype=torch.bool)
        for place in range(self.tokenizer.length):
            if place:
                logits, cache = self.network.step(written[-1], cache)
            written.append(self._token(place, logits, uniform, known, fits))
        return self.tokenizer.decode_full(torch.stack(written, 1))

    def _token(
        self, place: int, logits: Tensor, uniform: Tensor, known: ForcedTokens | None, fits: Tensor
    ) -> Int[Tensor, " b"]:
        ids = choose(logits, uniform[:, place], temperature=self.options.temperature, fits=fits)
        return ids if known is None else torch.where(known.mask[..., place], known.ids[:, place], ids)
