"""Models of one control step with which `--realtime forward` predicts the state at which a plan arrives.

known      the environment's own `following`, without random disturbances
learned    (o, x)' = (o, x) + Δ(o, x, u)              `control.fit_mlp` on the run's training episodes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..control import System, fit_mlp, transitions
from ..data import split, without_columns
from ..envs import Environment
from ..errors import DataError
from ..policy.realtime import Rolls
from ..recipe import Recipe
from ..seeding import stream
from ..types import Episodes, Observation
from .data_sizes import check_data_sizes
from .preparation import choose_episodes

SHARE = 0.1
"""Share of the training episodes on which a learned model is checked, where the run holds none out."""


@dataclass(frozen=True, eq=False)
class KnownRolling:
    """The dynamics of an environment, without random disturbances.

    Attributes:
        dynamics: Model of one control step.
        name: Name of the environment.
    """

    dynamics: Rolls
    name: str

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observations and feedback states after an action."""
        return self.dynamics.following(observation, state, action)

    @property
    def sentence(self) -> str:
        """Which model it is."""
        return f"forward: the known dynamics of {self.name}, without random disturbances"

    @property
    def about(self) -> Mapping[str, Any]:
        """What it is, for a result."""
        return {"dynamics": "known"}


@dataclass(frozen=True, eq=False)
class LearnedRolling:
    """Learned model of one control step of the observation, and of the feedback state where that is another one.

    Attributes:
        system: Model of the observation's vector, followed by the feedback state if `apart`.
        apart: The feedback state is not the observation.
        error: Error of single steps on held-out episodes, as a fraction of the steps themselves.
    """

    system: System
    apart: bool
    error: float

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observations and feedback states after an action."""
        seen = observation.vector.to(state)
        if not self.apart:
            moved = self.system.step(seen, action)
            return Observation(state=moved), moved
        moved = self.system.step(torch.cat([seen, state], dim=-1), action)
        size = seen.shape[-1]
        return Observation(state=moved[..., :size]), moved[..., size:]

    @property
    def sentence(self) -> str:
        """Which model it is, and how good."""
        what = "observation and feedback state" if self.apart else "observation"
        return (
            f"forward: dynamics of the {what}, learned from the training data; the error of one step on held-out "
            f"episodes is {self.error:.3f} of the step (root mean square)"
        )

    @property
    def about(self) -> Mapping[str, Any]:
        """What it is, and how good, for a result."""
        return {"dynamics": "learned", "dynamics_error": self.error}


Rolling = KnownRolling | LearnedRolling
"""Model of one control step that says what it is."""


def known_rolling(recipe: Recipe, environment: Environment) -> KnownRolling | None:
    """The dynamics of an environment of one episode, if they are known and the policy observes what it shows.

    Args:
        recipe: Recipe of the policy.
        environment: Environment, which is begun anew.
    """
    if not isinstance(environment, Rolls):
        return None
    first, spec = environment.reset([0]), recipe.policy
    sizes = first.observation.vector.shape[1], first.state.shape[1]
    return KnownRolling(environment, environment.name) if sizes == (spec.n_observed, spec.n_states) else None


def learned_rolling(
    recipe: Recipe, episodes: Episodes, *, updates: int = 3000, progress: Callable[[int], None] = lambda done: None
) -> LearnedRolling:
    """A model fitted to the training episodes of a recipe.

    Actions that are a function of the state are accepted: the model predicts what follows the policy's own actions,
    which are like those of the demonstrations. It need not be good for other ones.

    Raises:
        DataError: There are fewer than two episodes, or none has a second step.
        RecipeError: The episodes are not those of the recipe's policy.
    """
    training, held_out = choose_episodes(recipe, episodes)
    rng = stream(recipe.seed, "rolling")
    if not len(held_out):
        if len(training) < 2:
            raise DataError("dynamics are learned from one part of the episodes and checked on another: expected 2.")
        training, held_out = split(training, held_out=SHARE, rng=rng)
    (fitted, apart), (checked, _) = _joined(training), _joined(held_out)
    check_data_sizes(recipe.policy, training)
    model = fit_mlp(fitted, rng=rng, updates=updates, least_excitation=0.0, progress=progress)
    return LearnedRolling(model, apart, _error(model, checked))


def _joined(episodes: Episodes) -> tuple[Episodes, bool]:
    """Episodes whose state is the observation, followed by the feedback state where that is another one."""
    seen, states = episodes.observed.vector.double(), episodes.states.double()
    apart = seen.shape != states.shape or not torch.equal(seen, states)
    joined = torch.cat([seen, states], dim=-1) if apart else states
    # final states have no observation beside them
    final = None if apart else episodes.final_states
    bare = replace(episodes, observations=None, cameras={}, names={}, system=None, states=joined, final_states=final)
    return without_columns(bare), apart


@torch.no_grad()
def _error(model: System, episodes: Episodes) -> float:
    """√(Σ |(Δx − Δx̂) / s|² / Σ |Δx / s|²), where s is the standard deviation of each coordinate."""
    steps = transitions(episodes)
    spread = steps.states.std(0)
    scale = torch.where(spread > 0, spread, 1)
    missed = (steps.states + steps.changes - model.step(steps.states, steps.actions)) / scale
    return float((missed.square().sum() / (steps.changes / scale).square().sum().clamp(min=1e-300)).sqrt())
