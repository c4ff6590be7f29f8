"""Arms of the quadrotor studies: how they differ, and their recipes.

The setting `holdfast` uses our best choices for each kind of arm; `published` those of the authors' code
(pfrommerd/stanza at b962d80), whose two defects are separate options.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from ...control import Dare, NoFeedback, Quadrotor2D, Receding, Tvlqr
from ...data import Actions, Affine
from ...errors import RecipeError
from ...models import Diffusion, Sampler
from ...nn import FilmMlp
from ...policy import Execution, PolicySpec
from ...recipe import Recipe, Training
from ..engine.jobs import key_of

Setting = Literal["holdfast", "published"]
Gains = Literal["none", "tvlqr", "dare", "receding"]
NoiseMode = Literal["none", "train", "replica"]


@dataclass(frozen=True)
class Arm:
    """One training.

    Attributes:
        gains: Synthesis of the primitive controllers; "none" clones raw actions.
        sigma: Std of the training noise on normalised observations.
        seed: Random seed for the choice of demonstrations, the weights, the batches and the deployment noise.
        film_defect: Published defect: one scalar FiLM bias per layer.
        range_defect: Published defect: executed gains are un-normalised with the range of another quantity, the
            Jacobian of the expert's law.
        steps: Number of updates. Default: the setting's own.
    """

    setting: Setting
    n_demos: int
    gains: Gains
    sigma: float
    seed: int
    film_defect: bool = False
    range_defect: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.setting != "published" and (self.film_defect or self.range_defect):
            raise RecipeError(
                f"the setting {self.setting!r} has no published defects. Choose the setting published, or omit the "
                "defects."
            )

    @property
    def key(self) -> str:
        return key_of(f"{self.gains}-n{self.n_demos}-sigma{self.sigma:g}-seed{self.seed}", self, recipe_of(self))


def recipe_of(arm: Arm) -> Recipe:
    """Recipe of an arm's training."""
    match arm.setting:
        case "holdfast":
            recipe = _holdfast(arm)
        case "published":
            recipe = _published(arm)
        case _:
            assert_never(arm.setting)
    if arm.steps is None:
        return recipe
    return replace(recipe, training=replace(recipe.training, steps=arm.steps))


def deployments(arm: Arm) -> dict[NoiseMode, Execution]:
    """Ways of deployment of an arm's policy: with the training noise (replica) and without it."""
    quiet = recipe_of(arm).policy.execution
    if arm.sigma == 0:
        return {"none": quiet}
    return {"train": quiet, "replica": replace(quiet, sigma_deploy=arm.sigma)}


def synthesis_of(arm: Arm) -> Tvlqr | Dare | Receding | NoFeedback:
    """Synthesis of an arm's gains: for the expert's cost in our setting, for unit weights in the published one."""
    weights = Quadrotor2D().weights()
    state, action = (tuple(float(value) for value in weight.diagonal()) for weight in weights)
    if arm.setting == "published":
        state, action = (1.0,) * len(state), (1.0,) * len(action)
    match arm.gains:
        case "none":
            return NoFeedback()
        case "tvlqr":
            return Tvlqr(state_weight=state, action_weight=action)
        case "dare":
            return Dare(state_weight=state, action_weight=action)
        case "receding":
            return Receding(state_weight=state, action_weight=action)
        case _:
            assert_never(arm.gains)


def _holdfast(arm: Arm) -> Recipe:
    # Each kind of arm has the best settings found on other starts and demonstrations than the study's. Raw actions
    # drift between plans, so they replan at every step; a wider network helps them most. Clipping helps where gains
    # take over outside the training range, and hurts raw actions, which have no feedback.
    raw = arm.gains == "none"
    widths = (256, 256, 256, 256) if raw else (256, 128, 128, 64)
    network = FilmMlp(widths=widths, activation="mish", linear_skip=True, bounded=False)
    spec = _spec(arm, n_obs_steps=1, model=Diffusion(network=network, sampler=Sampler(steps=5)))
    execution = Execution(n_action_steps=1 if raw else 4, clip_observation=None if raw else 1.0)
    training = Training(steps=3000, learning_rate=1e-3, sigma_train=arm.sigma, batch_size=64)
    return _recipe(arm, replace(spec, execution=execution), training)


def _published(arm: Arm) -> Recipe:
    network = FilmMlp(scalar_film_bias=arm.film_defect)
    model = Diffusion(network=network, sampler=Sampler(steps=100, eta=1.0), mask_padding=False)
    training = Training(
        steps=20_000, learning_rate=1e-4, warmup_steps=500, ema_decay=0.75, batch_size=128, sigma_train=arm.sigma
    )
    return _recipe(arm, _spec(arm, n_obs_steps=2, model=model), training)


def _spec(arm: Arm, *, n_obs_steps: int, model: Diffusion) -> PolicySpec:
    return PolicySpec(
        n_states=6,
        n_actions=2,
        n_observed=6,
        codec=Actions() if arm.gains == "none" else Affine(),
        model=model,
        n_obs_steps=n_obs_steps,
        horizon=8,
        execution=Execution(n_action_steps=4),
    )


def _recipe(arm: Arm, spec: PolicySpec, training: Training) -> Recipe:
    return Recipe(
        policy=spec,
        synthesis=synthesis_of(arm),
        training=training,
        n_demos=arm.n_demos,
        environment="quadrotor2d",
        seed=arm.seed,
    )
