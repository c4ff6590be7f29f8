"""Options of fine-tuning by policy gradients."""

import math
from dataclasses import dataclass

from ...errors import RecipeError, at_least, positive

STEEPEST = 50.0
"""Largest rate at which bounds of ratios grow: its exponential is far from the largest number of single precision."""


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Options of proximal policy optimisation over control steps and denoising steps.

    Attributes:
        steps: Number of control steps, summed over episodes; the iteration in which they are reached is completed.
        episodes: Episodes of an iteration, played together from their beginning to their end.
        denoising_steps: Number K' of last sampling steps that are fine-tuned; `None`: half of all K.
        eta: Fresh noise of the sampling steps of diffusion and flow models, 0 to 1 (`models.Sampler.eta`).
        sampling_std: Smallest standard deviation of a sampling step while episodes are played: exploration.
        density_std: Smallest standard deviation in the densities that the gradient is taken of: stability.
        noise_clip: Bound of the absolute standard normal noise of a sampling step; `None` clips nothing.
        gamma: Discount factor from one plan to the next.
        gamma_denoising: Discount factor of the advantage from the last sampling step towards the first.
        gae_lambda: λ of generalised advantage estimation.
        clip: Largest change of the probability ratio that counts, at the last sampling step.
        clip_first: The same at the first fine-tuned sampling step.
        clip_rate: Rate of the exponential interpolation between the two.
        log_density_low: Lower bound of the log density of one number.
        log_density_high: Upper bound of the log density of one number.
        learning_rate: Learning rate of the policy's AdamW.
        critic_learning_rate: Learning rate of the critic's AdamW.
        epochs: Passes over the experience of an iteration.
        batches: Batches of an epoch.
        critic_warmup: First iterations in which only the critic learns.
        critic_widths: Units of the critic's hidden layers.
        gradient_norm: Bound of the norm of the policy's gradient; `None` clips nothing.
        target_kl: Estimated divergence from the policy that played at which an iteration's updates end;
            `None`: never before their number is done.
        normalize_advantages: Whether advantages are shifted and scaled to mean 0 and variance 1 in each batch.
        scale_rewards: Whether rewards are divided by the running standard deviation of discounted sums of them.
        save_every: Iterations between checkpoints.
        seed: Random seed.
    """

    steps: int = 250_000
    episodes: int = 50
    denoising_steps: int | None = None
    eta: float = 1.0
    sampling_std: float = 0.1
    density_std: float = 0.1
    noise_clip: float | None = 3.0
    gamma: float = 0.99
    gamma_denoising: float = 0.95
    gae_lambda: float = 0.95
    clip: float = 0.1
    clip_first: float = 0.1
    clip_rate: float = 1.0
    log_density_low: float = -5.0
    log_density_high: float = 2.0
    learning_rate: float = 1e-5
    critic_learning_rate: float = 1e-3
    epochs: int = 10
    batches: int = 2
    critic_warmup: int = 1
    critic_widths: tuple[int, ...] = (256, 256, 256)
    gradient_norm: float | None = None
    target_kl: float | None = 1.0
    normalize_advantages: bool = True
    scale_rewards: bool = True
    save_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, episodes=self.episodes, epochs=self.epochs, batches=self.batches)
        at_least(1, save_every=self.save_every)
        at_least(0, critic_warmup=self.critic_warmup, clip_rate=self.clip_rate)
        if self.clip_rate > STEEPEST:
            raise RecipeError(f"expected clip_rate from 0 to {STEEPEST:g}, got {self.clip_rate}.")
        if self.denoising_steps is not None:
            at_least(1, denoising_steps=self.denoising_steps)
        positive(sampling_std=self.sampling_std, density_std=self.density_std, learning_rate=self.learning_rate)
        positive(critic_learning_rate=self.critic_learning_rate, clip=self.clip, clip_first=self.clip_first)
        for name in ("gamma", "gamma_denoising", "gae_lambda", "eta"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"expected {name} from 0 to 1, got {getattr(self, name)}.")
        for name in ("noise_clip", "gradient_norm", "target_kl"):
            if (number := getattr(self, name)) is not None:
                positive(**{name: number})
        if not -math.inf < self.log_density_low < self.log_density_high < math.inf:
            raise RecipeError(
                f"expected log_density_low below log_density_high, both finite, got {self.log_density_low} and "
                f"{self.log_density_high}."
            )
        if not self.critic_widths or min(self.critic_widths) < 1:
            raise RecipeError(f"expected at least one hidden layer of at least one unit, got {self.critic_widths}.")
