"""Runs of study toy: how long each learner stays bounded, how its errors grow, and the bounds on both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...analysis.bounds import tvc_bound
from ...analysis.error_growth import Growth, growth
from ...control.systems import scalar
from ...envs import SystemEnvironment, rollout
from ...errors import RecipeError
from ...evaluation import Estimate, rate
from ...seeding import stream
from ...types import Trajectory
from ..engine.statistics import flat
from .learners import LEARNERS, LEVEL, SLOPE, STABLE, C, Learner, ToyPolicy, bounded_probability


@dataclass(frozen=True)
class ToyPlan:
    """Settings of the study.

    Attributes:
        epsilons: Errors of the learners on the data, below 0.1.
        times: Steps up to which runs are tested for boundedness; the last one is the length of a run.
        sigma: Std of the Gaussian observation noise of the smoothed mean learner.
    """

    epsilons: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01)
    times: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    runs: int = 10_000
    sigma: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.epsilons or not all(0 < eps < 1 / LEVEL for eps in self.epsilons):
            raise RecipeError(f"expected every epsilon above 0 and below {1 / LEVEL:g}, got {self.epsilons}.")
        if not self.times or min(self.times) < 1 or self.runs < 10:
            raise RecipeError(f"expected times from 1 on and at least 10 runs, got {self.times} and {self.runs}.")


@dataclass(frozen=True)
class ToyRuns:
    """Measurements of all learners.

    Attributes:
        rows: One wide row per learner, ε and time: the share of bounded runs, the promise, and the theorem's bound.
        growths: Growth of the distance to the expert of each learner, at one ε.
        means: Mean of each learner's runs at each step, with its interval, at that ε.
        laws: P[action without ε = 1] of the Bernoulli, rounded and smoothed learners over x.
    """

    plan: ToyPlan
    rows: list[dict[str, Any]]
    growths: dict[Learner, Growth]
    grown_eps: float
    means: dict[Learner, list[Estimate]]
    laws: list[dict[str, Any]]


def run_toy(plan: ToyPlan) -> ToyRuns:
    """Run all learners."""
    eps = plan.epsilons[len(plan.epsilons) // 2]
    return ToyRuns(
        plan=plan,
        rows=[row for learner in LEARNERS for error in plan.epsilons for row in _rows(plan, learner, error)],
        growths={learner: _growth(plan, learner, eps) for learner in LEARNERS},
        grown_eps=eps,
        means={learner: [_mean(at) for at in _states(plan, learner, eps).unbind(1)] for learner in LEARNERS},
        laws=_laws(plan),
    )


def _states(plan: ToyPlan, learner: Learner, eps: float) -> Float[Tensor, "b t"]:
    """States of runs from x = 0."""
    policy = ToyPolicy(learner, eps, sigma=plan.sigma)
    starts = torch.zeros(_count(plan, learner), 1, dtype=torch.float64)
    flown = rollout(policy, _environment(max(plan.times)), starts=starts, seed=plan.seed)
    return flown.trajectory.states[..., 0]


def _environment(steps: int) -> SystemEnvironment:
    return SystemEnvironment(scalar(STABLE), steps=steps, limit=1e9)


def _count(plan: ToyPlan, learner: Learner) -> int:
    """Number of runs: one for a deterministic learner."""
    return 1 if learner in ("mean", "rounded") else plan.runs


def _rows(plan: ToyPlan, learner: Learner, eps: float) -> list[dict[str, Any]]:
    # without a mistake states come within rounding of 10 ε, and not beyond
    inside: Bool[Tensor, "b t"] = _states(plan, learner, eps).abs() <= LEVEL * eps * (1 + 1e-9)
    so_far = inside.cummin(1).values
    found = list[dict[str, Any]]()
    for time in plan.times:
        share = _certain(so_far[0, time]) if len(so_far) == 1 else rate(so_far[:, time])
        bernoulli = learner in ("bernoulli", "smoothed rounded")
        found.append(
            {
                "learner": learner,
                "eps": eps,
                "time": time,
                **flat("bounded", share),
                "exact": bounded_probability(eps, time) if bernoulli else None,
                "promised": 1 - C * time * eps if bernoulli else None,
                "holds": share.high >= 1 - C * time * eps if bernoulli else None,
                "bound": _bound(plan, learner, eps, time),
                "episodes": len(so_far),
            }
        )
    return found


def _bound(plan: ToyPlan, learner: Learner, eps: float, time: int) -> float | None:
    """Bound of the talk's theorem on `L_marg,10ε`; `None` where the learner is not TVC."""
    match learner:
        case "mean" | "rounded":
            return None
        case "bernoulli" | "smoothed rounded":
            # at x = 0 both act by ε, which is the tolerance exactly
            bound = _tvc(eps, time, slope=SLOPE, wrong=0.0)
        case "smoothed mean":
            normal = torch.distributions.Normal(eps, SLOPE * plan.sigma)
            wrong = float(1 - normal.cdf(torch.tensor(eps)) + normal.cdf(torch.tensor(-eps)))
            bound = _tvc(eps, time, slope=1 / (2 * plan.sigma), wrong=wrong)
        case _:
            assert_never(learner)
    return bound


def _tvc(eps: float, time: int, *, slope: float, wrong: float) -> float:
    return tvc_bound(
        LEVEL * eps,
        alpha=STABLE,
        beta=1.0,
        steps=time,
        modulus=lambda radius: min(1.0, slope * radius),
        policy_error=lambda tolerance: time * wrong,
    ).value


def _growth(plan: ToyPlan, learner: Learner, eps: float) -> Growth:
    """Growth over 200 learners whose errors are within a factor of 2 of ε."""
    count, steps = 200, max(plan.times)
    spread = 2 ** (2 * torch.rand(count, dtype=torch.float64, generator=stream(plan.seed, "toy", "errors")) - 1)
    policy = ToyPolicy(learner, eps * spread, sigma=plan.sigma)
    starts = torch.zeros(count, 1, dtype=torch.float64)
    flown = rollout(policy, _environment(steps), starts=starts, seed=plan.seed)
    expert = Trajectory(
        actions=torch.zeros_like(flown.trajectory.actions), states=torch.zeros_like(flown.trajectory.states)
    )
    return growth(expert, flown.trajectory, lost=flown.lost, seed=plan.seed)


def _mean(values: Float[Tensor, " b"]) -> Estimate:
    """Mean with its normal interval; there are thousands of runs, whose rare mistakes are below 10 in size."""
    if len(values) == 1:
        return _certain(values[0])
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def _certain(value: Tensor) -> Estimate:
    """A number of a deterministic learner, which has no interval."""
    return Estimate(float(value), float(value), float(value))


def _laws(plan: ToyPlan, places: Sequence[float] = tuple(0.5 * i for i in range(1, 17))) -> list[dict[str, Any]]:
    """Share of actions 1 of each learner, over x."""
    found = list[dict[str, Any]]()
    for learner in ("bernoulli", "rounded", "smoothed rounded"):
        for x in places:
            policy = ToyPolicy(learner, 0.0, seed=plan.seed)
            share = rate(policy.drawn(torch.full((plan.runs,), x, dtype=torch.float64)) > 0.5)
            found.append(
                {"learner": learner, "x": x, **flat("share", share)}
                | {"exact": float(SLOPE * x >= 1) if learner == "rounded" else min(1.0, SLOPE * x)}
            )
    return found
