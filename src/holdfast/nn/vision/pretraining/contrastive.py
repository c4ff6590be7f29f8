"""Contrastive learning: two altered copies of a picture must have features nearer than those of other pictures.

SimCLR, Chen et al. 2020 (arXiv 2002.05709), eq. 1, the loss NT-Xent of the 2 b copies of b pictures:

    ℓ(i, j) = −log exp(cos(zᵢ, zⱼ) / τ) / Σ_{k ≠ i} exp(cos(zᵢ, zₖ) / τ),      z = perceptron(features)

Copies differ in the place of the crop, brightness, contrast, saturation and in whether they are grey (`altered`).
Unlike there, no copy is flipped or magnified, because a robot must tell left from right and near from far, and
positions among the features are those in the whole picture, which a crop does not move.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ....errors import at_least, positive
from ..cameras import features_in_whole
from ..vision import Vision
from .alterations import altered, drawn_alterations
from .method import Bytes, Draws, Method, PretrainingModel, Rows


def nt_xent(first: Float[Tensor, "b z"], second: Float[Tensor, "b z"], temperature: float) -> Float[Tensor, ""]:
    """NT-Xent of pairs of vectors, on average over both directions (Chen et al. 2020, eq. 1).

    Args:
        first: Vectors of the first copies.
        second: Vectors of the second copies, in the same order.
        temperature: Temperature τ of the cosines.
    """
    both = nn.functional.normalize(torch.cat([first, second]).float(), dim=-1)
    logits = both @ both.mT / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return nn.functional.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)


@dataclass(frozen=True, kw_only=True)
class Contrastive(Method):
    """SimCLR.

    Attributes:
        temperature: Temperature τ of the cosines.
        strength: Largest relative change of brightness, contrast and saturation.
        grey: Probability that a copy is grey.
        hidden: Width of the perceptron after the features, which is discarded.
        projected: Numbers that are compared.
    """

    temperature: float = 0.1
    strength: float = 0.4
    grey: float = 0.2
    hidden: int = 256
    projected: int = 64

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        at_least(0, strength=self.strength, grey=self.grey)
        at_least(1, hidden=self.hidden, projected=self.projected)

    def build(self, vision: Vision) -> "ContrastiveNet":
        return ContrastiveNet(self, vision)


class ContrastiveNet(PretrainingModel):
    """An encoder, and a perceptron of two layers."""

    def __init__(self, options: Contrastive, vision: Vision) -> None:
        super().__init__(vision)
        self.options = options
        self.project = nn.Sequential(
            nn.Linear(vision.encoder.n_features, options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, options.projected),
        )

    def draw(self, count: int, *, rng: torch.Generator) -> Draws:
        found = dict[str, Tensor]()
        for copy in ("first", "second"):
            parts = {**super().draw(count, rng=rng), **drawn_alterations(count, rng=rng)}
            found |= {f"{copy} {name}": value for name, value in parts.items()}
        return found

    def forward(self, pictures: Bytes, draws: Draws) -> Float[Tensor, ""]:
        first, second = (self._vectors(pictures, draws, copy) for copy in ("first", "second"))
        return nt_xent(first, second, self.options.temperature)

    def _vectors(self, pictures: Bytes, draws: Draws, copy: str) -> Float[Tensor, "b z"]:
        pixels, corners = self.placed_crops(pictures, draws[f"{copy} places"])
        changed = altered(pixels, _of(copy, draws), strength=self.options.strength, grey=self.options.grey)
        return cast(Tensor, self.project(features_in_whole(self.encoder, self.view, changed, corners)))

    def shown(self, pictures: Bytes, draws: Draws) -> Rows:
        """Pictures, two altered copies, and of all these pictures the one whose vector is nearest."""
        pixels, corners = self.placed_crops(pictures)
        options = self.options
        vectors = nn.functional.normalize(self.project(features_in_whole(self.encoder, self.view, pixels, corners)))
        nearest = (vectors @ vectors.mT).fill_diagonal_(-torch.inf).argmax(dim=1)
        rows = {"picture": pixels}
        for copy in ("first", "second"):
            crops = self.crops(pictures, draws[f"{copy} places"])
            rows[f"{copy} copy"] = altered(crops, _of(copy, draws), strength=options.strength, grey=options.grey)
        return {**rows, "nearest other": pixels[nearest]}


def _of(copy: str, draws: Draws) -> Draws:
    return {name.removeprefix(f"{copy} "): value for name, value in draws.items() if name.startswith(f"{copy} ")}
