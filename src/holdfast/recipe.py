"""Everything that a run depends on, as one frozen value that is stored beside its weights."""

import math
from dataclasses import dataclass, field
from typing import Literal

from .control import Dare, NoFeedback, Receding, Tvlqr
from .data import Isotropic, NoiseLaw, check_noise_size
from .errors import RecipeError
from .policy import PolicySpec

__all__ = ["LearnedLinear", "LearnedMlp", "Recipe", "Simulated", "Training"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the parameters are fitted.

    Attributes:
        steps: Updates.
        batch_size: Windows an update, drawn with replacement from all control steps.
        learning_rate: Largest rate of AdamW, after the warm-up and before the cosine decay to zero.
        warmup_steps: Updates of linear warm-up.
        weight_decay: AdamW's decoupled decay.
        ema_decay: Largest decay of the exponential moving average of the parameters, which is what is deployed.
        sigma_train: Std of the noise on normalised observations.
        noise_law: Of that noise; others than the Gaussian are for reading published figures.
        save_every: Updates between checkpoints.
        precision: Of the matrix products in training; "bfloat16" halves their time on processors that compute in it
            (parameters, sums and the moving average stay float32), and is slow on others.
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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"expected {name} of at least 1, got {getattr(self, name)}.")
        if not 0 <= self.ema_decay < 1:
            raise RecipeError(f"expected an ema_decay in [0, 1), got {self.ema_decay}.")
        for name in ("sigma_train", "weight_decay", "warmup_steps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"expected {name} of 0 or above, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(f"expected a learning_rate above 0, got {self.learning_rate}.")


@dataclass(frozen=True)
class Simulated:
    """The dynamics that the data's system name stands for."""


@dataclass(frozen=True)
class LearnedLinear:
    """Dynamics learned by locally weighted linear regression (`control.fit_local_linear`).

    Attributes:
        exploration: A data set whose actions were perturbed, beside the demonstrations; "" for none.
        neighbours: Steps that a regression uses; three times its unknowns if nothing is said.
    """

    exploration: str = ""
    neighbours: int | None = None


@dataclass(frozen=True)
class LearnedMlp:
    """Dynamics learned by an ensemble of networks (`control.fit_mlp`).

    Attributes:
        exploration: A data set whose actions were perturbed, beside the demonstrations; "" for none.
        updates: Training steps of each network.
        members: Networks.
    """

    exploration: str = ""
    updates: int = 3000
    members: int = 3


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        policy: What is trained and how it is deployed.
        synthesis: How primitive controllers are attached to demonstrations.
        dynamics: What their gains are synthesised for.
        training: How the parameters are fitted.
        data: Where the demonstrations lie.
        n_demos: Train on this many episodes, chosen by the seed; `None` takes all that are not held out.
        held_out: Share of episodes kept out of training.
        environment: System or environment in which the run is evaluated; `None` where the data name none.
        seed: Of the choice of episodes, the first weights, the batches and the noise.
    """

    policy: PolicySpec
    synthesis: Tvlqr | Dare | Receding | NoFeedback = field(default_factory=NoFeedback)
    dynamics: Simulated | LearnedLinear | LearnedMlp = field(default_factory=Simulated)
    training: Training = field(default_factory=Training)
    data: str = ""
    n_demos: int | None = None
    held_out: float = 0.0
    environment: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_noise_size(self.training.noise_law, self.policy.n_observed)
