"""What a policy's score owes to how it is run: one knob is turned, everything else is held, starts included.

    sigma_deploy      noise that the smoothed policy adds to normalised observations
    n_action_steps    steps executed before the next plan
    gains             factor of the feedback of the primitive controllers
    delay             control steps between choosing an action and executing it
    sensor_noise      noise of the sensors, in units of the normalised observation

Differences to the policy as it is are paired over starts. Nothing is trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Affine
from ..envs import Actor, Delayed
from ..errors import RecipeError
from ..evaluation import Evaluation, FixedStarts
from ..evaluation.intervals import Estimate, bootstrap
from ..policy import Execution, Policy
from .perturbed_policies import NoisyObservation, with_gains

__all__ = ["Knob", "Sweep", "knobs_of", "sweep"]


@dataclass(frozen=True)
class Knob:
    """Something about the way in which a policy is run.

    Attributes:
        name: As above.
        values: To try.
        own: The policy's own value.
        made: A value → the policy run so.
    """

    name: str
    values: tuple[float, ...]
    own: float
    made: Callable[[float], Actor]


@dataclass(frozen=True)
class Sweep:
    """What a knob does.

    Attributes:
        name: Of the knob.
        own: The policy's own value.
        values: Tried, rising.
        scores: Score of each start at each value.
        estimates: Their means, with intervals over starts.
        differences: Mean score less that at the policy's own value, paired over starts.
    """

    name: str
    own: float
    values: tuple[float, ...]
    scores: Float[Tensor, "k b"]
    estimates: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]

    @property
    def best(self) -> int:
        """Which value has the largest mean score."""
        return max(range(len(self.values)), key=lambda index: self.estimates[index].mean)


def knobs_of(policy: Actor, *, half_range: Float[Tensor, " d"] | None = None) -> list[Knob]:
    """The knobs that a policy has; one that is not Holdfast's own has a delay and, with a scale, sensors.

    Args:
        policy: To be run otherwise.
        half_range: Of each coordinate of the observation: the unit of sensor noise. A Holdfast policy knows its own.
    """
    knobs = [Knob("delay", (0.0, 1.0, 2.0, 3.0, 5.0), 0.0, lambda steps: Delayed(policy, round(steps)))]
    if isinstance(policy, Policy):
        half_range = policy.planner.observation_scale.half
        knobs = [*_execution_knobs(policy), *knobs]
    if half_range is not None:
        half = half_range
        knobs.append(
            Knob("sensor_noise", (0.0, 0.01, 0.02, 0.05, 0.1), 0.0, lambda s: NoisyObservation(policy, s * half))
        )
    return knobs


def sweep(
    starts: FixedStarts,
    knob: Knob,
    *,
    known: Evaluation | None = None,
    seed: int = 0,
    on_done: Callable[[], None] = lambda: None,
) -> Sweep:
    """Turn a knob.

    Args:
        starts: Where the policy is evaluated.
        knob: What is turned.
        known: Evaluation of the policy as it is, if it has been done before.
        seed: Of the policy's randomness, the same at every value.
        on_done: Called after each value's flights.

    Raises:
        RecipeError: Fewer than two values.
    """
    values = tuple(sorted({*knob.values, knob.own}))
    if len(values) < 2:
        raise RecipeError(f"expected at least two values of {knob.name}, got {list(values)}.")
    scores = list[Tensor]()
    for value in values:
        same = known is not None and value == knob.own
        scores.append(
            known.scores if known is not None and same else starts.evaluate(knob.made(value), seed=seed).scores
        )
        on_done()
    own = scores[values.index(knob.own)]
    return Sweep(
        name=knob.name,
        own=knob.own,
        values=values,
        scores=torch.stack(scores),
        estimates=tuple(bootstrap(score, seed=seed) for score in scores),
        differences=tuple(bootstrap(score - own, seed=seed) for score in scores),
    )


def _execution_knobs(policy: Policy) -> list[Knob]:
    execution, horizon = policy.spec.execution, policy.spec.horizon
    own = execution.sigma_deploy

    def smoothed(sigma: float) -> Policy:
        return _run(policy, replace(execution, sigma_deploy=sigma))

    def planning(steps: float) -> Policy:
        return _run(policy, replace(execution, n_action_steps=round(steps)))

    knobs = [Knob("sigma_deploy", (0.0, 0.01, 0.03, 0.1, 0.3), own, smoothed)]
    if not execution.stream and execution.ensemble is None and horizon > 1:
        knobs.append(Knob("n_action_steps", _halves(horizon), float(execution.n_action_steps), planning))
    if isinstance(policy.spec.codec, Affine):
        knobs.append(Knob("gains", (0.0, 0.5, 1.0, 1.5, 2.0), 1.0, lambda factor: with_gains(policy, factor)))
    return knobs


def _run(policy: Policy, execution: Execution) -> Policy:
    return Policy(policy.planner, execution=execution)


def _halves(horizon: int) -> tuple[float, ...]:
    values: Sequence[int] = [horizon]
    while values[-1] > 1:
        values = [*values, values[-1] // 2]
    return tuple(float(value) for value in values)
