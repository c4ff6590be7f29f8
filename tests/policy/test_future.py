"""Policies of the family forcing: guided to goals by name, sampled in other ways, run on by themselves."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Actions, MinMax
from holdfast.errors import RecipeError
from holdfast.models import Diffusion, Forcing, ForcingSampler, Goal
from holdfast.nn import FilmMlp
from holdfast.policy import (
    Coordinates,
    Execution,
    Planner,
    Policy,
    PolicyInterface,
    PolicySpec,
    build_model,
    imagine,
    modelled_names,
    resampled,
    toward,
)
from holdfast.seeding import stream
from holdfast.types import Observation

SMALL = FilmMlp(widths=(16, 16), embedding=8, bounded=False)
FORCING = Forcing(SMALL, levels=20, sampler=ForcingSampler(steps=4))


def planner_of(model, interface=None):
    """Two readings, the first between −1 and 3, and one action."""
    spec = PolicySpec(
        n_states=2,
        n_actions=1,
        n_observed=2,
        codec=Actions(),
        model=model,
        n_obs_steps=2,
        horizon=8,
        execution=Execution(n_action_steps=2),
    )
    observations = torch.tensor([[-1.0, -2.0], [3.0, 2.0]], dtype=torch.float64)
    return Planner(
        spec,
        build_model(spec).eval(),
        observation_scale=MinMax.fit(observations),
        code_scale=MinMax.fit(torch.tensor([[-1.0], [1.0]], dtype=torch.float64)),
        interface=interface,
    )


@pytest.fixture
def policy():
    named = Coordinates(low=(-1.0, -2.0), high=(3.0, 2.0), names=("position_0", "position_1"))
    action = Coordinates(low=(-1.0,), high=(1.0,), names=("force",))
    return Policy(planner_of(FORCING, PolicyInterface(observation=named, state=named, action=action, n_robot=2)))


def test_a_goal_is_given_by_name_in_the_datas_units(policy):
    guided = toward(policy, {"position.1": 1.0}, std=0.2, steps=(3, 8))
    goal = guided.planner.model.guidance
    assert isinstance(goal, Goal)
    assert (goal.coordinates, goal.std, goal.frames) == ((1,), 0.2, (2, 7))
    assert goal.target == pytest.approx((0.5,))
    assert policy.planner.model.guidance is None
    assert modelled_names(policy) == ("position_0", "position_1")
    first = toward(policy, {"position_0": 0.0}).planner.model.guidance
    assert (first.coordinates, first.target, first.frames) == ((0,), (-0.5,), None)


def test_guided_plans_are_other_plans_of_the_same_weights(policy):
    seen = torch.zeros(2, dtype=torch.float64)
    plain = Policy(policy.planner, seed=3).predict_action_chunk(seen)
    guided = toward(Policy(policy.planner, seed=3), {"position_0": 1.0})
    assert not torch.equal(guided.predict_action_chunk(seen), plain)
    for one, other in zip(guided.planner.model.parameters(), policy.planner.model.parameters(), strict=True):
        assert one is other


def test_goals_that_are_not_modelled_are_refused(policy):
    with pytest.raises(RecipeError, match=r"'speed', which is not modelled\. Modelled are: position_0, position_1"):
        toward(policy, {"speed": 1.0})
    with pytest.raises(RecipeError, match="the goal is 99 steps ahead, but a sequence has"):
        toward(policy, {"position_0": 1.0}, steps=(99,))
    with pytest.raises(RecipeError, match="a goal at least 1 step ahead, got 0"):
        toward(policy, {"position_0": 1.0}, steps=(8, 0))
    other = Policy(planner_of(Diffusion(SMALL, levels=20)))
    for act in (lambda: toward(other, {"x": 1.0}), lambda: imagine(other, torch.zeros(2), 5)):
        with pytest.raises(RecipeError, match="Diffusion models actions, not the observations that follow them"):
            act()


def test_a_name_of_several_coordinates_is_refused(policy):
    interface = policy.interface
    twice = replace(interface, observation=replace(interface.observation, names=("x", "x [m]")))
    other = Policy(planner_of(FORCING, twice))
    with pytest.raises(RecipeError, match="the goal is on 'x', which is the name of 2 coordinates"):
        toward(other, {"x": 1.0})


def test_an_imagined_future_is_guided_as_the_policy_is(policy):
    """One pass of the horizon is one sequence of the guided model."""
    guided, seen = toward(policy, {"position_0": 3.0}), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    planner = guided.planner
    window = planner.model_input(planner.normalize(Observation(state=seen[:, None].expand(1, 2, 2)))).vector
    frames = planner.model.frames(window, rng=stream(4, "imagine"), guidance=planner.model.guidance)
    found = imagine(guided, seen, 8, seed=4).observations
    torch.testing.assert_close(found, planner.observation_scale.denormalize(frames.readings.double()))
    assert not torch.equal(found, imagine(policy, seen, 8, seed=4).observations)


def test_another_schedule_needs_no_other_weights(policy):
    seen, sampler = torch.zeros(2, dtype=torch.float64), ForcingSampler(steps=4, schedule="autoregressive", history=2)
    other = resampled(toward(policy, {"position_0": 1.0}), sampler)
    assert other.spec.model == replace(FORCING, sampler=sampler)
    assert other.planner.model.guidance is not None
    for one, same in zip(other.planner.model.parameters(), policy.planner.model.parameters(), strict=True):
        assert torch.equal(one, same)
    assert bool(other.predict_action_chunk(seen).isfinite().all())
    with pytest.raises(RecipeError, match="levels that are a multiple of the sampling steps"):
        resampled(policy, ForcingSampler(steps=7))


def test_an_imagined_future_is_in_the_datas_units(policy):
    """The same frames as the model's, taken back by the scales."""
    seen = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    future = imagine(policy, seen, 30, seed=4, context=2)
    assert future.observations.shape == (3, 30, 2)
    assert future.controllers.actions.shape == (3, 30, 1)
    low, high = torch.tensor([-1.0, -2.0]).double(), torch.tensor([3.0, 2.0]).double()
    assert bool(((future.observations >= low - 1e-6) & (future.observations <= high + 1e-6)).all())
    assert torch.equal(imagine(policy, seen, 30, seed=4, context=2).observations, future.observations)
    assert not torch.equal(imagine(policy, seen, 30, seed=5, context=2).observations, future.observations)
    one = imagine(policy, seen[0], 4)
    assert one.observations.shape == (1, 4, 2)


def test_a_replica_of_history_has_the_noise_that_was_asked_for(policy):
    """The level whose σ is nearest to 0.1 is nearer than its neighbours."""
    model = policy.planner.model
    level = model.level_of(0.1)
    errors = [abs(model.sigma_of(one) - 0.1) for one in range(20)]
    assert errors[level] == min(errors)
