"""Flow matching: an ordinary differential equation that transports noise to chunks.

    x_s = (1 − s) ε + s a,     min_θ E ‖v_θ(x_s, s, o) − (a − ε)‖²,     dx/ds = v_θ(x, s, o) from s = 0 to s = 1

The path is straight, and the optimal velocity is E[a − ε | x_s]. Lipman et al. 2023 (arXiv 2210.02747); Liu et al.
2023 (arXiv 2209.03003); as a policy: Black et al. 2024 (arXiv 2410.24164), whose time is reversed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, Conditioning, Contrast, FamilyOptions, Sizes, masked_mean, standard_normal
from .clean_steps import CleanSteps, clean_in, divided, mean_where
from .prefix import guide
from .sampler import check_denoising

TIME_SCALE = 100.0
"""Scale of the generative times in a network's sinusoidal embedding, which resolves s in [0, 1] with it."""

Velocity = Callable[[Tensor, float], Tensor]
"""(chunk on its path, generative time) → velocity."""


@dataclass(frozen=True)
class FlowSampler:
    """Options of sampling with a velocity field.

    Attributes:
        steps: Number of steps from noise to data; a step takes one network call, two with Heun's method.
        method: "euler" of first order, or "heun" of second.
        eta: Fresh noise with Euler's method: 0 = deterministic path, 1 = ancestral sampling. The distribution is the
            same for exact velocities; with learned ones, fresh noise reduces accumulated errors.
        guidance: Largest weight β of the guidance by a prefix.
        clip: Bound of the samples, for data normalised to [-1, 1]; `None` for none.
    """

    steps: int = 10
    method: Literal["euler", "heun"] = "euler"
    guidance: float = 5.0
    clip: float | None = 1.0
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_denoising(self.steps, self.eta, self.clip, self.guidance)
        if self.eta > 0 and self.method != "euler":
            raise RecipeError(f"expected an eta above 0 only with Euler's method, got {self.eta} with {self.method}.")


@dataclass(frozen=True)
class Flow(FamilyOptions):
    """Options of a flow matching model.

    Attributes:
        network: Network that predicts the velocity or the clean chunk.
        prediction: Training target: "velocity" as published, or the clean chunk â ("sample"), whose velocity is
            (â − x) / (1 − s).
        times: Distribution of s in training: "uniform", or "beta", where 1 − s has the density 1.5 √(1 − s), which
            favours noisy chunks (Black et al. 2024: Beta(1.5, 1) in their time).
        sampler: Options of sampling.
        clean_prefix: Known first steps are given to the network without noise, at the time 1 of data, and each step has
            its own time (`models.clean_steps`). Needs a training with `prefix_delays`.
    """

    stackable = True
    first_order = True

    network: Network = field(default_factory=ResidualMlp)
    prediction: Literal["velocity", "sample"] = "velocity"
    times: Literal["uniform", "beta"] = "uniform"
    sampler: FlowSampler = field(default_factory=FlowSampler)
    clean_prefix: bool = False

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "FlowModel":
        return FlowModel(self, sizes)


@dataclass(frozen=True)
class FlowDraws:
    """The randomness of one loss: a generative time and noise for each chunk."""

    time: Float[Tensor, " b"]
    noise: Chunks


def draw_times(law: Literal["uniform", "beta"], count: int, *, rng: torch.Generator) -> Float[Tensor, " count"]:
    """Generative times in [0, 1)."""
    uniform = torch.rand(count, generator=rng, device=rng.device)
    match law:
        case "uniform":
            return uniform
        case "beta":
            # the distribution function of Beta(1.5, 1) is t^1.5; its end t = 0 is excluded, as published
            return 1 - (0.999 * (1 - uniform) ** (1 / 1.5) + 0.001)
        case _:
            assert_never(law)


