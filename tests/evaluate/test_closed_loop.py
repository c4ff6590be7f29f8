"""A trained policy in its environment."""

from dataclasses import replace

import pytest
import torch

from holdfast.control import MpcExpert, scalar
from holdfast.errors import UnknownNameError
from holdfast.evaluate import ENVIRONMENTS, episode_steps, evaluate
from holdfast.learn import default_recipe, planner_of, prepare, train_to_end
from holdfast.policy import Policy
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.types import Episodes


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Clones the expert of the scalar system, which is stable whatever the policy does not do."""
    task = scalar()
    starts = task.initial_states(6, rng=stream(0, "tests", "scalar"))
    flights = MpcExpert(task, horizon=8).rollout(starts, 20)
    demos = Episodes.of(flights, dt=task.dt, system=task.name)
    recipe = replace(default_recipe(demos), training=Training(steps=150, batch_size=32, warmup_steps=10))
    data = prepare(recipe, demos)
    return Policy(planner_of(recipe, data, train_to_end(recipe, data)))


def test_fresh_starts_beside_the_expert(policy):
    done = []
    found = evaluate(policy, "scalar", episodes=4, on_step=done.append)
    assert set(found.estimates) == {"score", "distance", "diverged"}
    flown, expert = found.flights
    assert flown.states.shape == expert.states.shape == (4, 101, 1)
    assert torch.equal(flown.states[:, 0], expert.states[:, 0])
    assert done == list(range(1, 101))
    score = found.estimates["score"]
    assert score.low <= score.mean <= score.high
    assert score.mean == pytest.approx(1, abs=0.2)
    assert found.estimates["diverged"].mean == 0


def test_equal_seeds_repeat_and_others_fly_from_elsewhere(policy):
    first, again, other = (evaluate(policy, "scalar", episodes=3, seed=seed) for seed in (0, 0, 1))
    assert first.estimates == again.estimates
    assert torch.equal(first.flights[0].states, again.flights[0].states)
    assert not torch.equal(first.flights[0].states[:, 0], other.flights[0].states[:, 0])


def test_an_unknown_environment_lists_the_known(policy):
    with pytest.raises(UnknownNameError, match=r"'moon'\. Known: double_integrator, pusht, quadrotor2d, scalar"):
        evaluate(policy, "moon", episodes=1)
    with pytest.raises(UnknownNameError, match="moon"):
        episode_steps("moon")
    assert [episode_steps(name) for name in ENVIRONMENTS if name in ("quadrotor2d", "pusht")] == [100, 300]
