"""Time: rates of the data and of the environment that differ, and responses to actions that are late or early.

The lag of the data is compared with that of the environment, which noise on the policy's actions shows. Their
difference d is what the recording, or the environment, adds:

    d > 0    the data pair an action with an observation from d steps before: run it with observations that late
    d < 0    the data pair it with a later observation, or the environment delays: run it with plans that far ahead
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from ....envs import Actor
from ....policy import Plans, Policy
from ....policy.base import Restarts
from ....types import Observation, Prefix, PrimitiveControllers
from .altered import EarlyPhase, LateObservation, LatePhase
from .cause import Cause, Confirmation
from .recorded import cause_of, shifted_clones
from .response import Response, response_of
from .scene import Scene

DIFFERS = 0.1
"""Smallest relative difference of two rates."""


def rates(scene: Scene) -> list[Cause]:
    """Steps of the data that last longer or shorter than those of the environment."""
    shown, dt = scene.subject.demonstrations, scene.subject.rollout.dt
    if shown is None or shown.dt is None or not dt > 0:
        return []
    ratio = shown.dt / dt
    if abs(ratio - 1) < DIFFERS:
        return []
    faster = f"{ratio:.3g} times as fast" if ratio > 1 else f"{1 / ratio:.3g} times as slow"
    return [
        Cause(
            check="rates",
            severity="warning",
            what=f"The data have a step every {shown.dt:.4g} s ({1 / shown.dt:.3g} Hz), the environment every {dt:.4g} "
            f"s ({1 / dt:.3g} Hz): it is stepped {faster}.",
            effect="Chunks are executed at another speed than demonstrated, and histories and delays have another "
            "length.",
            remedy=f"Run the policy at the rate of the data: hold each action for {shown.dt:.4g} s. Or resample the "
            f"data to {1 / dt:.3g} Hz. If one of the two rates is wrong, correct it.",
            values={"dt_data": shown.dt, "dt_environment": dt, "ratio": ratio},
            confirmed=_at_rate(scene, ratio),
        )
    ]


def _at_rate(scene: Scene, ratio: float) -> Confirmation:
    steps = round(max(ratio, 1 / ratio))
    if steps < 2:
        return Confirmation(test="The rates differ by less than a step, which holding actions cannot undo.")
    policy = scene.subject.policy
    if ratio > 1:
        return scene.trials.confirm(f"With each action held for {steps} steps", LatePhase(policy, steps))
    return scene.trials.confirm(f"With {steps} actions of the policy in each step", EarlyPhase(policy, steps))


def lags(scene: Scene) -> list[Cause]:
    """Actions that the observations of the data follow later, or earlier, than those of the environment."""
    shown, said = scene.shown, scene.finding("lag")
    data = None if shown is None else response_of(shown)
    # a lag of the data may be the environment's own, which its rollouts show
    here = None if scene.excited is None else response_of(scene.excited.episodes)
    if data is None or here is None or not (data.clear and here.clear):
        return [] if said is None else [cause_of(said, shifted_clones(scene, int(said.values["shift_actions"])))]
    if data.lag == here.lag or (data.lag < here.lag and scene.finding("reading") is not None):
        return []
    return [_late(scene, data, here) if data.lag > here.lag else _early(scene, data, here)]


def _late(scene: Scene, data: Response, here: Response) -> Cause:
    steps = data.lag - here.lag
    found = replace(
        _described(data, here, scene.subject.rollout.dt, steps),
        what=f"In the data the observation answers to an action {_count(steps)} later than in the environment "
        f"({_evidence(data, here)}): observations were recorded {_count(steps)} late, or actions that early.",
        remedy=f"Pair each action with the observation it was chosen for: train with --shift-actions {-steps}, or "
        "record both with the time at which they were valid.",
    )
    late = LateObservation(scene.subject.policy, steps)
    test = f"With observations {_count(steps)} late, as in the data"
    return replace(found, confirmed=_or_shifted(scene, scene.trials.confirm(test, late), -steps))


def _early(scene: Scene, data: Response, here: Response) -> Cause:
    steps = here.lag - data.lag
    found = replace(
        _described(data, here, scene.subject.rollout.dt, steps),
        what=f"In the data the observation answers to an action {_count(steps)} earlier than in the environment "
        f"({_evidence(data, here)}): the environment delays actions or observations by {_count(steps)}, or the "
        "recorded actions are readings that were taken afterwards.",
        remedy="Record the command instead of a reading. If it is the command, execute each plan from its step "
        f"{steps} on, or train with --shift-actions {steps}.",
    )
    return replace(found, confirmed=_or_shifted(scene, _ahead(scene, steps), steps))


def _or_shifted(scene: Scene, own: Confirmation, steps: int) -> Confirmation:
    """A test of the policy itself or, where that confirms nothing, of quick clones with and without the lag.

    A policy that was trained on late observations cannot always be helped by late observations: at the start of an
    episode they repeat, while the demonstrated actions go on.
    """
    if own.answer == "yes":
        return own
    return shifted_clones(scene, steps)


def _described(data: Response, here: Response, dt: float, steps: int) -> Cause:
    return Cause(
        check="lag",
        severity="warning",
        what="",
        effect=f"The policy reacts {steps * dt:.3g} s too late or too early; where the environment forgives this, for "
        "example because a servo holds its target, it costs little.",
        values={"lag_data": data.lag, "lag_environment": here.lag, "steps": data.lag - here.lag},
    )


def _evidence(data: Response, here: Response) -> str:
    return (
        f"lag {data.lag}, where the action explains {data.at(data.lag):.2f} of the remaining change, against lag "
        f"{here.lag}, with {here.at(here.lag):.2f}"
    )


def _count(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"


@dataclass
class AheadPlans:
    """Plans from which the first steps are cut; the last step is repeated in their place.

    Attributes:
        plans: Plans of a policy.
        steps: Number of steps to cut.
    """

    plans: Plans
    steps: int

    def restart(self) -> None:
        """Begin an episode."""
        if isinstance(self.plans, Restarts):
            self.plans.restart()

    def plan(self, window: Observation, *, rng: object, prefix: Prefix | None = None) -> PrimitiveControllers:
        """The later part of the plan."""
        made = self.plans.plan(window, rng=rng, prefix=prefix)  # pyright: ignore[reportArgumentType]

        def later(values: Float[Tensor, "b h *k"]) -> Float[Tensor, "b h *k"]:
            horizon = values.shape[1]
            return values[:, [min(index + self.steps, horizon - 1) for index in range(horizon)]]

        return PrimitiveControllers(actions=later(made.actions), states=later(made.states), gains=later(made.gains))


def ahead(policy: Policy, steps: int) -> Policy:
    """The policy whose plans begin some steps later."""
    made = Policy(policy.planner, execution=policy.spec.execution)
    made.executor.plans = AheadPlans(made.executor.plans, steps)
    return made


def _ahead(scene: Scene, steps: int) -> Confirmation:
    policy: Actor = scene.subject.policy
    if not isinstance(policy, Policy):
        return Confirmation(test="Only plans of a Holdfast policy can be executed ahead.")
    if steps >= policy.spec.horizon:
        return Confirmation(test=f"Plans of {policy.spec.horizon} steps do not reach {steps} steps ahead.")
    return scene.trials.confirm(f"With plans executed from step {steps} on", ahead(policy, steps))