class FlowModel(ChunkModel):
    """A flow matching model of chunks given observation windows."""

    can_be_guided = True
    can_be_contrasted = True

    def __init__(self, options: Flow, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        n_times = sizes.horizon if options.clean_prefix else 1
        self.network = options.network.build(sizes.ports(n_times=n_times, any_range=options.prediction == "velocity"))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> FlowDraws:
        """A time and noise for each chunk."""
        time = draw_times(self.options.times, shape[0], rng=rng)
        return FlowDraws(time=time, noise=torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, draws: FlowDraws) -> Float[Tensor, ""]:
        """Mean squared error of the velocity, or of the clean chunk, over coordinates and chunk steps not known."""
        if self.options.clean_prefix:
            return self._loss_given(clean_in(batch), batch, draws)
        along = draws.time[:, None, None]
        noisy = (1 - along) * draws.noise + along * batch.chunk
        output = self.predict(noisy, draws.time, self.network.encode(batch.observation.vector))
        target = batch.chunk - draws.noise if self.options.prediction == "velocity" else batch.chunk
        return masked_mean((output - target) ** 2, batch.mask)

    def _loss_given(self, clean: Bool[Tensor, "b h"], batch: Batch, draws: FlowDraws) -> Float[Tensor, ""]:
        """The loss of the other steps, given clean ones."""
        time = torch.where(clean, 1.0, draws.time[:, None])
        along = time[:, :, None]
        noisy = (1 - along) * draws.noise + along * batch.chunk
        output = self.predict(noisy, time, self.network.encode(batch.observation.vector))
        target = batch.chunk - draws.noise if self.options.prediction == "velocity" else batch.chunk
        return mean_where((output - target) ** 2, batch.mask & ~clean)

    def predict(self, noisy: Chunks, time: Float[Tensor, "b *h"], memory: Float[Tensor, "b ..."]) -> Chunks:
        """The network's output in the model's own parametrisation, for a time of each chunk or of each step."""
        times = time[:, None] if time.dim() == 1 else time
        return cast(Tensor, self.network(noisy, TIME_SCALE * times.to(noisy), memory))

    def velocity(self, observation: Window, known: CleanSteps | None = None) -> Velocity:
        """(chunk, s) → velocity, for fixed observations and known steps."""
        memory = self.network.encode(observation)
        shape = (self.sizes.horizon,) if self.options.clean_prefix else ()

        def velocity(noisy: Tensor, time: float) -> Tensor:
            times = noisy.new_full((noisy.shape[0], *shape), time)
            if known is not None:
                noisy, times = known.put(noisy), known.times(times, 1.0)
            output = self.predict(noisy, times, memory)
            return output if self.options.prediction == "velocity" else (output - noisy) / (1 - time)

        return velocity

    @property
    def takes_clean_prefix(self) -> bool:
        return self.options.clean_prefix

    @property
    def conditioning(self) -> Conditioning:
        # what was learned, for as many first steps as in training; without, no known steps were ever seen
        return "exact" if self.options.clean_prefix else "guidance"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        return self._sampled(observation, None, rng=rng, prefix=prefix)

    def generate_contrasted(
        self, observation: Window, contrast: Contrast, *, rng: torch.Generator, prefix: Prefix | None
    ) -> Chunks:
        return self._sampled(observation, contrast, rng=rng, prefix=prefix)

    def _sampled(
        self, observation: Window, contrast: Contrast | None, *, rng: torch.Generator, prefix: Prefix | None
    ) -> Chunks:
        noise = self.starting_noise(observation, rng=rng)
        known, soft = divided(prefix) if self.options.clean_prefix else (None, prefix)
        velocity = self._contrasted(observation, known, contrast)
        chunk = integrate(velocity, noise, options=self.options.sampler, rng=rng, prefix=soft)
        return chunk if known is None else known.put(chunk)

    def _contrasted(self, observation: Window, known: CleanSteps | None, contrast: Contrast | None) -> Velocity:
        conditional = self.velocity(observation, known)
        if contrast is None:
            return conditional
        unconditional = self.velocity(contrast.window, known)
        return lambda noisy, time: contrast.of(conditional(noisy, time), unconditional(noisy, time))


def integrate(
    velocity: Velocity,
    noise: Chunks,
    *,
    options: FlowSampler,
    rng: torch.Generator | None = None,
    prefix: Prefix | None = None,
) -> Chunks:
    """Chunks from noise along a velocity field: Euler's method, or Heun's with an Euler step at the end.

    With η > 0 a step from s to s' separates the clean chunk x̂ = x + (1 − s) v from the noise ε̂ = x − s v:

        x' = s' x̂ + √((1 − s')² − η² ς²) ε̂ + η ς z,      ς² = (1 − s')² (1 − (s (1 − s') / (s' (1 − s)))²)

    which for η = 1 is the ancestral step of a diffusion whose signal and noise are s and 1 − s (Song et al. 2021, arXiv
    2010.02502, eq. 12, for these scales).

    Heun's corrector would need the velocity at s = 1, where that of a predicted clean chunk is undefined; the last step
    is therefore Euler's, of local second order.
    """
    moved, step = noise, 1 / options.steps
    for index in range(options.steps):
        time = index * step
        rate = guided(velocity, moved, time, prefix, options.guidance)
        if options.method == "heun" and index + 1 < options.steps:
            ahead = guided(velocity, moved + step * rate, time + step, prefix, options.guidance)
            rate = (rate + ahead) / 2
        moved = moved + step * rate if options.eta == 0 else _ancestral(moved, rate, time, step, options.eta, rng)
    return moved if options.clip is None else moved.clamp(-options.clip, options.clip)


def _ancestral(
    noisy: Tensor, rate: Tensor, time: float, step: float, eta: float, rng: torch.Generator | None
) -> Tensor:
    """A step that replaces some of its noise by fresh noise."""
    if rng is None:
        raise RecipeError("a sampler with eta above 0 needs random numbers. Pass rng.")
    following, left = min(time + step, 1.0), max(1 - time - step, 0.0)
    kept = time * left / (following * (1 - time))
    spread = eta * left * (1 - kept**2) ** 0.5
    clean, noise = noisy + (1 - time) * rate, noisy - time * rate
    return (
        following * clean + (left**2 - spread**2) ** 0.5 * noise + spread * standard_normal(noisy.shape, noisy, rng=rng)
    )


def guided(velocity: Velocity, noisy: Tensor, time: float, prefix: Prefix | None, largest: float) -> Tensor:
    """The velocity, guided by a prefix: v + min(β, (1 − s)/(s r²)) (∂x̂/∂x)ᵀ W (Y − x̂), x̂ = x + (1 − s) v.

    r² = (1 − s)² / (s² + (1 − s)²). Black et al. 2025 (arXiv 2506.07339), eq. 2–4.
    """
    if prefix is None:
        return velocity(noisy, time)
    left = 1 - time
    exact = (time**2 + left**2) / (time * left) if time > 0 else float("inf")
    weight = left * min(largest, exact)
    clean = guide(lambda chunk: chunk + left * velocity(chunk, time), noisy, prefix, weight)
    return (clean - noisy) / left
