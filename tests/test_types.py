"""The exchanged values: shapes that do not fit are refused, ragged sets find their rows."""

import pytest
import torch

from holdfast.errors import DataError, ShapeError
from holdfast.types import Episodes, Observation, PrimitiveControllers, Trajectory


def test_a_trajectory_has_one_state_more_than_actions():
    assert Trajectory(actions=torch.zeros(2, 5, 1), states=torch.zeros(2, 6, 3)).steps == 5
    with pytest.raises(Exception, match="states"):
        Trajectory(actions=torch.zeros(2, 5, 1), states=torch.zeros(2, 5, 3))


def test_primitive_controllers_are_affine(gaussian):
    actions, states, gains, x = gaussian(0, 3, 2), gaussian(1, 3, 4), gaussian(2, 3, 2, 4), gaussian(3, 3, 4)
    controllers = PrimitiveControllers(actions=actions, states=states, gains=gains)
    by_hand = [[actions[b, i] + sum(gains[b, i, j] * (x[b, j] - states[b, j]) for j in range(4)) for i in range(2)]
               for b in range(3)]  # fmt: skip
    torch.testing.assert_close(controllers(x), torch.tensor(by_hand, dtype=torch.float64))
    torch.testing.assert_close(controllers(states), actions, rtol=0, atol=0)


def test_open_loop_ignores_the_state(gaussian):
    controllers = PrimitiveControllers.open_loop(gaussian(0, 5, 2), gaussian(1, 5, 3))
    assert torch.equal(controllers(gaussian(2, 5, 3)), gaussian(0, 5, 2))
    assert torch.equal(controllers.at(3).actions, gaussian(0, 5, 2)[3])


def test_episodes_give_back_the_trajectories_they_were_made_of(gaussian):
    flights = Trajectory(actions=gaussian(0, 3, 4, 2), states=gaussian(1, 3, 5, 6))
    episodes = Episodes.of(flights)
    for index in range(3):
        assert torch.equal(episodes.trajectory(index).states, flights.states[index])
        assert torch.equal(episodes.trajectory(index).actions, flights.actions[index])


def test_rows_that_do_not_add_up_are_refused():
    with pytest.raises(ShapeError, match="sum to 4, but there are 5 actions"):
        Episodes(actions=torch.zeros(5, 1), states=torch.zeros(5, 1), lengths=torch.tensor([1, 3]))
    with pytest.raises(ShapeError, match="expected 3 observations, one per step, got 2"):
        Episodes(
            actions=torch.zeros(3, 1),
            states=torch.zeros(3, 1),
            lengths=torch.tensor([3]),
            observations=Observation(state=torch.zeros(2, 1)),
        )


def test_an_observation_as_a_vector_is_state_then_environment():
    seen = Observation(state=torch.tensor([[1.0]]), environment_state=torch.tensor([[2.0, 3.0]]))
    assert seen.vector.tolist() == [[1.0, 2.0, 3.0]]
    assert Observation(state=torch.tensor([[1.0]])).vector.tolist() == [[1.0]]


def test_episodes_without_final_states_are_no_trajectories():
    episodes = Episodes(actions=torch.zeros(3, 1), states=torch.zeros(3, 1), lengths=torch.tensor([3]))
    with pytest.raises(ShapeError, match="lack their final states"):
        episodes.trajectory(0)


class TestColumns:
    rows = torch.zeros(3, 1)
    lengths = torch.tensor([1, 2])

    def made(self, columns=None, episode_columns=None):
        return Episodes(
            actions=self.rows,
            states=self.rows,
            lengths=self.lengths,
            columns=columns or {},
            episode_columns=episode_columns or {},
        )

    def test_a_batch_becomes_rows(self):
        paths = Trajectory(actions=torch.zeros(2, 3, 1), states=torch.zeros(2, 4, 1))
        marks = torch.arange(6).reshape(2, 3)
        found = Episodes.of(paths, columns={"mark": marks}, episode_columns={"operator": ("ann", "bob")})
        assert found.columns["mark"].tolist() == [0, 1, 2, 3, 4, 5]
        assert found.episode_columns == {"operator": ("ann", "bob")}

    @pytest.mark.parametrize("name", ["", "action", "states", "next.reward", "observation.images.top"])
    def test_names_of_built_in_quantities_are_refused(self, name):
        with pytest.raises(DataError, match=r"belongs to a quantity.*another"):
            self.made({name: torch.zeros(3)})
        with pytest.raises(DataError, match="belongs to a quantity"):
            self.made(None, {name: torch.zeros(2)})

    def test_one_value_a_row_and_one_an_episode(self):
        with pytest.raises(ShapeError, match=r"column 'a' holds 2 values, expected 3, one per row"):
            self.made({"a": torch.zeros(2)})
        with pytest.raises(ShapeError, match=r"column 'a' holds 3 values, expected 2, one per episode"):
            self.made(None, {"a": ("x", "y", "z")})

    @pytest.mark.parametrize("values", [torch.zeros(3, 1, 1), torch.zeros(3, 0), torch.zeros(3, dtype=torch.complex64)])
    def test_other_shapes_and_dtypes_are_refused(self, values):
        with pytest.raises(ShapeError, match=r"expected real numbers \[rows\] or \[rows, numbers per row\]"):
            self.made({"a": values})

    def test_other_values_are_refused(self):
        with pytest.raises(
            DataError, match="holds tuple, expected a tensor, or a tuple of strings without null characters"
        ):
            self.made(None, {"a": ("x", "y\0")})
        with pytest.raises(ShapeError, match=r"expected real numbers \[episodes\]"):
            self.made(None, {"a": torch.zeros(2, 1)})


def test_observations_are_stacked_chosen_and_joined(gaussian):
    steps = [
        Observation(
            state=gaussian(2 * t, 3, 2),
            environment_state=gaussian(2 * t + 1, 3, 1),
            images={"wrist": torch.full((3, 2, 2, 3), t, dtype=torch.uint8)},
            task=(f"old {t}", f"b {t}", f"c {t}"),
        )
        for t in range(2)
    ]
    window = Observation.stack(steps)
    assert torch.equal(window.vector, torch.stack([step.vector for step in steps], dim=1))
    assert window.images["wrist"][:, :, 0, 0, 0].tolist() == [[0, 1]] * 3
    assert window.task == steps[1].task
    moved = window.with_vector(2 * window.vector)
    assert torch.equal(moved.environment_state, 2 * window.environment_state)
    assert torch.equal(moved.vector, 2 * window.vector)
    some = window.at(torch.tensor([2, 0]))
    assert torch.equal(some.vector, window.vector[[2, 0]])
    assert some.task == ("c 1", "old 1")
    joined = Observation.concatenate([window.at(slice(0, 1)), window.at(slice(1, 3))])
    assert torch.equal(joined.vector, window.vector)
    assert torch.equal(joined.images["wrist"], window.images["wrist"])
    assert joined.task == window.task
    single = window.to(torch.zeros(0))
    assert (single.state.dtype, single.images["wrist"].dtype) == (torch.float32, torch.uint8)


def test_no_episode_has_a_negative_length():
    with pytest.raises(ShapeError, match="lengths of at least 0, got -2"):
        Episodes(actions=torch.zeros(3, 1), states=torch.zeros(3, 2), lengths=torch.tensor([5, -2]))
