"""The interface of generative families: models of chunks, and the options that build them.

Models work on normalised tensors: observation windows `[b, o, d]` and chunks of codes `[b, h, w]`. Randomness is an
argument (`draw` returns it, `loss` takes it), so that a training step is a function of parameters, batch and noise.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import LikelihoodError, RecipeError
from ..nn import Ports
from ..seeding import Shape, Streams, drawn
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Observation, Prefix, Window
from .prefix import checked


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the chunks and observation windows of a model.

    Attributes:
        horizon: Steps of a chunk.
        width: Size of a step's code.
        n_obs_steps: Observations in a window.
        n_observed: Size of an observation.
        n_readings: Number of readings at the beginning of an observation; features of pictures and instructions follow
            them. Default: all.
    """

    horizon: int
    width: int
    n_obs_steps: int = 1
    n_observed: int
    n_readings: int | None = None

    @property
    def readings(self) -> int:
        """Number of readings in an observation."""
        return self.n_observed if self.n_readings is None else self.n_readings

    def ports(
        self, *, n_in: int | None = None, n_out: int | None = None, n_times: int = 0, any_range: bool = False
    ) -> Ports:
        """Inputs and outputs of a network of such chunks; `n_in` and `n_out` default to the width."""
        return Ports(
            horizon=self.horizon,
            n_in=self.width if n_in is None else n_in,
            n_out=self.width if n_out is None else n_out,
            n_times=n_times,
            n_obs_steps=self.n_obs_steps,
            n_observed=self.n_observed,
            any_range=any_range,
        )


Conditioning = Literal["exact", "guidance", "selection", "projection"]
"""What a prefix does to the unknown steps: they follow the conditional distribution, which may be a learned one (with
clean first steps in training), are guided by a gradient, come from the best of several samples, or do not depend on
it."""


