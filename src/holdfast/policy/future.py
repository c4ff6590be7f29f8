"""Policies that model the observations that follow: guided to a goal, run on by themselves, sampled in another way.

    policy = toward(load("runs/maze"), {"x": 7.5, "y": 1.5})       plans are guided to a place
    future = imagine(load("runs/maze"), {"observation.state": [1.5, 1.5]}, steps=320, seed=0)

These are policies of the family forcing (`models.forcing`). All quantities here are in the data's units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..models import Forcing, ForcingModel, ForcingSampler, Goal, imagined
from ..seeding import stream
from ..types import Observation, PrimitiveControllers
from .coordinate_names import split_unit, words_of
from .observed import ObservationLike, as_observation
from .planner import blank_model
from .pretrained import Policy


@dataclass(frozen=True)
class Future:
    """Episodes in which a policy acts, as its own model predicts them.

    Attributes:
        observations: Observations after each step.
        controllers: Composite action of each step.
    """

    observations: Float[Tensor, "b t d"]
    controllers: PrimitiveControllers


def toward(
    policy: Policy,
    goal: Mapping[str, float],
    *,
    std: float = 0.1,
    steps: tuple[int, ...] | None = None,
) -> Policy:
    """The same policy with plans that are guided to a goal on future observations.

    Storing it stores the policy without the goal.

    Args:
        policy: Policy of the family forcing.
        goal: Value of each coordinate of the goal, by its name in the training data (`policy.interface`), or by
            "observation <position>" where the data have no names.
        std: Standard deviation within which the goal is reached, in observations scaled to [-1, 1].
        steps: Steps ahead at which the goal holds, from 1 to the horizon. Default: the last.

    Raises:
        RecipeError: The policy models no observations, or not this coordinate, or not so far ahead; or
            several coordinates have the name.
    """
    model = _forcing(policy)
    columns = _columns(modelled_names(policy), goal)
    if steps is not None and (odd := [step for step in steps if step < 1]):
        raise RecipeError(f"expected a goal at least 1 step ahead, got {odd[0]}.")
    scale = policy.planner.observation_scale
    place = torch.zeros(len(scale.low), dtype=torch.float64)
    place[list(columns)] = torch.tensor(list(goal.values()), dtype=torch.float64)
    target = tuple(float(value) for value in scale.normalize(place[None])[0, list(columns)])
    frames = None if steps is None else tuple(step - 1 for step in steps)
    made = model.guided_by(Goal(columns, target, std=std, frames=frames))
    return _with_model(policy, made)


def resampled(policy: Policy, sampler: ForcingSampler) -> Policy:
    """The same weights with other options of sampling, for example another schedule or history level.

    Raises:
        RecipeError: The policy is of another family, or the options do not fit its levels.
    """
    model = _forcing(policy)
    options = replace(model.options, sampler=sampler)
    spec = replace(policy.planner.spec, model=options)
    made = blank_model(spec)
    made.load_state_dict(model.state_dict(), assign=True)
    device = next(model.parameters()).device
    planner = replace(policy.planner, spec=spec, model=made.to(device).eval())
    return _guided_as(model, Policy(planner, execution=policy.spec.execution, realtime=policy.realtime))


def imagine(policy: Policy, observation: ObservationLike, steps: int, *, seed: int = 0, context: int = 0) -> Future:
    """The future of episodes as the policy models it, of any length: nothing is simulated.

    A policy that is guided to a goal (`toward`) is guided here too: the goal holds in each pass of the model by itself.

    Args:
        policy: Policy of the family forcing that sees readings alone.
        observation: First observation `[d]` or `[b, d]`, which fills the window.
        steps: Control steps.
        seed: Random seed.
        context: Steps of the pass before that each pass is given; see `models.imagined`.

    Raises:
        RecipeError: The policy models no observations, or sees pictures or instructions.
    """
    model, planner = _forcing(policy), policy.planner
    seen = as_observation(observation, policy.spec, policy.interface)
    vector = seen.vector if seen.state.dim() == 2 else seen.vector[None]
    window = Observation(state=vector[:, None].expand(-1, policy.spec.n_obs_steps, -1))
    normal = planner.model_input(planner.normalize(window)).vector
    rng = stream(seed, "imagine", device=normal.device)
    frames = imagined(model, normal, steps, rng=rng, context=context, guidance=model.guidance)
    readings = planner.observation_scale.denormalize(frames.readings.to(vector))
    return Future(readings, planner.controllers(frames.actions, like=vector))


def modelled_names(policy: Policy) -> tuple[str, ...]:
    """Names of the observation's coordinates that a policy of the family forcing models."""
    count = _forcing(policy).sizes.readings
    interface = policy.interface
    if interface is None:
        return tuple(f"observation {place}" for place in range(count))
    return tuple(interface.observation.called(place, quantity="observation") for place in range(count))


def _columns(names: tuple[str, ...], goal: Mapping[str, float]) -> tuple[int, ...]:
    """Positions of the coordinates of a goal."""
    keys = [_key(name) for name in names]
    for name in goal:
        if (count := keys.count(_key(name))) != 1:
            reason = "which is not modelled" if count == 0 else f"which is the name of {count} coordinates"
            raise RecipeError(f"the goal is on {name!r:.80}, {reason}. Modelled are: {', '.join(names)}.")
    return tuple(keys.index(_key(name)) for name in goal)


def _key(name: str) -> tuple[str, ...]:
    return words_of(split_unit(name)[0]) or (name,)


def _forcing(policy: Policy) -> ForcingModel:
    model = policy.planner.model
    if policy.spec.n_encoded != policy.spec.n_observed:
        raise RecipeError(
            "the policy sees rotations as six numbers, which are no coordinates of the data: its future cannot be "
            "continued or guided. Train it on rotations as they are recorded."
        )
    if isinstance(model, ForcingModel):
        return model
    _refuse(policy)


def _refuse(policy: Policy) -> NoReturn:
    if isinstance(policy.spec.model, Forcing):
        raise RecipeError(
            "the policy sees pictures or follows instructions, which are no readings: its future cannot be continued "
            "or guided. Train it on readings alone."
        )
    raise RecipeError(
        f"{type(policy.spec.model).__name__} models actions, not the observations that follow them. Train with: "
        "holdfast train DATA --family forcing"
    )


def _with_model(policy: Policy, model: ForcingModel) -> Policy:
    planner = replace(policy.planner, model=model)
    return Policy(planner, execution=policy.spec.execution, realtime=policy.realtime)


def _guided_as(model: ForcingModel, policy: Policy) -> Policy:
    return policy if model.guidance is None else _with_model(policy, _forcing(policy).guided_by(model.guidance))
