"""Imperfect synthesis oracles: gains from wrong dynamics, scaled, late, or none.

An imperfection of the synthesis changes the gains that a policy is trained on. One of the deployment leaves the trained
policy unchanged and alters the gains that it executes.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import Quadrotor2D, System, explore, fit_local_linear, fit_mlp, linearize, synthesize_episodes
from ...data import concatenate, without_columns
from ...envs import Actor
from ...learn import attach_controllers
from ...policy import Plans
from ...recipe import LearnedMlp, Recipe
from ...seeding import stream
from ...types import Episodes, Observation, Prefix, PrimitiveControllers


@dataclass(frozen=True)
class Perfect:
    """Gains of the true dynamics."""


@dataclass(frozen=True)
class WrongMass:
    """Gains for a vehicle `factor` times as heavy as the true one, along the demonstrated states and actions."""

    factor: float


@dataclass(frozen=True)
class Learned:
    """Gains for dynamics learned from the demonstrations and exploratory flights (`train --dynamics`)."""

    model: Literal["linear", "mlp"]


@dataclass(frozen=True)
class ScaledGains:
    """`factor · K` in the demonstrations; 0 is open loop along the reference."""

    factor: float


@dataclass(frozen=True)
class LateGains:
    """The gain of `steps` steps earlier in the same demonstration; at its beginning, the first gain."""

    steps: int


@dataclass(frozen=True)
class Absent:
    """No gains: raw actions, cloned with their best settings."""


@dataclass(frozen=True)
class ScaledFeedback:
    """True gains in training; `factor · K` at deployment."""

    factor: float


@dataclass(frozen=True)
class LateFeedback:
    """True gains in training; at deployment they act on the state of `steps` steps ago, plans on the current one."""

    steps: int


Oracle: TypeAlias = Perfect | WrongMass | Learned | ScaledGains | LateGains | Absent | ScaledFeedback | LateFeedback

_linalg = cast(Any, torch.linalg)  # its stubs leave eigenvalues untyped

# Exploratory flights: steps of each, demonstrated steps between their starts, noise on thrust [N] and torque [N m].
_SHORT, _APART, _NOISE = 10, 5, (0.5, 0.25)


def controllers_of(oracle: Oracle, recipe: Recipe, episodes: Episodes) -> PrimitiveControllers:
    """Controllers of the demonstrations, as the oracle gives them."""
    match oracle:
        case Perfect() | Absent() | ScaledFeedback() | LateFeedback():
            return attach_controllers(recipe, episodes)
        case WrongMass(factor=factor):
            true = Quadrotor2D()
            return synthesize_episodes(recipe.synthesis, replace(true, mass=factor * true.mass), episodes)
        case Learned(model=model):
            dynamics = learned_dynamics(model, episodes, seed=recipe.seed)
            return synthesize_episodes(recipe.synthesis, dynamics, episodes)
        case ScaledGains(factor=factor):
            true_ones = attach_controllers(recipe, episodes)
            return replace(true_ones, gains=factor * true_ones.gains)
        case LateGains(steps=steps):
            true_ones = attach_controllers(recipe, episodes)
            return replace(true_ones, gains=true_ones.gains[_earlier(episodes, steps)])
        case _:
            assert_never(oracle)


def _earlier(episodes: Episodes, steps: int) -> Tensor:
    """For each row, the row `steps` before it in its episode, or the episode's first."""
    first = episodes.starts.repeat_interleave(episodes.lengths)
    return torch.maximum(torch.arange(len(first)) - steps, first)


def explored(episodes: Episodes) -> Episodes:
    """The demonstrations and exploratory flights: ten noised actions from every fifth state.

    The actions are the demonstrated ones, without feedback, with noise of 0.5 N on the thrust, 0.25 N m on the torque.
    """
    task = Quadrotor2D()
    begins = torch.cat(
        [
            start + torch.arange(0, int(length) - _SHORT + 1, _APART)
            for start, length in zip(episodes.starts, episodes.lengths, strict=True)
        ]
    )
    rows = begins[:, None] + torch.arange(_SHORT)
    flown = explore(
        task,
        PrimitiveControllers.open_loop(episodes.actions[rows], episodes.states[rows]),
        episodes.states[begins],
        sigma=torch.tensor(_NOISE, dtype=torch.float64),
        rng=stream(0, "quadrotor study", "exploration"),
    )
    sets = [
        without_columns(replace(part, observations=None, cameras={}, names={}, system=None))
        for part in (episodes, flown)
    ]
    return concatenate(sets)


def learned_dynamics(model: Literal["linear", "mlp"], episodes: Episodes, *, seed: int) -> System:
    """Dynamics fitted to demonstrations and exploratory flights, as `train --dynamics` fits them."""
    seen = explored(episodes)
    if model == "linear":
        return fit_local_linear(seen)
    usual = LearnedMlp()
    return fit_mlp(seen, rng=stream(seed, "dynamics"), updates=usual.updates, members=usual.members)


@dataclass(frozen=True)
class ScaledPlans:
    """A planner whose gains are multiplied by `factor`."""

    plans: Plans
    factor: float

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """The plan with scaled gains."""
        chunk = self.plans.plan(window, rng=rng, prefix=prefix)
        return replace(chunk, gains=self.factor * chunk.gains)


class StaleState:
    """A policy whose controllers act on the state of some steps ago; its observations are current."""

    def __init__(self, policy: Actor, steps: int) -> None:
        self.policy = policy
        self.past: deque[Tensor] = deque(maxlen=steps + 1)

    def reset(self, seed: int | None = None) -> None:
        """Clear the stored states."""
        self.past.clear()
        self.policy.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action of the policy, with feedback from the oldest stored state."""
        self.past.append(state)
        return self.policy.act(observation, self.past[0])


def gain_error(given: PrimitiveControllers, true: PrimitiveControllers) -> float:
    """Median over steps of ‖K − K*‖ / ‖K*‖ (Frobenius)."""
    off = (given.gains - true.gains).square().sum((1, 2)) / true.gains.square().sum((1, 2))
    return float(off.sqrt().quantile(0.5))


def closed_loop_radius(controllers: PrimitiveControllers, *, late: int = 0) -> float:
    """Spectral radius of the true dynamics at hover under the last controller's gain, fed back `late` steps late.

        z_t = (x_t, x_{t−1}, …, x_{t−late}),   x_{t+1} = A x_t + B K x_{t−late}

    Below 1 hover is stable under the gain.
    """
    task = Quadrotor2D()
    along = linearize(task, *task.equilibrium())
    n = task.n_states
    loop = torch.zeros((late + 1) * n, (late + 1) * n, dtype=torch.float64)
    loop[n:, :-n] = torch.eye(late * n, dtype=torch.float64)
    loop[:n, :n] += along.A
    loop[:n, late * n :] += along.B @ controllers.gains[-1].double()
    return float(_linalg.eigvals(loop).abs().max())
