"""Instructions as a part of a policy's observation: learned vectors, or a linear map of the features of a text encoder.

    e(c) = E_c                          learned, one vector for each instruction
    e(c) = W (f(c) − m) / s + b         f: constant features of a text encoder, m and s: mean and spread of all f(c)
    e(∅) = E_∅                          no instruction

In training an instruction is replaced by ∅ with a small probability, so that one model has learned the conditional and
the unconditional law (Ho and Salimans 2022, arXiv 2207.12598, algorithm 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import InterfaceError, RecipeError, at_least, nearest

NONE = ""
"""The instruction of entries without an instruction, ∅."""
SHOWN = 8
"""Largest number of instructions in a message."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """Instructions that a policy follows.

    Attributes:
        instructions: The instructions that are known, each once.
        width: Size of the vector by which the model sees an instruction.
        n_text_features: Number of features of the text encoder; 0 for learned vectors.
        text_encoder: Name of the text encoder, for the record; "" for learned vectors.
        dropout: Probability with which an instruction is left out in training.
        guidance: Weight w of classifier-free guidance at deployment, for diffusion and flow: 1 samples the conditional
            law, 0 the unconditional one, and above 1 the instruction counts more. Ho and Salimans write 1 + w.

    Raises:
        RecipeError: No instructions, one of them twice or empty, or numbers outside their ranges.
    """

    instructions: tuple[str, ...]
    width: int = 32
    n_text_features: int = 0
    text_encoder: str = ""
    dropout: float = 0.1
    guidance: float = 1.0

    def __post_init__(self) -> None:
        at_least(1, width=self.width)
        at_least(0, n_text_features=self.n_text_features)
        if not self.instructions or NONE in self.instructions:
            raise RecipeError("expected one or more instructions that are not empty.")
        if len({*self.instructions}) != len(self.instructions):
            raise RecipeError("expected each instruction once.")
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"expected a dropout of instructions in [0, 1), got {self.dropout}.")
        if not 0 <= self.guidance < math.inf:
            raise RecipeError(f"expected a guidance by instructions of 0 or above, got {self.guidance}.")

    def check(self, tasks: Sequence[str]) -> None:
        """Refuse instructions that are not known.

        Raises:
            InterfaceError: An instruction is neither known nor empty.
        """
        for task in tasks:
            if task != NONE and task not in self.instructions:
                new = (
                    " Its text encoder reads new ones: give --text-encoder FOLDER (in Python: learn.with_instructions)."
                    if self.n_text_features
                    else ""
                )
                raise InterfaceError(
                    f"the policy was not trained on the instruction {task!r:.200}. {self.known(task)}{new}"
                )

    def known(self, asked: str = NONE) -> str:
        """The known instructions as a sentence, and the one most similar to another text."""
        shown = [f"{text!r:.80}" for text in self.instructions[:SHOWN]]
        more = f" and {len(self.instructions) - SHOWN} more" if len(self.instructions) > SHOWN else ""
        return f"Known instructions: {', '.join(shown)}{more}.{nearest(asked, self.instructions)}"


class InstructionEmbedding(nn.Module):
    """Instructions → vectors `[b, width]`.

    Args:
        language: The instructions, and whether their vectors are learned.
    """

    def __init__(self, language: Language) -> None:
        super().__init__()
        count, size = len(language.instructions), language.n_text_features
        self.place = {text: index for index, text in enumerate(language.instructions)}
        self.absent = nn.Parameter(torch.randn(language.width))
        if size:
            self.features: Tensor
            self.mean: Tensor
            self.spread: Tensor
            self.register_buffer("features", torch.zeros(count, size))
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("spread", torch.ones(()))
            self.linear = nn.Linear(size, language.width)
        else:
            self.vectors = nn.Parameter(torch.randn(count, language.width))
        self.from_text = size > 0

    @torch.no_grad()
    def take(self, features: Float[Tensor, "n f"]) -> None:
        """Use features of a text encoder, one row for each instruction."""
        centred = features - features.mean(dim=0)
        # one instruction has no spread
        spread = centred.square().mean().sqrt() if len(features) > 1 else features.square().mean().sqrt()
        for held, found in ((self.features, features), (self.mean, features.mean(dim=0)), (self.spread, spread)):
            held.copy_(found)

    def index(self, tasks: Sequence[str], *, device: torch.device) -> Int[Tensor, " b"]:
        """Row of each instruction in the table; the row after the last one stands for no instruction."""
        return torch.tensor([self.place.get(task, len(self.place)) for task in tasks], device=device)

    def forward(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Vectors of rows of the table."""
        rows = index.clamp(max=len(self.place) - 1)
        known = self.linear((self.features[rows] - self.mean) / self.spread) if self.from_text else self.vectors[rows]
        return torch.where((index == len(self.place))[:, None], self.absent, known)
