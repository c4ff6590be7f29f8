"""Recorded episodes again: what succeeds by states and by actions, and where a replay parts from its recording."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

from holdfast import write
from holdfast.cli import main
from holdfast.control import scalar
from holdfast.envs import Environment, PlainPolicy, Step, SystemEnvironment, make_environment, rollout
from holdfast.envs.obstacle import obstacle_demonstrations
from holdfast.errors import DataError, RecipeError
from holdfast.evaluation.replay import recorded_states, replay_actions, replay_states
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation


class Line(Environment):
    """x' = x + u, solved from x = 3 on; its state is recorded as the simulator's, x is observed as `place`."""

    name, dt, steps, n_actions, restorable = "line", 0.1, 20, 1, True
    names = MappingProxyType({"state": ("place",), "observation.state": ("place",)})

    def __init__(self, *, recognizes=True, drift=0.0):
        self.drift = drift
        if recognizes:
            self.solved_here = lambda: self.x[:, 0] >= 3

    def reset(self, starts):
        self.x = starts.clone()
        self.solved = torch.zeros(len(self.x), dtype=torch.bool)
        return self.shown()

    def step(self, actions):
        self.x = self.x + actions + self.drift
        self.solved = self.solved | (self.x[:, 0] >= 3)
        return self.shown()

    def get_state(self):
        return self.x

    def shown(self):
        step = Step.first(Observation(state=self.x), self.x)
        return replace(step, success=self.solved, terminated=self.solved)


def walks(*starts):
    """Two steps of 1 from each start: states x, x + 1; x + 2 is not recorded."""
    states = torch.tensor([[start, start + 1.0] for start in starts], dtype=torch.float64).reshape(-1, 1)
    lengths = torch.full((len(starts),), 2)
    set_ = Episodes(actions=torch.ones_like(states), states=states, lengths=lengths, dt=0.1)
    return replace(
        set_, names={"state": ("place",), "observation.state": ("place",)}, columns={"simulator_state": states}
    )


@pytest.mark.parametrize("recognizes", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_by_states_with_the_step_after_the_last_one(recognizes, count):
    """From 0 the walk ends at 2, from 1 with its last action at 3, from 2 its second state is 3."""
    episodes = walks(0.0, 1.0, 2.0)
    environment, rows = Line(recognizes=recognizes), []
    states = recorded_states(episodes, environment, count=count)
    solved = replay_states(episodes, environment, states, count=count, progress=rows.append)
    assert solved.tolist() == [False, True, True]
    assert rows[-1] == 6


def test_only_the_last_action_counts_where_states_are_recognized():
    """The first action of the walk from 2 leads to 3, whose own state, moved here, is not solved."""
    episodes = walks(2.0)
    moved = torch.tensor([[2.0], [0.0]], dtype=torch.float64)
    assert replay_states(episodes, Line(), moved, count=1).tolist() == [False]
    assert replay_states(episodes, Line(recognizes=False), moved, count=1).tolist() == [True]


@pytest.mark.parametrize("count", [1, 2])
def test_by_actions_they_part_where_they_differ(count):
    """A drift of 0.1 a step, on a range of 3 from 0 to 3: after one step it is a share of 1/30."""
    episodes = walks(0.0, 2.0)
    states = episodes.columns["simulator_state"]
    same = replay_actions(episodes, Line(), states, count=count, tolerance=0.01)
    assert (same.parted.tolist(), same.coordinate, same.solved.tolist()) == ([-1, -1], ("", ""), [False, True])
    assert same.deviation.tolist() == [0.0, 0.0]
    drifting = replay_actions(episodes, Line(drift=0.1), states, count=count, tolerance=0.03)
    # the second episode is solved, so over, with its first action
    assert (drifting.parted.tolist(), drifting.coordinate) == ([1, -1], ("place", ""))
    assert float(drifting.deviation[0]) == pytest.approx(1 / 30)
    assert replay_actions(episodes, Line(drift=0.1), states, count=1, tolerance=0.04).parted.tolist() == [-1, -1]


def test_actions_are_clipped_as_in_a_rollout():
    environment = Line()
    environment.action_bounds = (torch.tensor([-0.5]), torch.tensor([0.5]))
    episodes = walks(0.0)
    found = replay_actions(episodes, environment, episodes.columns["simulator_state"], count=1, tolerance=0.01)
    assert found.clipped.tolist() == [2]
    # half a step on a range of 1
    assert float(found.deviation[0]) == 0.5


def test_a_rollout_of_a_system_is_followed_exactly_and_shifted_actions_are_not():
    found = rollout(
        PlainPolicy(lambda x: -0.5 * x),
        SystemEnvironment(scalar(), steps=5),
        starts=torch.tensor([[1.0]], dtype=torch.float64),
    )
    episodes = found.episodes
    environment = SystemEnvironment(scalar(), steps=5)
    states = recorded_states(episodes, environment, count=1)
    assert replay_states(episodes, environment, states, count=1) is None
    same = replay_actions(episodes, environment, states, count=1, tolerance=1e-9)
    assert (same.solved, same.parted.tolist()) == (None, [-1])
    late = replace(episodes, actions=episodes.actions.roll(1, dims=0))
    assert replay_actions(late, environment, states, count=1, tolerance=1e-3).parted.tolist() == [1]


def test_demonstrations_past_an_obstacle_succeed_both_ways():
    episodes = obstacle_demonstrations(6, rng=stream(0, "demonstrate", "obstacle"))
    environment = make_environment("obstacle", 4)
    states = recorded_states(episodes, environment, count=4)
    assert bool(replay_states(episodes, environment, states, count=4).all())
    acted = replay_actions(episodes, environment, states, count=4, tolerance=1e-6)
    assert bool(acted.solved.all())
    assert acted.parted.tolist() == [-1] * 6


def test_what_cannot_be_replayed_is_refused():
    episodes = walks(0.0)
    with pytest.raises(RecipeError, match="cannot be placed at a recorded state"):
        recorded_states(episodes, make_environment("gym:Pendulum-v1", 1), count=1)
    bare = replace(episodes, columns={}, states=torch.zeros(2, 3), observations=Observation(state=episodes.states))
    with pytest.raises(DataError, match="no column simulator_state, and its states have 3 numbers"):
        recorded_states(bare, PositionOnly(), count=1)


class PositionOnly(Line):
    def get_state(self):
        return self.x[:, :1]


def test_the_command_writes_what_it_shows(tmp_path, capsys):
    write(obstacle_demonstrations(4, rng=stream(0, "demonstrate", "obstacle")), tmp_path / "demos")
    assert main(["replay", str(tmp_path / "demos"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "4 of 4" in said
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["environment"] == "obstacle"
    assert (found["states"]["success"]["mean"], found["actions"]["success"]["mean"]) == (1, 1)
    assert found["actions"]["parted_at_step"] == [-1] * 4
    assert main(["replay", str(tmp_path / "demos"), "--by", "actions", "--tolerance", "0", "--out", "x"]) == 1
    assert "--tolerance" in capsys.readouterr().err


def test_actions_beyond_the_time_limit_are_counted():
    """The second action of the walk from 1 would solve it."""
    environment = Line()
    environment.steps = 1
    episodes = walks(0.0, 1.0)
    states = episodes.columns["simulator_state"]
    found = replay_actions(episodes, environment, states, count=2, tolerance=0.01)
    assert (found.solved.tolist(), found.unexecuted.tolist()) == ([False, False], [1, 1])
    whole = replay_actions(episodes, Line(), states, count=2, tolerance=0.01)
    assert (whole.solved.tolist(), whole.unexecuted.tolist()) == ([False, True], [0, 0])


def test_the_command_says_what_the_time_limit_leaves_out(tmp_path, capsys, monkeypatch):
    def short(name, count):
        made = make_environment(name, count)
        made.steps = 3
        return made

    episodes = obstacle_demonstrations(4, rng=stream(0, "demonstrate", "obstacle"))
    write(episodes, tmp_path / "demos")
    monkeypatch.setattr("holdfast.cli.replay.make_environment", short)
    assert main(["replay", str(tmp_path / "demos"), "--by", "actions", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 of 4 episodes are longer than the time limit of obstacle" in said
    assert f"({int(episodes.lengths.max()) - 3} of the longest)" in said
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["actions"]["unexecuted_steps"] == (episodes.lengths - 3).tolist()
