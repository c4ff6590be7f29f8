"""A whole chunk as a few codes, each of the residual of the codes before (residual vector quantisation).

    r_0 = E(chunk),    id_g = argmin_k ‖r_g − c_{g,k}‖,    r_{g+1} = r_g − c_{g,id_g},    decoded = D(Σ_g c_{g,id_g})

Fitted as in VQ-BeT (Lee, Wang, Etukuru, Kim, Shafiullah and Pinto 2024, arXiv 2403.03181, section 3.2): mean absolute
error plus 5 × commitment, Adam at 1e-3, codebooks as moving averages. Two differences: codebooks are initialised by
k-means of the first batch, and unused entries are reset to an encoded chunk, so that small sets use their codebooks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import at_least, positive
from ..seeding import stream
from .base import Tokenizer, TokenizerOptions, Tokens, of_equal_length
from .kmeans import nearest
from .perceptron import globally_seeded, layers_of, perceptron, quantisers, run_perceptron, train_on, weights_of


@dataclass(frozen=True)
class ResidualVq(TokenizerOptions):
    """A whole chunk as a few codes, each of the residual of those before (VQ-BeT, Lee et al. 2024, arXiv 2403.03181).

    Attributes:
        groups: Number of codes, and tokens, of a chunk, from coarse to fine.
        codes: Entries of each codebook.
        latent: Size of the quantised vector.
        hidden: Units of the hidden layers of encoder and decoder.
        updates: Number of updates.
        batch_size: Chunks per update.
        learning_rate: Learning rate of Adam.
        commitment: Weight of the commitment loss relative to the mean absolute error.
    """

    groups: int = 2
    codes: int = 16
    latent: int = 128
    hidden: int = 128
    updates: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-3
    commitment: float = 5.0

    def __post_init__(self) -> None:
        at_least(1, groups=self.groups, latent=self.latent, hidden=self.hidden)
        at_least(1, updates=self.updates, batch_size=self.batch_size)
        at_least(2, codes=self.codes)
        positive(learning_rate=self.learning_rate, commitment=self.commitment)

    @property
    def n_updates(self) -> int:
        return self.updates

    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        """Networks and codebooks fitted in float32 and stored in the dtype of the chunks.

        Raises:
            MissingExtraError: The package `vector_quantize_pytorch` is not installed.
        """
        rng, numbers = stream(seed, "tokens", "residual-vq"), chunks[0].numel()
        with globally_seeded(rng, chunks.device):
            encoder = perceptron(numbers, self.hidden, self.hidden, self.latent).to(chunks.device)
            decoder = perceptron(self.latent, self.hidden, self.hidden, numbers).to(chunks.device)
            quantiser = self._quantiser().to(chunks.device)

            def loss(batch: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
                quantised, _, commitment = quantiser(encoder(batch.flatten(1)))
                return (decoder(quantised) - batch.flatten(1)).abs().mean() + self.commitment * commitment.sum()

            parameters = [*encoder.parameters(), *decoder.parameters()]
            train_on(chunks.float(), loss, parameters, self, rng=rng, on_step=on_step)
        tables = weights_of({"encoder": encoder, "decoder": decoder}, chunks.dtype)
        tables["codebooks"] = cast(Tensor, quantiser.codebooks).detach().clone().cpu().to(chunks.dtype)
        return tables

    def _quantiser(self) -> Any:
        """Codebooks as moving averages, initialised by k-means."""
        return quantisers().ResidualVQ(
            dim=self.latent,
            num_quantizers=self.groups,
            codebook_size=self.codes,
            kmeans_init=True,
            threshold_ema_dead_code=2,
            # straight-through gradients as published; the package's rotation trick costs a third of an update
            rotation_trick=False,
        )

    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        numbers, inner = horizon * width, (self.hidden, self.hidden)
        return {
            "codebooks": (self.groups, self.codes, self.latent),
            **layers_of("encoder", numbers, *inner, self.latent),
            **layers_of("decoder", self.latent, *inner, numbers),
        }

    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> Tokenizer:
        return ResidualVqTokenizer(options=self, horizon=horizon, width=width, dt=dt, tables=tables)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualVqTokenizer(Tokenizer):
    """Residual vector quantisation; token `g` of a code is an entry of codebook `g`, from coarse to fine.

    Tables: `codebooks` `[groups, codes, latent]` and the weights of the networks, `encoder.…` and `decoder.…`.
    """

    options: ResidualVq

    @property
    def vocabulary(self) -> int:
        return self.options.codes

    @property
    def length(self) -> int:
        return self.options.groups

    @torch.no_grad()
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        residual = run_perceptron(self.tables, "encoder", chunks.flatten(1))
        ids = list[Tensor]()
        for codebook in self.tables["codebooks"].to(residual):
            ids.append(nearest(residual, codebook)[0])
            residual = residual - codebook[ids[-1]]
        return of_equal_length(torch.stack(ids, dim=1))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        groups = torch.arange(self.options.groups, device=ids.device)
        latent = self.tables["codebooks"].to(ids.device)[groups, ids.view(count, self.length)].sum(1)
        return run_perceptron(self.tables, "decoder", latent).view(count, self.horizon, self.width)