@dataclass(frozen=True)
class Contrast:
    """Classifier-free guidance: x̂ = x̂(∅) + w (x̂(c) − x̂(∅)), at every network call (Ho and Salimans 2022, eq. 6).

    Attributes:
        window: The observation windows without what guides, ∅.
        weight: Weight w; 1 is the conditional law, 0 the unconditional one.
    """

    window: Window
    weight: float

    def of(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """The guided one of two estimates."""
        return unconditional + self.weight * (conditional - unconditional)


class ChunkModel(nn.Module, ABC):
    """Distribution of a chunk given an observation window.

    Attributes:
        can_be_guided: Whether steps with weights below 1 guide the others by the gradient of their mismatch.
        can_be_contrasted: Whether classifier-free guidance is possible.
    """

    sizes: Sizes
    can_be_guided: ClassVar[bool] = False
    can_be_contrasted: ClassVar[bool] = False

    @property
    def conditioning(self) -> Conditioning:
        """What a prefix does to the steps that are not known."""
        return "projection"

    @property
    def takes_clean_prefix(self) -> bool:
        """Whether the model was trained on chunks with clean first steps."""
        return False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Fitted tokenizer of a family of tokens; stored in its own file, not among the parameters."""
        return None

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> Any:
        """The randomness that `loss` needs for chunks of this shape `[b, h, w]`; default: none."""
        return None

    @abstractmethod
    def loss(self, batch: Batch, draws: Any) -> Float[Tensor, ""]:
        """The training objective, averaged over the chunk steps inside their episodes."""

    @abstractmethod
    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """One chunk for each observation window; the prefix has been checked and padded to the horizon."""

    def generate_contrasted(
        self, observation: Window, contrast: Contrast, *, rng: torch.Generator, prefix: Prefix | None
    ) -> Chunks:
        """One chunk for each observation window, by classifier-free guidance.

        Raises:
            RecipeError: The family estimates neither clean chunks nor velocities, which guidance extrapolates.
        """
        raise RecipeError(f"a {type(self).__name__} cannot be guided by instructions: diffusion and flow can.")

    def starting_noise(self, window: Window, *, rng: torch.Generator) -> Chunks:
        """Standard normal chunks, one for each observation window."""
        return standard_normal((window.shape[0], self.sizes.horizon, self.sizes.width), window, rng=rng)

    def forward(self, batch: Batch, draws: Any) -> Float[Tensor, ""]:
        """The loss, for `torch.func.functional_call`."""
        return self.loss(batch, draws)

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        *,
        rng: torch.Generator,
        prefix: Prefix | None = None,
        contrast: Contrast | None = None,
    ) -> Chunks:
        """One chunk for each observation window, given a prefix of known steps.

        Args:
            observation: Normalised observation windows `[b, o, ·]`.
            rng: Random generator.
            prefix: Known steps of the chunks; steps beyond a shorter prefix are unknown.
            contrast: Classifier-free guidance.

        Raises:
            ShapeError: The prefix is longer than the horizon, or has another batch size or width.
            RecipeError: The family knows no classifier-free guidance.
        """
        window = observation.vector
        if prefix is not None:
            prefix = checked(prefix, window, (self.sizes.horizon, self.sizes.width))
        # with a prefix of zero weights, some families would draw several candidates in vain
        known = prefix if prefix is not None and (not prefix.asked or bool((prefix.weights > 0).any())) else None
        if contrast is not None:
            return self.generate_contrasted(window, contrast, rng=rng, prefix=known)
        return self.generate(window, rng=rng, prefix=known)

    def log_likelihood(self, observation: Observation, chunk: Chunks) -> Float[Tensor, " b"]:
        """Log p(chunk | observation) in normalised coordinates, for families with a tractable likelihood.

        Raises:
            LikelihoodError: The likelihood of this family cannot be computed.
        """
        raise LikelihoodError(
            f"a {type(self).__name__} has no likelihood: it can be sampled, but not evaluated. Families with one: "
            "Mixture (density), IndependentTokens and AutoregressiveTokens (probability of the code)."
        )


class FamilyOptions(ABC):
    """Options of a generative family: a frozen dataclass that builds the model it describes.

    Attributes:
        stackable: Several trained models can sample as one (`stacked_model`): each row is sampled by itself, the
            network holds all parameters, and all random numbers are normal.
        first_order: The loss needs first derivatives of the network only, and calls it once per encoded observation,
            so that a faster network may take its place under `torch.vmap`.
        needs_following: The loss needs the readings that follow each step of the chunk (`Batch.following`).
    """

    stackable: ClassVar[bool] = False
    first_order: ClassVar[bool] = False
    needs_following: ClassVar[bool] = False

    @abstractmethod
    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> ChunkModel:
        """An untrained model; its initial weights come from PyTorch's global generator.

        Args:
            sizes: Sizes of chunks and observation windows.
            tokenizer: Fitted tokenizer, for families of tokens.

        Raises:
            RecipeError: The tokenizer is missing, or was fitted to chunks of other sizes.
        """


def masked_mean(error: Float[Tensor, "b h *rest"], mask: Bool[Tensor, "b h"]) -> Float[Tensor, ""]:
    """Mean error over the chunk steps inside their episodes, and over all further axes.

    >>> masked_mean(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]]))
    tensor(1.)
    """
    inside = mask.to(error).view(*mask.shape, *[1] * (error.dim() - 2))
    return (error * inside).sum() / (inside.sum() * error[0, 0].numel())


def standard_normal(shape: Shape, like: Tensor, *, rng: torch.Generator) -> Float[Tensor, "..."]:
    """Standard normal numbers with another tensor's dtype and device.

    They are drawn on the generator's device, so that they do not depend on the model's device. `Streams` draw equal
    parts of the first axis.
    """
    if isinstance(rng, Streams):
        part = (int(shape[0]) // len(rng.each), *shape[1:])
        return torch.cat([standard_normal(part, like, rng=one) for one in rng.each])
    return drawn("normal", shape, rng=rng, dtype=like.dtype).to(like.device)
