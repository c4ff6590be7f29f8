"""A chunk as a few codes, each of what those before it left over.

    r_0 = E(chunk),    id_g = argmin_k ‖r_g − c_{g,k}‖,    r_{g+1} = r_g − c_{g,id_g},    decoded = D(Σ_g c_{g,id_g})

Fitted as in VQ-BeT (Lee, Wang, Etukuru, Kim, Shafiullah and Pinto 2024, arXiv 2403.03181, section 3.2): mean absolute
error plus 5 × commitment, Adam at 1e-3, codebooks as moving averages. Two departures: codebooks begin as k-means of the
first batch, and entries that go unused begin again at an encoded chunk, so that small sets use their codebooks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .base import Tokenizer, Tokens, of_equal_length
from .kmeans import nearest
from .options import ResidualVq
from .perceptron import globally_seeded, perceptron, run_perceptron, train_on, weights_of
from .quantisers import residual_vector

__all__ = ["ResidualVqTokenizer", "fit_residual_vq"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualVqTokenizer(Tokenizer):
    """Residual vector quantisation; token `g` of a code is its entry in codebook `g`, which says ever less.

    Attributes:
        weights: `encoder.…`, `decoder.…`.
        codebooks: Entries of each group.
    """

    options: ResidualVq
    weights: Mapping[str, Tensor]
    codebooks: Float[Tensor, "groups codes latent"]

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: the entries of a codebook."""
        return self.options.codes

    @property
    def length(self) -> int:
        """Tokens of a chunk: one a group."""
        return self.options.groups

    @property
    def tables(self) -> Mapping[str, Tensor]:
        """Codebooks and networks."""
        return {"codebooks": self.codebooks, **self.weights}

    @torch.no_grad()
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        rest = run_perceptron(self.weights, "encoder", chunks.flatten(1))
        ids = list[Tensor]()
        for codebook in self.codebooks.to(rest):
            ids.append(nearest(rest, codebook)[0])
            rest = rest - codebook[ids[-1]]
        return of_equal_length(torch.stack(ids, dim=1))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int) -> Float[Tensor, "b h w"]:
        groups = torch.arange(self.options.groups, device=ids.device)
        latent = self.codebooks.to(ids.device)[groups, ids.view(count, self.length)].sum(1)
        return run_perceptron(self.weights, "decoder", latent).view(count, self.horizon, self.width)


def fit_residual_vq(
    options: ResidualVq,
    chunks: Float[Tensor, "n h w"],
    dt: float | None,
    *,
    rng: torch.Generator,
    on_step: Callable[[int], None] = lambda done: None,
) -> ResidualVqTokenizer:
    """Networks and codebooks of some chunks, in float32, kept in the dtype of the chunks.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    steps, width = chunks.shape[1:]
    with globally_seeded(rng, chunks.device):
        encoder = perceptron(steps * width, options.hidden, options.hidden, options.latent).to(chunks.device)
        decoder = perceptron(options.latent, options.hidden, options.hidden, steps * width).to(chunks.device)
        quantiser = residual_vector(latent=options.latent, groups=options.groups, codes=options.codes).to(chunks.device)

        def loss(batch: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
            quantised, _, commitment = quantiser(encoder(batch.flatten(1)))
            return (decoder(quantised) - batch.flatten(1)).abs().mean() + options.commitment * commitment.sum()

        train_on(
            chunks.float(),
            loss,
            [*encoder.parameters(), *decoder.parameters()],
            options,
            rng=rng,
            on_step=on_step,
        )
    return ResidualVqTokenizer(
        options=options,
        horizon=steps,
        width=width,
        dt=dt,
        weights=weights_of({"encoder": encoder, "decoder": decoder}, chunks.dtype),
        codebooks=cast(Tensor, quantiser.codebooks).detach().clone().cpu().to(chunks.dtype),
    )
