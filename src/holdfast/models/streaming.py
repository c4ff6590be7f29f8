"""Streaming diffusion: each step of a chunk has its own noise level, so that plans need not start from noise.

    min_θ E Σ_i ‖net_θ(x, ℓ, o)_i − target_i‖²,     x_i = √ᾱ(ℓ_i) a_i + √(1 − ᾱ(ℓ_i)) ε_i,     ℓ_i = 0 clean … K noise

A chunk is divided into `blocks` blocks of steps. A `StreamingBuffer` holds them at the levels 0, K/B, 2K/B …: the first
is executed, the others move up, noise is appended, and all are denoised by K/B levels. A plan then takes 1/B of the
network calls of a chunk from noise. Høeg et al. 2024 (arXiv 2406.04806). With levels independent from step to step this
is Diffusion Forcing (Chen et al. 2024, arXiv 2407.01392).

A block depends on the executed one through the observation only: if that determines the state, executed blocks have the
distribution of chunks from noise; if not, modes may change between blocks.

Known steps can be given clean, at level 0, while the others are denoised: conditioning without guidance (as in Black et
al. 2025, arXiv 2512.05964), for which a share of the training chunks has clean first steps.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Observation, Prefix, Window
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, standard_normal
from .flow import TIME_SCALE
from .prefix import checked, guide
from .schedule import cosine_schedule, diffused
from .streaming_sampler import DenoiseSteps, StreamingSampler, denoise_along, estimated_along, with_clean


@dataclass(frozen=True)
class Streaming(FamilyOptions):
    """Options of a streaming model.

    Attributes:
        network: Denoising network, with one noise level for each step of the chunk.
        levels: Noise levels `K`.
        prediction: Training target: the clean chunk ("sample"), or √ᾱ ε − √(1 − ᾱ) a ("velocity"), which keeps narrow
            distributions from collapsing at low noise. Published: the noise.
        blocks: Blocks `B` of a chunk; divides the horizon, the levels and the sampling steps.
        law: Levels in training: "blocks", as in a buffer, or "independent" from step to step.
        constant: Share of chunks with the same level at all steps, as when a chunk is drawn from noise.
        held: Share of chunks with clean first steps, from one to all except the last. Published: 0.
        sampler: Options of sampling.
    """

    network: Network = field(default_factory=ResidualMlp)
    levels: int = 100
    prediction: Literal["sample", "velocity"] = "velocity"
    blocks: int = 2
    law: Literal["blocks", "independent"] = "blocks"
    constant: float = 0.2
    held: float = 0.2
    sampler: StreamingSampler = field(default_factory=StreamingSampler)

    def __post_init__(self) -> None:
        steps = self.sampler.steps
        if self.blocks < 1 or steps < 1 or self.levels < 1 or self.levels % steps or steps % self.blocks:
            raise RecipeError(
                "expected levels that are a multiple of the sampling steps, and sampling steps that are a multiple of "
                f"the blocks, got {self.levels} levels, {steps} sampling steps and {self.blocks} blocks. For example: "
                "100, 20 and 2."
            )
        if not (0 <= self.constant <= 1 and 0 <= self.held <= 1):
            raise RecipeError(f"expected shares between 0 and 1, got constant={self.constant} and held={self.held}.")

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "StreamingModel":
        return StreamingModel(self, sizes)


@dataclass(frozen=True)
class StreamingDraws:
    """The randomness of one loss: a level for each step of each chunk, and noise."""

    level: Int[Tensor, "b h"]
    noise: Chunks


@dataclass(frozen=True)
class StreamingBuffer:
    """Partially denoised chunks: the first block is clean, each further one noisier.

    Attributes:
        chunk: All steps.
        estimate: What the last network call took the clean steps for; equal to `chunk` in the clean block.
        blocks: Number of blocks.
    """

    chunk: Chunks
    estimate: Chunks
    blocks: int

    @property
    def ready(self) -> Float[Tensor, "b steps w"]:
        """The clean block, which is executed before the buffer is advanced."""
        return self.chunk[:, : self.chunk.shape[1] // self.blocks]


class StreamingModel(ChunkModel):
    """A diffusion model of chunks whose steps have their own noise levels."""

    can_be_guided = True

    def __init__(self, options: Streaming, sizes: Sizes) -> None:
        super().__init__()
        if sizes.horizon % options.blocks:
            raise RecipeError(
                f"a chunk of {sizes.horizon} steps cannot be divided into {options.blocks} equal blocks. Change "
                "one of the two."
            )
        self.options = options
        self.sizes = sizes
        # a buffer on the model's device
        self.signal: Tensor
        signal = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), cosine_schedule(options.levels).signal])
        self.register_buffer("signal", signal, persistent=False)
        self.network = options.network.build(
            sizes.ports(n_times=sizes.horizon, any_range=options.prediction == "velocity")
        )

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> StreamingDraws:
        """A level for each step, by `law`, and noise."""
        level = self._levels(shape[0], rng=rng)
        single = torch.randint(1, self.options.levels + 1, (shape[0], 1), generator=rng, device=rng.device)
        kind = torch.rand(2, shape[0], 1, generator=rng, device=rng.device)
        level = torch.where(kind[0] < self.options.constant, single, level)
        if shape[1] > 1:
            known = torch.randint(1, shape[1], (shape[0], 1), generator=rng, device=rng.device)
            clean = (torch.arange(shape[1], device=rng.device) < known) & (kind[1] < self.options.held)
            level = torch.where(clean, 0, level)
        return StreamingDraws(level=level, noise=torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, draws: StreamingDraws) -> Float[Tensor, ""]:
        """Mean squared error of the prediction over coordinates and the noised steps inside their episodes.

        A batch without such steps has the loss 0.
        """
        signal = self.signal.to(batch.chunk)[draws.level][:, :, None]
        noisy = diffused(batch.chunk, draws.noise, signal)
        velocity = signal.sqrt() * draws.noise - (1 - signal).sqrt() * batch.chunk
        target = velocity if self.options.prediction == "velocity" else batch.chunk
        error = (self.predict(noisy, draws.level, self.network.encode(batch.observation.vector)) - target) ** 2
        counted = (batch.mask & (draws.level > 0)).to(error)
        return (error.mean(-1) * counted).sum() / counted.sum().clamp(min=1)

    def predict(self, noisy: Chunks, level: Int[Tensor, "b h"], memory: Float[Tensor, "b ..."]) -> Chunks:
        """The network's output in the model's own parametrisation."""
        return cast(Tensor, self.network(noisy, TIME_SCALE / self.options.levels * level.to(noisy), memory))

    def denoiser(self, observation: Window) -> DenoiseSteps:
        """(noisy chunks, levels) → estimate of the clean chunks, for fixed observations."""
        memory = self.network.encode(observation)

        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            output = self.predict(noisy, level.expand(noisy.shape[0], -1), memory)
            if self.options.prediction == "sample":
                return output
            signal = self.signal.to(noisy)[level][..., None]
            return signal.sqrt() * noisy - (1 - signal).sqrt() * output

        return denoise

    @property
    def takes_clean_prefix(self) -> bool:
        return self.options.held > 0

    @property
    def conditioning(self) -> Conditioning:
        return "exact" if self.options.held > 0 else "guidance"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """One chunk for each observation window, with all steps denoised together.

        Steps of weight 1 are clean from the first call on; those of smaller weights guide the others.
        """
        noisy, denoise = self.starting_noise(observation, rng=rng), self.denoiser(observation)
        path = self._descent(self.options.levels, 0).expand(-1, self.sizes.horizon).to(noisy.device)
        if prefix is not None:
            noisy, path = with_clean(prefix, noisy, path)
            denoise = self._guided(
                denoise, replace(prefix, weights=torch.where(prefix.weights == 1, 0, prefix.weights))
            )
        return denoise_along(denoise, self.signal, noisy, path, options=self.options.sampler, rng=rng)

    @torch.no_grad()
    def start(self, observation: Observation, *, rng: torch.Generator) -> StreamingBuffer:
        """A buffer for the first plan: chunks from noise, all blocks except the first noised to their levels."""
        chunk = self.sample(observation, rng=rng)
        signal = self.signal.to(chunk)[self._resting(chunk.device)][:, None]
        noise = standard_normal(chunk.shape, chunk, rng=rng)
        return StreamingBuffer(chunk=diffused(chunk, noise, signal), estimate=chunk, blocks=self.options.blocks)

    @torch.no_grad()
    def advance(
        self, buffer: StreamingBuffer, observation: Observation, *, rng: torch.Generator, prefix: Prefix | None = None
    ) -> StreamingBuffer:
        """The buffer of the next plan, after the ready block was executed, in steps / blocks network calls.

        Args:
            buffer: Buffer of the plan before.
            observation: Normalised observation windows.
            rng: Random generator.
            prefix: Steps of weight 1 are taken as clean; other weights count as unknown.
        """
        ready = buffer.ready
        fresh = standard_normal(ready.shape, ready, rng=rng)
        moved = torch.cat([buffer.chunk[:, ready.shape[1] :], fresh], dim=1)
        fall = self.options.levels // self.options.blocks
        path = self._resting(moved.device) + self._descent(fall, 0).to(moved.device)
        if prefix is not None:
            known = checked(prefix, observation.vector, (self.sizes.horizon, self.sizes.width))
            moved, path = with_clean(known, moved, path)
        denoise = self.denoiser(observation.vector)
        chunk, estimate = estimated_along(denoise, self.signal, moved, path, options=self.options.sampler, rng=rng)
        return StreamingBuffer(chunk=chunk, estimate=estimate, blocks=self.options.blocks)

    def _descent(self, top: int, bottom: int) -> Int[Tensor, "rows 1"]:
        """Levels from one down to another, one sampling step apart."""
        fall = self.options.levels // self.options.sampler.steps
        return torch.arange(top, bottom - 1, -fall)[:, None]

    def _resting(self, device: torch.device) -> Int[Tensor, " h"]:
        """The level of each step in a buffer between two plans."""
        block = torch.arange(self.sizes.horizon, device=device) // (self.sizes.horizon // self.options.blocks)
        return self.options.levels // self.options.blocks * block

    def _levels(self, count: int, *, rng: torch.Generator) -> Int[Tensor, "count h"]:
        horizon, part = self.sizes.horizon, self.options.levels // self.options.blocks
        match self.options.law:
            case "blocks":
                above = torch.randint(1, part + 1, (count, 1), generator=rng, device=rng.device)
                return self._resting(rng.device) + above
            case "independent":
                return torch.randint(1, self.options.levels + 1, (count, horizon), generator=rng, device=rng.device)
            case _:
                assert_never(self.options.law)

    def _guided(self, denoise: DenoiseSteps, prefix: Prefix) -> DenoiseSteps:
        """The denoiser guided by steps with weights below 1: λ = 1/√ᾱ of the unknown steps' level, as in `Sampler`."""
        if not bool(prefix.weights.any()):
            return denoise

        def denoise_guided(noisy: Tensor, level: Tensor) -> Tensor:
            weight = min(self.options.sampler.guidance, float(self.signal[level.max()]) ** -0.5)
            return guide(lambda chunk: denoise(chunk, level), noisy, prefix, weight)

        return denoise_guided
