"""A generative model of chunks that follows instructions.

    window       [b, o, d] ─────────────────────┐
    instruction  [b] ──► vector e(c) [b, e] ──► window [b, o, d + e] ──► inner model

The inner model may be of any family. In training, some instructions are left out; see `nn.language`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import InterfaceError
from ..nn import InstructionEmbedding, Language
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Observation, Prefix, Window
from .base import Contrast, FamilyOptions, Sizes
from .wrapping import Wrapping


@dataclass(frozen=True)
class InstructedDraws:
    """The randomness of one loss: that of the inner model, and which instructions are left out."""

    inner: Any
    left_out: Bool[Tensor, " b"]


class Instructed(Wrapping):
    """A model whose observation windows carry an instruction.

    Args:
        language: The instructions.
        family: Options of the inner model.
        sizes: Sizes of chunks and windows; an observation has what is seen besides, and the vector of the instruction.
        tokenizer: Fitted tokenizer, for families of tokens.
    """

    def __init__(self, language: Language, family: FamilyOptions, sizes: Sizes, tokenizer: Tokenizer | None) -> None:
        super().__init__()
        self.language, self.sizes = language, sizes
        self.instructions = InstructionEmbedding(language)
        self.inner = family.build(sizes, tokenizer=tokenizer)

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> InstructedDraws:
        left_out = torch.rand(shape[0], generator=rng, device=rng.device) < self.language.dropout
        return InstructedDraws(inner=self.inner.draw(shape, rng=rng), left_out=left_out)

    def loss(self, batch: Batch, draws: InstructedDraws) -> Float[Tensor, ""]:
        """The loss of the inner model, with some instructions left out."""
        index = self._index(batch.observation)
        index = torch.where(draws.left_out.to(index.device), self._absent, index)
        window = self._window(batch.observation.vector, index)
        inside = replace(batch, observation=Observation(state=window))
        return self.inner.loss(inside, draws.inner)

    @property
    def _absent(self) -> int:
        """The index of no instruction."""
        return len(self.language.instructions)

    def _index(self, observation: Observation) -> Int[Tensor, " b"]:
        """Index of each window's instruction."""
        if observation.task is None:
            raise InterfaceError(
                "the policy follows instructions, but the observation has none. Give it a task. "
                f"{self.language.known()}"
            )
        self.language.check(observation.task)
        return self.instructions.index(observation.task, device=observation.vector.device)

    def _window(self, window: Window, index: Int[Tensor, " b"]) -> Float[Tensor, "b o n_observed"]:
        vectors = self.instructions(index).to(window)
        return torch.cat([window, vectors[:, None].expand(-1, window.shape[1], -1)], dim=-1)

    @torch.no_grad()
    def seen(self, observation: Observation) -> Observation:
        """Windows `[b, o, d + e]` with the vectors of their instructions; such windows stay as they are.

        Raises:
            InterfaceError: An instruction is missing, or unknown.
        """
        if observation.vector.shape[-1] == self.sizes.n_observed:
            return observation
        return Observation(state=self._window(observation.vector, self._index(observation)))

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        *,
        rng: torch.Generator,
        prefix: Prefix | None = None,
        contrast: Contrast | None = None,
    ) -> Chunks:
        seen = self.seen(observation)
        if contrast is None and self.language.guidance != 1:
            contrast = Contrast(self._without(seen.vector), self.language.guidance)
        return super().sample(seen, rng=rng, prefix=prefix, contrast=contrast)

    def _without(self, window: Window) -> Window:
        """The same windows without their instructions."""
        absent = torch.full((len(window),), self._absent, device=window.device)
        return self._window(window[..., : -self.language.width], absent)
