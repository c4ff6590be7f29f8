"""The maze: walls that stop, ways that are shortest, starts and goals."""

import pytest
import torch

from holdfast.data import write
from holdfast.envs import make_environment, rollout
from holdfast.envs.maze import MAZE_STEPS, MazeEnvironment, maze_demonstrations
from holdfast.envs.maze_course import MAZE, MAZE_GOAL, depth_in_wall, free_cells, in_wall, moved, steps_between
from holdfast.errors import RecipeError
from holdfast.seeding import stream


def cells():
    """Free cells read from the plan by hand: column, and row counted from below."""
    return {(x, len(MAZE) - 1 - row) for row, line in enumerate(MAZE) for x, square in enumerate(line) if square == "."}


def test_the_course_is_that_of_the_plan():
    assert {tuple(cell) for cell in free_cells().tolist()} == cells()
    centres = torch.tensor([[x + 0.5, y + 0.5] for x in range(9) for y in range(9)])
    expected = [(x, y) not in cells() for x in range(9) for y in range(9)]
    assert in_wall(centres).tolist() == expected
    assert not bool(in_wall(torch.tensor(MAZE_GOAL)))


def test_shortest_ways_are_those_of_floyd_and_warshall():
    free = sorted(cells())
    length = [[0 if a == b else 1 if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 else 99 for b in free] for a in free]
    for k in range(len(free)):
        for i in range(len(free)):
            for j in range(len(free)):
                length[i][j] = min(length[i][j], length[i][k] + length[k][j])
    assert [[steps_between()[a][b] for b in free] for a in free] == length
    assert max(map(max, length)) == 16


def test_no_step_ends_in_a_wall_and_free_steps_are_whole():
    start = torch.tensor(sorted(cells()), dtype=torch.float64)[stream(0, "tests").initial_seed() % 2 :: 2]
    rng = stream(1, "tests")
    position = start.repeat(50, 1) + torch.rand(50 * len(start), 2, dtype=torch.float64, generator=rng)
    step = 0.8 * torch.rand(len(position), 2, dtype=torch.float64, generator=rng) - 0.4
    after = moved(position, step)
    assert not bool(in_wall(after).any())
    whole = ~in_wall(position + step * torch.tensor([1.0, 0.0])) & ~in_wall(position + step)
    torch.testing.assert_close(after[whole], (position + step)[whole])
    assert 0.3 < float(whole.double().mean()) < 0.95


def test_a_wall_stops_one_coordinate():
    """From (1.5, 1.25) down and right: y stops at the wall at 1, x goes on."""
    after = moved(torch.tensor([1.5, 1.25]), torch.tensor([0.3, -0.4]))
    torch.testing.assert_close(after, torch.tensor([1.8, 1.0]))
    up = moved(torch.tensor([1.5, 1.75]), torch.tensor([0.0, 0.4]))
    assert float(up[1]) == pytest.approx(2.0, abs=1e-5)
    assert not bool(in_wall(up))


def test_depth_is_the_distance_to_the_corridors():
    """In the middle of the block at column 1, row 2 (from below), whose neighbours above and below are free."""
    assert depth_in_wall(torch.tensor([1.5, 2.5], dtype=torch.float64)).item() == pytest.approx(0.5)
    assert depth_in_wall(torch.tensor([0.6, 0.7], dtype=torch.float64)).item() == pytest.approx(
        (0.4**2 + 0.3**2) ** 0.5
    )


def test_an_episode_is_solved_at_the_goal_and_stands_still():
    environment = MazeEnvironment(2)
    near = torch.tensor([[6.5, 1.5], [1.5, 1.5]], dtype=torch.float64)
    first = environment.reset(near)
    assert first.extra["distance"].tolist() == pytest.approx([1.0, 6.0])
    right = torch.tensor([[5.0, 0.0], [5.0, 0.0]], dtype=torch.float64)
    step = environment.step(right)
    # the step is shortened to 0.4
    assert step.state[:, 0].tolist() == pytest.approx([6.9, 1.9])
    assert not bool(step.terminated.any())
    step = environment.step(right)
    assert (step.terminated.tolist(), step.success.tolist(), step.reward.tolist()) == (
        [True, False],
        [True, False],
        [1, 0],
    )
    later = environment.step(right)
    assert later.state[0, 0].item() == pytest.approx(7.3)
    assert later.reward[0].item() == 0


def test_starts_are_free_and_away_from_the_goal():
    environment = MazeEnvironment(300)
    state = environment.reset(range(300)).state
    assert not bool(in_wall(state).any())
    goal = torch.tensor(MAZE_GOAL, dtype=torch.float64)
    assert float((state - goal).norm(dim=1).min()) > 1.25
    assert len({tuple(cell) for cell in state.floor().tolist()}) > 20


@pytest.fixture(scope="module")
def demonstrations():
    return maze_demonstrations(40, rng=stream(0, "tests", "maze"))


def test_demonstrations_follow_the_dynamics_through_the_corridors(demonstrations):
    states = demonstrations.states.view(40, MAZE_STEPS, 2)
    actions = demonstrations.actions.view(40, MAZE_STEPS, 2)
    assert not bool(in_wall(states).any())
    torch.testing.assert_close(moved(states, actions)[:, :-1], states[:, 1:])
    assert float(actions.norm(dim=-1).max()) <= 0.4 + 1e-12
    # all squares are visited, none of them most of the time
    visits = torch.zeros(9, 9)
    where = states.floor().long().view(-1, 2)
    visits.index_put_((where[:, 0], where[:, 1]), torch.ones(len(where)), accumulate=True)
    assert {tuple(cell) for cell in (visits > 0).nonzero().tolist()} == cells()
    assert float(visits.max() / visits.sum()) < 0.15


def test_demonstrations_of_a_seed_are_the_same(demonstrations):
    again = maze_demonstrations(40, rng=stream(0, "tests", "maze"))
    assert torch.equal(demonstrations.states, again.states)
    assert not torch.equal(maze_demonstrations(40, rng=stream(1, "tests")).states, again.states)
    with pytest.raises(RecipeError, match="at least 1 demonstration, got 0"):
        maze_demonstrations(0, rng=stream(0))


def test_data_can_be_stored_and_replayed(demonstrations, tmp_path):
    write(demonstrations, tmp_path / "maze.npz")
    assert demonstrations.system == "maze"
    steps = iter(demonstrations.actions.view(40, MAZE_STEPS, 2)[:3].unbind(1))

    class Replay:
        def reset(self, seed=None):
            pass

        def act(self, observation, state):
            return next(steps)

    starts = demonstrations.states.view(40, MAZE_STEPS, 2)[:3, 0]
    found = rollout(Replay(), make_environment("maze", 3), starts=starts)
    length = int(found.episodes.lengths[0])
    torch.testing.assert_close(found.episodes.states[:length], demonstrations.states[:length])
