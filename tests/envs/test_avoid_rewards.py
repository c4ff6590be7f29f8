"""Obstacle avoidance with DPPO's rewards, against a scalar transcription of the rules, and its demonstrations."""

import itertools
import os
from pathlib import Path

import pytest
import torch

from holdfast.control.systems.avoid_course import AVOID_OBSTACLES, AVOID_ROD, mode_of
from holdfast.data import read
from holdfast.envs import make_environment
from holdfast.envs.avoid_expert import avoid_demonstrations
from holdfast.envs.avoid_rewards import demonstrations_of, modes_of_task
from holdfast.errors import RecipeError, UnknownNameError
from holdfast.seeding import stream

DATA = Path(os.environ.get("HOLDFAST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
AVOIDING = DATA / "avoiding" / "avoiding.npz"


def touches(before, after):
    """Whether the segment between two points comes closer to a cylinder than the rod's radius, by many points of it."""
    for share in range(101):
        x, y = (a + (b - a) * share / 100 for a, b in zip(before, after, strict=True))
        for cx, cy, radius in AVOID_OBSTACLES:
            if ((x - cx) ** 2 + (y - cy) ** 2) ** 0.5 < radius + AVOID_ROD:
                return True
    return False


def rewards_by_hand(path):
    """Rewards of the positions after the first: the reward of a step is computed before its gap is noted."""
    collided, left, noted, found = False, False, False, []
    for before, (x, y) in itertools.pairwise(path):
        collided = collided or touches(before, (x, y))
        if collided or x < 0.2 or x > 0.8:
            found.append(-0.1)
        else:
            found.append(float(left) + float(y > 0.4))
        if y >= 0.26 and not noted:
            noted, left = True, x < 0.35
    return found


def flown(name, commands):
    """Positions, rewards and steps of episodes whose commands `[b, t, 2]` are played."""
    environment = make_environment(name, len(commands))
    steps = [environment.reset(range(len(commands)))]
    for actions in commands.unbind(1):
        steps.append(environment.step(actions))
    positions = torch.stack([step.state[:, 2:4] for step in steps], 1)
    return positions, torch.stack([step.reward for step in steps[1:]], 1), steps


def played(episodes, *, steps=100):
    commands = torch.zeros(len(episodes), steps, 2, dtype=torch.float64)
    for index in range(len(episodes)):
        actions = episodes.trajectory(index).actions[:steps]
        commands[index, : len(actions)] = actions
    return commands


@pytest.fixture(scope="module")
def commands():
    """All ways of the expert, and the same with errors that make some touch a cylinder or leave the sides."""
    sound = played(avoid_demonstrations(24, rng=stream(0, "tests", "rewards")))
    noise = torch.randn(sound.shape, generator=stream(1, "tests", "rewards"), dtype=torch.float64)
    aside = torch.tensor([[[0.012, 0.004]], [[-0.012, 0.004]]], dtype=torch.float64).expand(2, 100, 2)
    return torch.cat([sound, sound + 0.006 * noise, aside])


@pytest.mark.parametrize("name", ["avoid-m1", "avoid-m2", "avoid-m3"])
def test_rewards_are_those_of_the_rules(commands, name):
    positions, rewards, steps = flown(name, commands)
    expected = torch.tensor([rewards_by_hand(path.tolist()) for path in positions], dtype=torch.float64)
    torch.testing.assert_close(rewards, expected, rtol=0, atol=1e-12)
    # all kinds of steps are there
    assert {-0.1, 0.0, 1.0, 2.0} == {round(float(one), 3) for one in rewards.flatten()}
    torch.testing.assert_close(steps[-1].success, (expected >= 2).any(1))


def test_nothing_ends_early_and_the_end_is_a_truncation(commands):
    _, rewards, steps = flown("avoid-m1", commands)
    assert len(steps) == 101
    assert not any(bool(step.over.any()) for step in steps[:-1])
    last = steps[-1]
    assert bool(last.truncated.all())
    assert not bool(last.terminated.any())
    assert bool(((rewards < 0).sum(1) > 1).any()), "a collision costs every later step"


def test_steps_after_the_end_have_no_reward(commands):
    environment = make_environment("avoid-m2", len(commands))
    environment.reset(range(len(commands)))
    for actions in commands.unbind(1):
        environment.step(actions)
    later = environment.step(commands[:, 0])
    assert not bool(later.reward.any())


def test_only_an_action_that_is_no_number_terminates():
    environment = make_environment("avoid-m3", 2)
    environment.reset([0, 1])
    step = environment.step(torch.tensor([[float("nan"), 0.0], [0.0, 0.01]]))
    assert step.terminated.tolist() == [True, False]
    assert step.truncated.tolist() == [False, False]
    assert step.reward.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("task", "modes"), [("m1", (12, 13)), ("m2", (12, 14)), ("m3", (12, 15))])
def test_demonstrations_take_the_two_ways(task, modes):
    """Right of the first cylinder, left of the second row, then the first gap or another."""
    assert modes_of_task(task) == modes
    episodes = avoid_demonstrations(10, rng=stream(2, "tests"), modes=modes)
    assert sorted(episodes.meta["modes"]) == [modes[0]] * 5 + [modes[1]] * 5
    for index in range(10):
        path = episodes.trajectory(index).states[:, 2:4]
        assert float(mode_of(path)) == episodes.meta["modes"][index]
    everything = avoid_demonstrations(48, rng=stream(3, "tests"))
    assert len(demonstrations_of(task, everything)) == 4


@pytest.mark.skipif(not AVOIDING.exists(), reason="needs D3IL's demonstrations in HOLDFAST_DATA or ../shared/data")
@pytest.mark.parametrize("task", ["m1", "m2", "m3"])
def test_of_the_human_demonstrations_there_are_eight(task):
    found = demonstrations_of(task, read(AVOIDING))
    assert len(found) == 8
    assert {float(mode_of(found.trajectory(index).states[:, 2:4])) for index in range(8)} == set(modes_of_task(task))


def test_unknown_tasks_and_modes_are_refused():
    with pytest.raises(UnknownNameError, match="m4"):
        modes_of_task("m4")
    for modes in ([], [24], [-1]):
        with pytest.raises(RecipeError, match="modes from 0 to 23"):
            avoid_demonstrations(2, rng=stream(0), modes=modes)
