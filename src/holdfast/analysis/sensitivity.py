"""Sensitivity of a policy's score to the way it is run: one setting is varied, all else is fixed, including starts.

    sigma_deploy      noise that the smoothed policy adds to normalised observations
    n_action_steps    steps executed before the next plan
    gains             factor of the feedback gains of the primitive controllers
    delay             transport delay: control steps between choosing an action and executing it
    inference_delay   control steps between an observation and the first action of the plan that answers it, while the
                      old plan runs on (`Naive`); with `_guided` or `_conditioned`, in the ways in which the new plan
                      continues the old one
    sensor_noise      sensor noise, in units of the normalised observation

Differences from the unchanged policy are paired over starts. Nothing is retrained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import feeds_back
from ..envs import Actor, Delayed
from ..errors import RecipeError
from ..evaluation import Evaluation, FixedStarts, mean_over_starts, over_starts
from ..evaluation.intervals import Estimate
from ..policy import Execution, Policy
from ..policy.realtime import Conditioned, Delay, Guided, Naive, RealTime, Way
from .perturbed_policies import NoisyObservation, with_gains


@dataclass(frozen=True)
class Setting:
    """A setting with which a policy is run.

    Attributes:
        name: Name of the setting.
        values: Values to evaluate.
        current: Value of the unchanged policy.
        apply: Function that returns the policy with a given value.
    """

    name: str
    values: tuple[float, ...]
    current: float
    apply: Callable[[float], Actor]


@dataclass(frozen=True)
class Sweep:
    """Score as a function of a setting.

    Attributes:
        name: Name of the setting.
        current: Value of the unchanged policy.
        values: Evaluated values in ascending order.
        scores: Score of each start at each value.
        estimates: Mean scores, with intervals over starts.
        differences: Differences of the mean score from that of the unchanged policy, paired over starts.
    """

    name: str
    current: float
    values: tuple[float, ...]
    scores: Float[Tensor, "k b"]
    estimates: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]

    @property
    def best(self) -> int:
        """Index of the value with the largest mean score."""
        return max(range(len(self.values)), key=lambda index: self.estimates[index].mean)


def settings_of(policy: Actor, *, half_range: Float[Tensor, " d"] | None = None) -> list[Setting]:
    """Settings of a policy. Every policy has `delay`; one without Holdfast plans has only this and `sensor_noise`.

    Args:
        policy: Policy.
        half_range: Half the range of each observation coordinate, the unit of `sensor_noise`. Default: the scale of a
            Holdfast policy; without a scale there is no `sensor_noise`.
    """
    settings = [Setting("delay", (0.0, 1.0, 2.0, 3.0, 5.0), 0.0, lambda steps: Delayed(policy, round(steps)))]
    if isinstance(policy, Policy):
        half_range = policy.planner.observation_range.half
        settings = [*_execution_settings(policy), *settings, *_inference_settings(policy)]
    if half_range is not None:
        half = half_range
        settings.append(
            Setting("sensor_noise", (0.0, 0.01, 0.02, 0.05, 0.1), 0.0, lambda s: NoisyObservation(policy, s * half))
        )
    return settings


def sweep(
    starts: FixedStarts,
    setting: Setting,
    *,
    baseline: Evaluation | None = None,
    seed: int = 0,
    on_done: Callable[[], None] = lambda: None,
) -> Sweep:
    """Evaluate a policy for each value of a setting.

    Args:
        starts: Fixed starts of the evaluation.
        setting: Setting to vary.
        baseline: Evaluation of the unchanged policy, if it exists.
        seed: Random seed of the policy, the same at every value.
        on_done: Called after each value.

    Raises:
        RecipeError: There are fewer than two values.
    """
    values = tuple(sorted({*setting.values, setting.current}))
    if len(values) < 2:
        raise RecipeError(f"expected at least two values of {setting.name}, got {list(values)}.")
    scores = list[Tensor]()
    for value in values:
        same = baseline is not None and value == setting.current
        scores.append(
            baseline.scores
            if baseline is not None and same
            else starts.evaluate(setting.apply(value), seed=seed).scores
        )
        on_done()
    own = scores[values.index(setting.current)]
    return Sweep(
        name=setting.name,
        current=setting.current,
        values=values,
        scores=torch.stack(scores),
        estimates=tuple(over_starts(score) for score in scores),
        differences=tuple(mean_over_starts(_difference(score, own)) for score in scores),
    )


def _difference(score: Float[Tensor, " b"], own: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Score − own of each start; 0 where both episodes were lost, whose returns are −∞."""
    return torch.where(score == own, 0.0, score - own)


