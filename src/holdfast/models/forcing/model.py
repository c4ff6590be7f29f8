"""Diffusion Forcing: each action and each following observation of a sequence has its own noise level.

    min_θ E Σ_i w(ℓ_i) ‖net_θ(x, ℓ, o)_i − z_i‖²,      x_i = √ᾱ(ℓ_i) z_i + √(1 − ᾱ(ℓ_i)) ε_i,      ℓ_i ~ U{0 … K}

The tokens z are the actions a_j and the readings x_{j+1} that follow them, j = 0 … h − 1; the readings of the window o
have levels of their own as well. Level 0 is clean and level K is noise, which hides a token. So one network has learned
the law of any tokens given any others, and a schedule matrix says in which order they are generated: with all levels
equal it is the diffusion model of the whole sequence, one frame after the other it is an autoregressive model, and in
between, uncertainty grows with the horizon. Chen et al. 2024 (arXiv 2407.01392), algorithms 1 and 2. The weight is
w(ℓ) = min(ᾱ/(1 − ᾱ), γ)/γ (Hang et al. 2023, arXiv 2303.09556, for the prediction of z; the published code fuses it
over time, which is not done here).

**History at a small noise level is replica noising.** At level k the network is shown

    √ᾱ_k x + √(1 − ᾱ_k) w = √ᾱ_k (x + σ_k w),      σ_k = √((1 − ᾱ_k)/ᾱ_k),      w ~ N(0, I)

in training and in sampling alike, which up to the known factor √ᾱ_k is the input x + σ w of a policy with
`sigma_train = sigma_deploy = σ_k` (Block et al. 2023, arXiv 2307.14619, Def. 3.5). The difference: the network is told
σ_k, so that one training serves all of them.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import RecipeError, positive
from ...nn import Network, NetworkOptions, Transformer
from ...tokens import Tokenizer
from ...types import Batch, Chunks, Prefix, Window
from ..base import ChunkModel, Conditioning, FamilyOptions, Sizes, standard_normal
from ..clean_steps import divided
from ..flow import TIME_SCALE
from ..schedule import cosine_schedule, diffused
from .frames import Frames, KnownFrames, by_number, frames_of, tokens_of
from .guidance import Guidance, SoftPrefix, Together
from .levels import ForcingDraws, Shares, frame_levels, min_snr, window_levels
from .matrix import checked_matrix, schedule_matrix
from .sampling import DenoiseFrames, ForcingSampler, denoise_frames, held_at, with_known


@dataclass(frozen=True)
class Forcing(FamilyOptions):
    """Options of Diffusion Forcing.

    Published: all levels independent (`constant`, `held` and `shown` 0), K = 1000, a causal transformer or a recurrent
    network. With small networks and short trainings, shares of sequences like those of sampling help: on the laws of
    tests/models/test_laws.py, the mean and the modes of a chunk came nearer to the true ones.

    Attributes:
        network: Denoising network, with two noise levels for each frame.
        levels: Noise levels `K`.
        weighting: Weight of a token's squared error: "min-snr", min(ᾱ/(1 − ᾱ), γ)/γ, or "constant", 1.
        gamma: Bound γ of the signal-to-noise ratio in the weight.
        constant: Share of sequences with one level for all tokens, as when all are denoised together.
        held: Share of sequences whose first frames, from one to all except the last, are like history: of the lowest
            tenth of the levels, 0 included.
        shown: Share of windows whose readings are like history. The others have independent levels.
        sampler: Options of sampling.
    """

    needs_following = True

    network: Network = field(default_factory=lambda: Transformer(layers=3, width=128, causal=True))
    levels: int = 100
    weighting: Literal["min-snr", "constant"] = "min-snr"
    gamma: float = 5.0
    constant: float = 0.4
    held: float = 0.2
    shown: float = 0.8
    sampler: ForcingSampler = field(default_factory=ForcingSampler)

    def __post_init__(self) -> None:
        positive(gamma=self.gamma)
        if self.levels < 1 or self.levels % self.sampler.steps:
            raise RecipeError(
                f"expected levels that are a multiple of the sampling steps, got {self.levels} levels and "
                f"{self.sampler.steps} sampling steps. For example: 100 and 20."
            )
        if not 0 <= self.sampler.history < self.levels:
            raise RecipeError(
                f"expected a history level from 0 (clean) to {self.levels - 1}, got {self.sampler.history}. Level "
                f"{self.levels} is noise: there would be no history."
            )
        shares = {"constant": self.constant, "held": self.held, "shown": self.shown}
        if not all(0 <= share <= 1 for share in shares.values()) or self.constant + self.held > 1:
            given = ", ".join(f"{name}={share:g}" for name, share in shares.items())
            raise RecipeError(f"expected shares between 0 and 1, constant and held together at most 1, got {given}.")

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "ForcingModel":
        return ForcingModel(self, sizes)


def forcing(network: NetworkOptions) -> Forcing:
    """Diffusion Forcing around a network; a transformer becomes causal.

    >>> forcing(Transformer()).network.causal
    True
    """
    return Forcing(replace(network, causal=True) if isinstance(network, Transformer) else network)


class ForcingModel(ChunkModel):
    """A diffusion model of actions and following readings whose tokens have their own noise levels."""

    can_be_guided = True
    guidance: Guidance | None = None
    """What every plan is guided by, besides a prefix; see `guided_by`."""

    def __init__(self, options: Forcing, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        # buffers on the model's device
        self.signal: Tensor
        self.token: Tensor
        signal = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), cosine_schedule(options.levels).signal])
        self.register_buffer("signal", signal, persistent=False)
        self.register_buffer("token", tokens_of(sizes.width, sizes.readings, device="cpu"), persistent=False)
        frame = sizes.width + sizes.readings
        # each observation in the window comes with its level
        window = replace(sizes, width=frame, n_observed=sizes.n_observed + 1)
        self.network = options.network.build(window.ports(n_times=2 * sizes.horizon))

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Frames of a sequence, and numbers of a frame."""
        return self.sizes.horizon, self.sizes.width + self.sizes.readings

    def sigma_of(self, level: int) -> float:
        """Standard deviation σ_k = √((1 − ᾱ_k)/ᾱ_k) of the replica noise that a level is, in normalised units."""
        power = float(self.signal[level])
        return ((1 - power) / power) ** 0.5

    def level_of(self, sigma: float) -> int:
        """The level whose noise is nearest to a standard deviation, in normalised units.

        Raises:
            RecipeError: The level is noise, in which there is no history.
        """
        found = min(range(self.options.levels + 1), key=lambda level: abs(self.sigma_of(level) - sigma))
        if found == self.options.levels:
            raise RecipeError(f"a noise of {sigma:g} leaves nothing of the history. Give a smaller one.")
        return found

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> ForcingDraws:
        """Levels for each token, and noise."""
        options, count = self.options, shape[0]
        shares = Shares(options.constant, options.held, options.shown)
        steps, readings = self.sizes.n_obs_steps, self.sizes.readings
        level = frame_levels((count, shape[1]), levels=options.levels, shares=shares, rng=rng)
        noise = torch.randn(count, *self.frame_shape, generator=rng, device=rng.device)
        shown = window_levels((count, steps), levels=options.levels, shares=shares, rng=rng)
        window_noise = torch.randn(count, steps, readings, generator=rng, device=rng.device)
        return ForcingDraws(level=level, noise=noise, window_level=shown, window_noise=window_noise)

    def loss(self, batch: Batch, draws: ForcingDraws) -> Float[Tensor, ""]:
        """Weighted mean squared error over coordinates and the noised tokens inside their episodes.

        A batch without such tokens has the loss 0.

        Raises:
            ShapeError: The batch lacks the readings that follow the actions.
        """
        clean, inside = frames_of(batch, self.sizes.readings, self.token)
        levels = by_number(draws.level, self.token)
        signal = self.signal.to(clean)[levels]
        noisy = diffused(clean, draws.noise, signal)
        memory = self._encoded(batch.observation.vector, draws.window_level, draws.window_noise)
        error = (self.predict(noisy, draws.level, memory) - clean) ** 2
        if self.options.weighting == "min-snr":
            error = error * min_snr(signal, self.options.gamma)
        counted = (inside & (levels > 0)).to(error)
        return (error * counted).sum() / counted.sum().clamp(min=1)

    def _encoded(self, window: Window, level: Int[Tensor, "b o"], noise: Float[Tensor, "b o r"]) -> Tensor:
        """The network's encoding of a window whose readings have noise levels; further numbers have none."""
        readings = self.sizes.readings
        signal = self.signal.to(window)[level][..., None]
        seen = diffused(window[..., :readings], noise.to(window), signal)
        told = level[..., None].to(window) / self.options.levels
        return self.network.encode(torch.cat([seen, window[..., readings:], told], dim=-1))

    def predict(
        self, noisy: Float[Tensor, "b h f"], level: Int[Tensor, "b h 2"], memory: Float[Tensor, "b ..."]
    ) -> Float[Tensor, "b h f"]:
        """The network's estimate of the clean frames."""
        times = TIME_SCALE / self.options.levels * level.flatten(1).to(noisy)
        return cast(Tensor, self.network(noisy, times, memory))

    def denoiser(self, observation: Window, *, rng: torch.Generator) -> DenoiseFrames:
        """(noisy frames, levels) → estimate of the clean frames, for fixed observations, with the history's noise."""
        history, count = self.options.sampler.history, observation.shape[0]
        level = torch.full(observation.shape[:2], history, device=observation.device)
        still = observation.new_zeros(*observation.shape[:2], self.sizes.readings)
        noise = standard_normal(still.shape, observation, rng=rng) if history else still
        memory = self._encoded(observation, level, noise)

        def denoise(noisy: Tensor, levels: Tensor) -> Tensor:
            return self.predict(noisy, levels.expand(count, -1, -1), memory)

        if not history:
            return denoise
        blur = standard_normal((count, *self.frame_shape), observation, rng=rng)
        return held_at(denoise, history, signal=self.signal, token=self.token, noise=blur)

    @property
    def takes_clean_prefix(self) -> bool:
        return True

    @property
    def conditioning(self) -> Conditioning:
        return "exact"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """The actions of one sequence for each observation window.

        Steps of weight 1 are clean from the first call on; those of smaller weights guide the others.
        """
        known, guidance = None, self.guidance
        firm, soft = divided(prefix)
        if firm is not None:
            of_actions = torch.stack([firm.firm, torch.zeros_like(firm.firm)], dim=-1)
            values = torch.nn.functional.pad(firm.chunk, (0, self.sizes.readings))
            known = KnownFrames(values, of_actions)
        if soft is not None:
            toward = SoftPrefix(soft)
            guidance = toward if guidance is None else Together((guidance, toward))
        return self.frames(observation, rng=rng, known=known, guidance=guidance).actions

    def guided_by(self, guidance: Guidance | None) -> "ForcingModel":
        """The same model, with the same weights, whose plans are guided by a reward or a goal.

        Raises:
            RecipeError: Guidance by something that is not modelled.
        """
        if guidance is not None:
            guidance.check(horizon=self.sizes.horizon, readings=self.sizes.readings)
        made = copy.copy(self)
        made.guidance = guidance
        return made

    @torch.no_grad()
    def frames(
        self,
        observation: Window,
        *,
        rng: torch.Generator,
        matrix: Tensor | None = None,
        known: KnownFrames | None = None,
        guidance: Guidance | None = None,
    ) -> Frames:
        """One sequence of actions and following readings for each normalised observation window.

        Args:
            observation: Windows, as the model sees them.
            rng: Random generator.
            matrix: Schedule matrix of levels, as in `checked_matrix`. Default: that of the sampler's options.
            known: Tokens that are given.
            guidance: Reward or goal.

        Raises:
            RecipeError: A schedule matrix that rises or does not end at 0, or guidance by something that is not
                modelled.
        """
        if guidance is not None:
            guidance.check(horizon=self.sizes.horizon, readings=self.sizes.readings)
        if matrix is None:
            path = self.path()[..., None].expand(-1, -1, 2)
        else:
            path = checked_matrix(matrix, horizon=self.sizes.horizon, levels=self.options.levels)
        noisy = standard_normal((observation.shape[0], *self.frame_shape), observation, rng=rng)
        denoise = self.denoiser(observation, rng=rng)
        noisy, levels = with_known(known, noisy, path.to(observation.device), self.token)
        values = denoise_frames(
            denoise,
            self.signal,
            self.token,
            noisy,
            levels,
            width=self.sizes.width,
            options=self.options.sampler,
            rng=rng,
            guidance=guidance,
        )
        return Frames(values, self.sizes.width)

    def path(self) -> Int[Tensor, "rows h"]:
        """The schedule matrix of the sampler's options, in noise levels."""
        sampler = self.options.sampler
        matrix = schedule_matrix(
            sampler.schedule, steps=sampler.steps, horizon=self.sizes.horizon, uncertainty=sampler.uncertainty
        )
        return self.options.levels // sampler.steps * matrix
