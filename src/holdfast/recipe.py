"""Recipes: everything that a training run depends on, as one immutable value that is stored with the weights."""

import math
from dataclasses import dataclass, field
from typing import Literal

from .control import Dare, NoFeedback, Receding, Tvlqr
from .data import Isotropic, NoiseLaw, Preparation, Selection, Waypoints, check_noise_size
from .errors import RecipeError, at_least, positive
from .models import Diffusion, Flow
from .policy import LARGEST_NUMBER, PolicySpec, check_recipe_numbers
from .schema import to_plain


@dataclass(frozen=True, kw_only=True)
class Training:
    """Optimisation of the parameters.

    Attributes:
        steps: Number of updates.
        batch_size: Windows per update, drawn with replacement from all control steps.
        learning_rate: Peak learning rate of AdamW, after the warm-up and before the cosine decay to zero.
        warmup_steps: Number of updates of linear warm-up.
        weight_decay: AdamW's decoupled weight decay.
        ema_decay: Largest decay of the exponential moving average (EMA) of the parameters; the average is deployed.
        sigma_train: Scale σ of the noise on normalised observations; its standard deviation for isotropic noise.
        noise_law: Law of the noise of unit scale.
        save_every: Number of updates between checkpoints.
        precision: Precision of matrix products in training. "bfloat16" halves their time on processors that support
            it, and is slow on others; parameters, sums and the moving average stay float32.
        prefix_delays: Numbers of first steps that a model with `clean_prefix` is given without noise, drawn with equal
            probability for each window: the delays for which a plan can continue the running one. Empty: none.
        encoder_learning_rate: Peak learning rate of the encoders of pictures. Default: `learning_rate`.
    """

    steps: int = 5000
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 250
    weight_decay: float = 1e-5
    ema_decay: float = 0.995
    sigma_train: float = 0.0
    noise_law: NoiseLaw = field(default_factory=Isotropic)
    save_every: int = 1000
    precision: Literal["float32", "bfloat16"] = "float32"
    prefix_delays: tuple[int, ...] = ()
    encoder_learning_rate: float | None = None

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, batch_size=self.batch_size, save_every=self.save_every)
        if self.batch_size > LARGEST_NUMBER:
            raise RecipeError(f"expected batch_size of at most {LARGEST_NUMBER}, got {self.batch_size}.")
        if not 0 <= self.ema_decay < 1:
            raise RecipeError(f"expected an ema_decay in [0, 1), got {self.ema_decay}.")
        for name in ("sigma_train", "weight_decay", "warmup_steps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"expected {name} of 0 or above, got {getattr(self, name)}.")
        positive(learning_rate=self.learning_rate)
        if self.encoder_learning_rate is not None:
            positive(encoder_learning_rate=self.encoder_learning_rate)
        if any(delay < 0 for delay in self.prefix_delays):
            raise RecipeError(f"expected prefix_delays of 0 or more steps, got {_listed(self.prefix_delays)}.")


@dataclass(frozen=True)
class Simulated:
    """Dynamics of the system that the data name."""


@dataclass(frozen=True)
class LearnedLinear:
    """Dynamics learned by locally weighted linear regression (`control.fit_local_linear`).

    Attributes:
        exploration: Data set with perturbed actions, used in addition to the demonstrations; "" for none.
        neighbours: Number of steps in each regression. Default: three times its number of unknowns.
    """

    exploration: str = ""
    neighbours: int | None = None


@dataclass(frozen=True)
class LearnedMlp:
    """Dynamics learned by an ensemble of networks (`control.fit_mlp`).

    Attributes:
        exploration: Data set with perturbed actions, used in addition to the demonstrations; "" for none.
        updates: Number of updates of each network.
        members: Number of networks.
    """

    exploration: str = ""
    updates: int = 3000
    members: int = 3

    def __post_init__(self) -> None:
        at_least(1, updates=self.updates, members=self.members)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        policy: Model and execution.
        synthesis: Method that attaches primitive controllers to demonstrations.
        dynamics: Dynamics for which the gains are synthesised.
        training: Optimisation settings.
        data: Path of the demonstrations.
        selection: Keys and episodes that are read from the data.
        preparation: Selection, shift and weights of the demonstrations after reading.
        n_demos: Number of training episodes, chosen by the seed; `None` takes all that are not held out.
        held_out: Fraction of episodes held out from training.
        environment: Environment in which the run is evaluated; `None` if the data name none.
        seed: Random seed for the choice of episodes, initial weights, batches and noise.
    """

    policy: PolicySpec
    synthesis: Tvlqr | Dare | Receding | NoFeedback = field(default_factory=NoFeedback)
    dynamics: Simulated | LearnedLinear | LearnedMlp = field(default_factory=Simulated)
    training: Training = field(default_factory=Training)
    data: str = ""
    selection: Selection = field(default_factory=Selection)
    preparation: Preparation = field(default_factory=Preparation)
    n_demos: int | None = None
    held_out: float = 0.0
    environment: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_recipe_numbers(to_plain(self))
        check_noise_size(self.training.noise_law, self.policy.n_encoded)
        self._check_prefix()
        if isinstance(self.policy.codec, Waypoints):
            self._check_waypoints(self.policy.codec)

    def _check_waypoints(self, codec: Waypoints) -> None:
        without = isinstance(self.synthesis, NoFeedback)
        if codec.plans_stiffness and without:
            raise RecipeError(
                f"a stiffness_range of {codec.stiffness_range:g} plans a stiffness that is learned from gains, but the "
                "synthesis is NoFeedback. Add a synthesis (--synthesis tvlqr), or set stiffness_range to 1."
            )
        if not codec.plans_stiffness and not without:
            raise RecipeError(
                f"way-points with a fixed stiffness use no gains of the synthesis {type(self.synthesis).__name__}. Use "
                "--synthesis none, or plan the stiffness (--stiffness-range above 1)."
            )

    def _check_prefix(self) -> None:
        delays, model = self.training.prefix_delays, self.policy.model
        takes = isinstance(model, Diffusion | Flow) and model.clean_prefix
        name = type(model).__name__
        if delays and not takes:
            raise RecipeError(
                f"training has prefix_delays {_listed(delays)}, but this {name} takes no clean first steps. Set "
                "clean_prefix of a diffusion or flow model to true, or remove prefix_delays. train --prefix-delays "
                "sets both."
            )
        if takes and not delays:
            raise RecipeError(
                f"this {name} takes clean first steps (clean_prefix), but training has no prefix_delays. Give the "
                "delays, for example 0, 1, 2, 3 and 4, or set clean_prefix to false. train --prefix-delays sets both."
            )
        if delays and max(delays) >= self.policy.horizon:
            raise RecipeError(
                f"expected prefix_delays below the horizon of {self.policy.horizon} steps, so that a step is left to "
                f"be planned, got {_listed(delays)}. Lower them, or train with horizon > {max(delays)}."
            )


def _listed(delays: tuple[int, ...]) -> str:
    return ", ".join(map(str, delays))