def _execution_settings(policy: Policy) -> list[Setting]:
    execution, horizon = policy.spec.execution, policy.spec.horizon
    own = execution.sigma_deploy

    def smoothed(sigma: float) -> Policy:
        return _run(policy, replace(execution, sigma_deploy=sigma))

    def planning(steps: float) -> Policy:
        return _run(policy, replace(execution, n_action_steps=round(steps)))

    settings = [Setting("sigma_deploy", (0.0, 0.01, 0.03, 0.1, 0.3), own, smoothed)]
    if not execution.stream and execution.ensemble is None and horizon > 1:
        settings.append(Setting("n_action_steps", _halves(horizon), float(execution.n_action_steps), planning))
    if feeds_back(policy.spec.codec):
        settings.append(Setting("gains", (0.0, 0.5, 1.0, 1.5, 2.0), 1.0, lambda factor: with_gains(policy, factor)))
    return settings


def _inference_settings(policy: Policy) -> list[Setting]:
    """Inference delays that fit the chunk, in the ways that the model can; at 0, the policy as it is.

    A policy that was trained with clean first steps continues only as many as were trained, so that the ways in which
    it does have these delays. Policies that average plans, stream them or act under a delay already have no such
    setting: their present execution is not that of a delay of 0.
    """
    execution = policy.spec.execution
    delays = _delays(policy.spec.horizon, execution.n_action_steps)
    if execution.stream or execution.ensemble is not None or policy.realtime is not None or len(delays) < 2:
        return []
    ways: dict[str, Way] = {"inference_delay": Naive()}
    if policy.planner.generator.can_be_guided:
        ways["inference_delay_guided"] = Guided()
    if policy.planner.generator.conditioning == "exact":
        ways["inference_delay_conditioned"] = Conditioned()
    learned = policy.planner.prefix_delays
    fits = {name: _trained_delays(delays, learned) if way.continues else delays for name, way in ways.items()}
    return [Setting(name, fits[name], 0.0, _delaying(policy, way)) for name, way in ways.items() if len(fits[name]) > 1]


def _trained_delays(delays: Sequence[float], learned: Sequence[int]) -> tuple[float, ...]:
    """The delays that a policy has learned to continue, and 0; all of them where every number can be continued.

    Where none of the delays was trained, the trained numbers below the largest one stand for them.

    >>> _trained_delays((0.0, 2.0, 4.0), ()), _trained_delays((0.0, 2.0, 4.0), (0, 1, 2, 3))
    ((0.0, 2.0, 4.0), (0.0, 2.0))
    >>> _trained_delays((0.0, 2.0, 4.0), (1, 3, 9))
    (0.0, 1.0, 3.0)
    """
    if not learned:
        return tuple(delays)
    found = {delay for delay in delays if round(delay) in learned and delay > 0}
    found = found or {float(delay) for delay in learned if 0 < delay <= max(delays)}
    return (0.0, *sorted(found))


def _delaying(policy: Policy, way: Way) -> Callable[[float], Actor]:
    def delayed(steps: float) -> Policy:
        options = RealTime(Delay(round(steps)), way)
        return Policy(policy.planner, execution=policy.spec.execution, realtime=options)

    return delayed


def _delays(horizon: int, n_action_steps: int) -> tuple[float, ...]:
    """At most four delays d <= s <= H − d, and 0.

    >>> _delays(16, 8), _delays(32, 16), _delays(16, 15), _delays(8, 8)
    ((0.0, 2.0, 4.0, 6.0, 8.0), (0.0, 4.0, 8.0, 12.0, 16.0), (0.0, 1.0), (0.0,))
    """
    longest = min(n_action_steps, horizon - n_action_steps)
    step = 1 if longest < 2 else 2 * -(-longest // 8)
    return tuple(float(delay) for delay in range(0, longest + 1, step))


def _run(policy: Policy, execution: Execution) -> Policy:
    return Policy(policy.planner, execution=execution)


def _halves(horizon: int) -> tuple[float, ...]:
    values: Sequence[int] = [horizon]
    while values[-1] > 1:
        values = [*values, values[-1] // 2]
    return tuple(float(value) for value in values)
