"""The fork: its dynamics and gusts by hand, demonstrations that pass on both sides, and no way to stand still."""

import math

import pytest
import torch

from holdfast.cli.demonstrate import Demonstrate
from holdfast.data import read
from holdfast.envs import PlainPolicy, make_environment, rollout
from holdfast.envs.fork import (
    DT,
    FINISH,
    GUST,
    RADIUS,
    WALL,
    ForkEnvironment,
    fork_demonstrations,
    gusts,
    moved,
    touches,
)
from holdfast.errors import RecipeError
from holdfast.evaluation import summarize
from holdfast.seeding import stream


@pytest.fixture(scope="module")
def demos():
    return fork_demonstrations(60, rng=stream(0, "tests"))


def rows(demos, values):
    return values.view(len(demos), -1, values.shape[-1])


def test_a_step_by_hand():
    """v' = v + 0.05 (u − v − 6 e_y): 2 + 0.05 (4 − 2) = 2.1 and 1 + 0.05 (5 − 1 − 6) = 0.9."""
    state = torch.tensor([[0.1, -1.0, 2.0, 1.0]]).double()
    expected = torch.tensor([[0.1 + 0.05 * 2.1, -1.0 + 0.05 * 0.9, 2.1, 0.9]]).double()
    torch.testing.assert_close(moved(state, torch.tensor([[4.0, 5.0]]).double()), expected)


def test_gusts_are_independent_standard_normal_numbers():
    numbers = torch.arange(400).repeat_interleave(50) * 7919
    drawn = gusts(numbers, torch.arange(50).repeat(400)).view(400, 50, 2)
    assert float(drawn.mean().abs()) < 4 / math.sqrt(40_000)
    assert float(drawn.var()) == pytest.approx(1.0, abs=0.04)
    assert float((drawn.abs() < 1).double().mean()) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.015)
    for one, other in ((drawn[:, 1:], drawn[:, :-1]), (drawn[1:], drawn[:-1]), (drawn[..., 0], drawn[..., 1])):
        assert abs(float((one * other).mean())) < 0.03
    assert torch.equal(gusts(numbers[:50], torch.arange(50)), drawn.view(-1, 2)[:50])


def test_each_gust_has_two_numbers_of_its_own():
    """Box and Muller's formula undone: 50 steps hold 100 different uniform numbers."""
    drawn = gusts(torch.full((50,), 7919), torch.arange(50))
    lengths = 1 - (-drawn.square().sum(1) / 2).exp()
    angles = torch.atan2(drawn[:, 1], drawn[:, 0]) / (2 * math.pi) % 1
    assert float(torch.cat([lengths, angles]).sort().values.diff().min()) > 1e-6


def test_what_touches():
    below, above = torch.tensor([[0.0, -0.6]]).double(), torch.tensor([[0.0, 0.6]]).double()
    aside = torch.tensor([[RADIUS + 0.01, 0.0]]).double()
    assert bool(touches(below, above))
    assert not bool(touches(below + aside, above + aside))
    assert bool(touches(below, torch.tensor([[WALL + 0.01, 0.5]]).double()))
    assert bool(touches(below, torch.tensor([[0.0, -3.0]]).double()))


def test_demonstrations_move_by_the_dynamics_up_to_gusts(demos):
    states, actions = rows(demos, demos.states), rows(demos, demos.actions)
    calm = moved(states[:, :-1].flatten(0, 1), actions[:, :-1].flatten(0, 1)).view_as(states[:, 1:])
    left = states[:, 1:] - calm
    torch.testing.assert_close(left[..., :2], DT * left[..., 2:])
    assert float(left[..., 2:].std()) == pytest.approx(GUST, rel=0.05)


def test_both_sides_equally_often_and_told_by_nothing_at_the_start(demos):
    sides = torch.tensor(demos.meta["modes"])
    assert int(sides.sum()) == 30
    places = rows(demos, demos.states)[..., :2]
    there = (places[..., 1] > 0).int().argmax(1)
    assert torch.equal((places[torch.arange(60), there, 0] > 0).long(), sides)
    assert bool((places[:, -1, 1] > FINISH).all())
    first = places[:, 0, 0]
    assert abs(float(first[sides > 0].mean() - first[sides == 0].mean())) < 0.02


def test_its_mean_and_standing_still_lose():
    env = make_environment("fork", 20)
    for force in ([0.0, 0.0], [0.0, 7.2]):
        found = rollout(PlainPolicy(lambda seen, force=force: torch.tensor(force)), env, starts=range(20))
        assert float(found.success.double().mean()) < 0.2
        assert float(found.extra["collided"].mean()) > 0.8


def test_a_law_with_feedback_solves_it_and_its_side_is_counted():
    """To x = 0.5 on the way, by a law that is not the expert's."""

    def law(seen):
        x, y, across, ahead = seen
        aim = 0.55 * min(max((y + 1.4) / 1.0, 0.0), 1.0)
        return torch.tensor([60 * (aim - x) - 15 * across, 7.2 + 5 * (1.2 - ahead)])

    env = ForkEnvironment(40)
    found = rollout(PlainPolicy(law), env, starts=range(40))
    assert float(found.success.double().mean()) > 0.95
    assert bool((found.extra["mode"][found.success] == 1).all())
    assert summarize(found, env)["entropy"].mean == pytest.approx(0.0, abs=1e-9)


def test_episodes_have_their_own_weather():
    env = ForkEnvironment(2)
    env.reset([3, 4])
    start = env.get_state()
    start[1, :4] = start[0, :4]
    env.set_state(start)
    after = env.step(torch.zeros(2, 2)).state
    assert not torch.equal(after[0], after[1])


def test_recorded_on_the_command_line_and_refused(tmp_path, capsys):
    Demonstrate("fork", tmp_path / "fork.npz", episodes=6).run()
    assert "3 on the left and 3 on the right" in capsys.readouterr().out
    assert read(tmp_path / "fork.npz").system == "fork"
    with pytest.raises(RecipeError, match="at least 1"):
        fork_demonstrations(0, rng=stream(0))
