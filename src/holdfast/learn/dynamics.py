"""Dynamics for which gains are synthesised: those of a named system, or learned ones.

Simulated()                      the built-in system, Avoid tracker or MuJoCo task named in the data
LearnedLinear(), LearnedMlp()    fitted to demonstrations and to exploratory data with perturbed actions
"""

from dataclasses import replace
from typing import assert_never

from ..control import MUJOCO_PREFIX, SYSTEMS, System, fit_local_linear, fit_mlp, mujoco_system, system
from ..control.systems import Avoid, obstacle_system
from ..data import concatenate, read, without_columns
from ..errors import RecipeError
from ..recipe import LearnedLinear, LearnedMlp, Recipe, Simulated
from ..seeding import stream
from ..types import Episodes


def simulated(name: str | None) -> System | None:
    """System of a name in data; `None` if its dynamics are not known."""
    if name is None:
        return None
    if name in SYSTEMS:
        return system(name)
    if name == "avoid":
        return Avoid()
    if name == "obstacle":
        return obstacle_system()
    return mujoco_system(name.removeprefix(MUJOCO_PREFIX)) if name.startswith(MUJOCO_PREFIX) else None


def dynamics_of(recipe: Recipe, episodes: Episodes) -> System:
    """Dynamics of a recipe.

    Raises:
        RecipeError: The system of the data is not known, or has other states or actions.
        DataError: Dynamics cannot be learned because the actions are a function of the state.
    """
    match recipe.dynamics:
        case Simulated():
            return _simulated(episodes, type(recipe.synthesis).__name__)
        case LearnedLinear(neighbours=neighbours, exploration=exploration):
            return fit_local_linear(_with_exploration(episodes, exploration), neighbours=neighbours)
        case LearnedMlp(updates=updates, members=members, exploration=exploration):
            rng = stream(recipe.seed, "dynamics")
            seen = _with_exploration(episodes, exploration)
            return fit_mlp(seen, rng=rng, updates=updates, members=members)
        case _:
            assert_never(recipe.dynamics)


def _simulated(episodes: Episodes, method: str) -> System:
    found = simulated(episodes.system)
    if found is None:
        raise RecipeError(
            f"{method} needs dynamics, but the system of the data is {episodes.system or 'not recorded'}. Known: "
            f"{', '.join(SYSTEMS)}, avoid, obstacle, {MUJOCO_PREFIX}<id>. Use --synthesis none --codec actions where "
            "the actions are targets of a servo, or --dynamics linear with --exploration DATA to learn them."
        )
    if found.n_states != episodes.states.shape[1]:
        raise RecipeError(
            f"the states of {found.name} are {', '.join(found.state_names)}, but the data hold "
            f"{episodes.states.shape[1]} numbers per step. Record full states, or use --synthesis none --codec actions."
        )
    if found.n_actions != episodes.actions.shape[1]:
        raise RecipeError(
            f"{found.name} has {found.n_actions} actions, but the data hold {episodes.actions.shape[1]} per step, so "
            "its gains do not fit them. Choose its actions with --action, or use --synthesis none --codec actions."
        )
    return found


def _with_exploration(episodes: Episodes, exploration: str) -> Episodes:
    if not exploration:
        return episodes
    # only states and actions are used, so that the sets may differ in everything else
    sets = [episodes, read(exploration)]
    return concatenate(
        [without_columns(replace(part, observations=None, cameras={}, names={}, system=None)) for part in sets]
    )
