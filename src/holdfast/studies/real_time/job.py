"""Trainings of study real-time: task, policy, seed, and the recipe of each.

Policies of the fork and the quadrotor plan chunks of H = 16 steps and execute s = 8 of them before the next plan is
asked for. A policy of Push-T or Avoid is trained here too, or is that of a run folder.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from ...control import NoFeedback, Quadrotor2D, Tvlqr
from ...data import Actions, Affine
from ...errors import RecipeError
from ...learn import default_recipe, load_recipe
from ...models import Family, Flow, FlowSampler, Mixture, Regression, Streaming
from ...nn import FilmMlp, ResidualMlp
from ...policy import Execution, PolicySpec
from ...policy.realtime import WAYS, Delay, Trained, check_learned
from ...recipe import Recipe, Training
from ..engine.jobs import key_of
from .tasks import DEMONSTRATIONS, FIRST_SEED, GUST, TaskName, demonstrations_of, environment_of

TrainedArm: TypeAlias = Literal[
    "flow",
    "flow-prefix",
    "flow-gains",
    "flow-one-side",
    "mixture",
    "mixture-one-side",
    "streaming",
    "regression",
    "one-step",
]
"""Policies that the study trains."""
ArmName: TypeAlias = TrainedArm | Literal["run"]
ONE_SIDE = ("flow-one-side", "mixture-one-side")
"""Policies that learn from the demonstrations of one side of the fork: no plan can be on the other side of the last."""

H, S = 16, 8
"""Steps of a chunk, and steps between two plans."""
HUMAN: tuple[TaskName, ...] = ("pusht", "pusht-noise", "avoid")
"""Tasks with demonstrations of people."""


@dataclass(frozen=True)
class RealTimeJob:
    """One training and its flights.

    Attributes:
        delays: Delays at which every way is run.
        starts: Number of starts.
        lag: Age of the observation that a one-step policy answers.
        run: Run folder of the policy, for the arm "run".
    """

    task: TaskName
    arm: ArmName
    seed: int
    updates: int
    starts: int
    delays: tuple[str, ...]
    lag: int = 0
    run: str = ""

    def __post_init__(self) -> None:
        # before the demonstrations are flown and anything is trained
        horizon, executed = self._sizes()
        learned = load_recipe(Path(self.run)).training.prefix_delays if self.run else ()
        for delay in self.delays:
            if (longest := Delay.parse(delay).largest) > min(executed, horizon - executed):
                raise RecipeError(
                    f"expected delays of at most {min(executed, horizon - executed)} steps, as {executed} of {horizon} "
                    f"steps are executed between plans, got {longest}. Lower "
                    f"{'--human-delays' if self.task in HUMAN else '--delays'}."
                )
            # every policy with clean first steps is also run in the way trained
            check_learned(Trained(), Delay.parse(delay), learned)

    def _sizes(self) -> tuple[int, int]:
        """Steps of a chunk, and steps between two plans."""
        if not self.run:
            return H, S
        spec = load_recipe(Path(self.run)).policy
        return spec.horizon, spec.execution.n_action_steps

    @property
    def key(self) -> str:
        lag = f"-lag{self.lag}" if self.arm == "one-step" else ""
        label = f"{self.task}-{self.arm}{lag}-seed{self.seed}"
        weights = hashlib.sha256((Path(self.run) / "model.safetensors").read_bytes()).hexdigest() if self.run else ""
        place = replace(self, run="")
        return key_of(
            label, place, recipe_of(self), weights, sorted(WAYS), GUST, FIRST_SEED, tuple(DEMONSTRATIONS.items())
        )


def recipe_of(job: RealTimeJob) -> Recipe:
    """Recipe of a training."""
    if job.run:
        return replace(load_recipe(Path(job.run)), data="")
    return _human_recipe(job) if job.task in HUMAN else _built_in_recipe(job)


def _built_in_recipe(job: RealTimeJob) -> Recipe:
    gains, once = job.arm == "flow-gains", job.arm == "one-step"
    size = 6 if job.task == "quadrotor2d" else 4
    execution = Execution(n_action_steps=1 if once else S, clip_observation=1.0 if gains else None)
    return Recipe(
        policy=PolicySpec(
            n_states=size,
            n_actions=2,
            n_observed=size,
            codec=Affine() if gains else Actions(),
            model=_family(job),
            n_obs_steps=1,
            horizon=1 if once else H,
            execution=execution,
        ),
        synthesis=_synthesis() if gains else NoFeedback(),
        training=_training(job),
        environment=job.task,
        seed=job.seed,
    )


def _training(job: RealTimeJob, sigma: float = 0.0) -> Training:
    return Training(
        steps=job.updates,
        batch_size=128,
        warmup_steps=min(100, job.updates // 2),
        ema_decay=0.995,
        prefix_delays=tuple(range(S + 1)) if job.arm == "flow-prefix" else (),
        sigma_train=sigma,
    )


def _human_recipe(job: RealTimeJob) -> Recipe:
    """Raw actions, or, on Avoid, controllers with gains; otherwise what all policies of the study have."""
    recipe = default_recipe(demonstrations_of(job.task, Path()), gains=job.arm == "flow-gains")
    sigma = 0.0 if job.task == "avoid" else 0.02
    execution = replace(recipe.policy.execution, n_action_steps=S, sigma_deploy=sigma)
    policy = replace(recipe.policy, model=_family(job), n_obs_steps=1, horizon=H, execution=execution)
    recipe = replace(recipe, policy=policy, training=_training(job, sigma))
    return replace(recipe, environment=environment_of(job.task), seed=job.seed)


_WIDTHS: Mapping[TaskName, int] = {"fork": 128, "quadrotor2d": 128, "pusht": 256, "pusht-noise": 256, "avoid": 256}


def _family(job: RealTimeJob) -> Family:
    residual = ResidualMlp(width=_WIDTHS[job.task], blocks=2)
    match job.arm:
        case "mixture" | "mixture-one-side":
            return Mixture(residual, components=8)
        case "streaming":
            return Streaming(residual)
        case "regression":
            return Regression(residual)
        case "flow" | "flow-prefix" | "flow-gains" | "flow-one-side" | "one-step":
            if job.task != "quadrotor2d":
                sampler = FlowSampler(steps=10, eta=1.0)
                return Flow(residual, prediction="sample", sampler=sampler, clean_prefix=job.arm == "flow-prefix")
            film = FilmMlp(widths=(256, 128, 128, 64), activation="mish", linear_skip=True, bounded=False)
            return Flow(film, prediction="sample", sampler=FlowSampler(steps=5))
        case "run":
            raise AssertionError("the family of a run is that of its recipe")
        case _:
            assert_never(job.arm)


def _synthesis() -> Tvlqr:
    """Gains for the expert's cost."""
    state, action = (tuple(float(value) for value in weight.diagonal()) for weight in Quadrotor2D().weights())
    return Tvlqr(state_weight=state, action_weight=action)
