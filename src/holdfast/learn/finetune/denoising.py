"""The last sampling steps of diffusion and flow models as Gaussian transitions.

Both are a sequence of scales x_i = α_i a + β_i ε, from noise to data: (√ᾱ, √(1 − ᾱ)) for diffusion, (s, 1 − s) for
flow, ending with (1, 0). A step from (α, β) to (α', β') separates the clean chunk x̂ from the noise:

    x' = α' x̂ + √(β'² − ς²) (x − α x̂) / β + max(ς, floor) z,     ς² = η² β'² (1 − (α β' / (α' β))²)

which without the floor is the ancestral step of `models.sampler` and of `models.flow`. The last step has ς = 0, thus
the floor alone. (Song et al. 2021, arXiv 2010.02502, eq. 12; the floors: Ren et al. 2024, arXiv 2409.00588, app. C.)
"""

import copy
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...models import DiffusionModel, FlowModel
from ...models.diffusion import clean_from
from ...models.sampler import visited_levels
from ...types import Chunks, Window
from .options import FineTuning
from .process import Process


class Denoising(Process):
    """Denoising process of a diffusion or flow model.

    Args:
        pretrained: Model of the first K − K' steps, which stays as it is.
        options: Options of the fine-tuning.
        steps: Number K' of fine-tuned steps.
        counted: Numbers of a chunk that count in the densities.
    """

    def __init__(
        self, pretrained: DiffusionModel | FlowModel, options: FineTuning, steps: int, counted: Bool[Tensor, "h w"]
    ) -> None:
        super().__init__(options, counted)
        self.steps = steps
        self.pretrained = pretrained.eval().requires_grad_(False)
        self.tuned = copy.deepcopy(pretrained).requires_grad_(True)
        self.scales: Tensor
        scales = torch.tensor(_scales(pretrained), dtype=torch.float64)
        self.register_buffer("scales", scales, persistent=False)

    @property
    def model(self) -> DiffusionModel | FlowModel:
        return self.tuned

    @property
    def before(self) -> int:
        """Number of pre-trained steps."""
        return len(self.scales) - 1 - self.steps

    def start(self, window: Window, *, rng: torch.Generator) -> Chunks:
        noisy = self.pretrained.starting_noise(window, rng=rng)
        for index in range(self.before):
            noisy = self._sample(self.pretrained, window, noisy, index, rng=rng)
        return noisy

    def following(self, window: Window, before: Chunks, index: int, *, rng: torch.Generator) -> Chunks:
        return self._sample(self.tuned, window, before, self.before + index, rng=rng)

    def log_densities(
        self, window: Window, before: Chunks, after: Chunks, index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n"]:
        mean, std = self._law(self.tuned, window, before, index + self.before)
        std = std.clamp(min=self.options.density_std)
        densities = -0.5 * ((after - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
        return densities[:, self.counted]

    def executed(self, chunk: Chunks) -> Chunks:
        # flow clips samples, diffusion the estimates of each step
        clip = self.pretrained.options.sampler.clip if isinstance(self.pretrained, FlowModel) else None
        return chunk if clip is None else chunk.clamp(-clip, clip)

    def _sample(self, model: nn.Module, window: Window, noisy: Chunks, step: int, *, rng: torch.Generator) -> Chunks:
        steps = torch.full((len(noisy),), step, device=noisy.device)
        mean, std = self._law(model, window, noisy, steps)
        return mean + std.clamp(min=self.options.sampling_std) * self.noise(noisy, rng=rng)

    def _law(
        self, model: nn.Module, window: Window, noisy: Chunks, step: Int[Tensor, " b"]
    ) -> tuple[Chunks, Float[Tensor, "b 1 1"]]:
        """Mean and standard deviation of a step, without the floor."""
        (signal, noise), (signal_after, noise_after) = (
            tuple(self.scales[steps].to(noisy)[:, :, None, None].unbind(1)) for steps in (step, step + 1)
        )
        clean = self._clean(model, window, noisy, step, signal)
        std = self.options.eta * noise_after * (1 - (signal * noise_after / (signal_after * noise)) ** 2).sqrt()
        residual = (noisy - signal * clean) / noise
        return signal_after * clean + (noise_after**2 - std**2).clamp(min=0).sqrt() * residual, std

    def _clean(
        self, model: nn.Module, window: Window, noisy: Chunks, step: Int[Tensor, " b"], signal: Tensor
    ) -> Chunks:
        if isinstance(model, DiffusionModel):
            sampler = model.options.sampler
            path = visited_levels(model.options.levels, sampler.steps, sampler.spacing)
            levels = torch.tensor(path, device=noisy.device)[step]
            output = model.predict(noisy, levels, model.network.encode(window))
            clean = clean_from(model.options.prediction, output, noisy, signal**2)
            return clean if sampler.clip is None else clean.clamp(-sampler.clip, sampler.clip)
        assert isinstance(model, FlowModel)
        output = model.predict(noisy, signal[:, 0, 0], model.network.encode(window))
        return output if model.options.prediction == "sample" else noisy + (1 - signal) * output


def _scales(model: DiffusionModel | FlowModel) -> list[tuple[float, float]]:
    """Scales of signal and noise before each sampling step and after the last."""
    if isinstance(model, FlowModel):
        steps = model.options.sampler.steps
        return [(index / steps, 1 - index / steps) for index in range(steps + 1)]
    sampler = model.options.sampler
    path = visited_levels(model.schedule.levels, sampler.steps, sampler.spacing)
    powers = [model.schedule.numbers[level] for level in path]
    return [(power**0.5, (1 - power) ** 0.5) for power in powers] + [(1.0, 0.0)]
