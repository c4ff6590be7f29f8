"""Sets of episodes: what is refused, and that rows stay with their episode."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data import concatenate, episodes_from_arrays, select, split, validate, without_columns
from holdfast.data.doctor import inspect_episodes
from holdfast.data.pictures import Frames
from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, Trajectory


def ragged(lengths, *, observed=True, final=True) -> Episodes:
    """States say (episode, step), actions their negative, so that any mix-up shows."""
    rows = [[float(e), float(t)] for e, length in enumerate(lengths) for t in range(length)]
    states = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)
    pictures = torch.arange(len(rows), dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 2, 2, 3)
    seen = Observation(state=states + 100, environment_state=states.repeat(1, 2) + 200)
    return Episodes(
        actions=-states[:, :1],
        states=states,
        lengths=torch.tensor(lengths, dtype=torch.int64),
        final_states=torch.tensor([[float(e), float(n)] for e, n in enumerate(lengths)]).double() if final else None,
        observations=seen if observed else None,
        cameras={"top": Frames(pictures)} if observed else {},
        rewards=states[:, 1] / 10 if observed else None,
        timestamps=states[:, 1] * 0.1 if observed else None,
        tasks=tuple(f"task {e}" for e in range(len(lengths))) if observed else None,
        names={"state": ("episode", "step")},
        dt=0.1,
        system="toy",
        columns={"executed": -states[:, :1].float(), "intervened": states[:, 1] > 1} if observed else {},
        episode_columns=(
            {"operator": tuple(f"op {e}" for e in range(len(lengths))), "success": torch.tensor(lengths) > 2}
            if observed
            else {}
        ),
        meta={"who": "me"},
    )


def assert_same_columns(a: Episodes, b: Episodes) -> None:
    for mine, others in ((a.columns, b.columns), (a.episode_columns, b.episode_columns)):
        assert list(mine) == list(others)
        for name, values in mine.items():
            if isinstance(values, tuple):
                assert values == others[name]
            else:
                assert values.dtype == others[name].dtype
                assert values.shape == others[name].shape
                assert torch.equal(values, others[name])


def with_nan(tensor, index):
    changed = tensor.clone()
    changed[index] = float("nan")
    return changed


class TestValidate:
    def test_accepts_good(self):
        validate(ragged([3, 1, 4]), source="demos")
        validate(ragged([3, 1, 4], observed=False, final=False), source="demos")

    def test_names_array_episode_step_and_coordinate(self):
        good = ragged([3, 1, 4])
        bad = replace(good, states=with_nan(good.states, (6, 1)))
        with pytest.raises(
            DataError, match=r"demos: states holds nan at episode 2, step 2, coordinate 1 \(step\) \(1 such"
        ):
            validate(bad, source="demos")

    def test_names_all_episodes_and_coordinates_and_the_steps_of_the_first(self):
        good = ragged([3, 4, 1, 5])
        holes = torch.zeros_like(good.states, dtype=torch.bool)
        # episode 1 has the rows 3 to 6, episode 3 those from 8 on
        holes[[4, 5, 8], 1] = holes[6, 0] = True
        names = {"state": tuple("abcdefgh"[: good.states.shape[1]])}
        bad = replace(good, states=good.states.masked_fill(holes, float("nan")), names=names)
        says = (
            r"demos: states holds nan at episode 1, step 1, coordinate 1 \(b\) \(4 such in all: episodes 1, 3; "
            r"steps 1-3 of episode 1; coordinates 0 \(a\), 1 \(b\)\)\. Repair"
        )
        with pytest.raises(DataError, match=says):
            validate(bad, source="demos")

    def test_infinite_action(self):
        good = ragged([3, 1])
        bad = replace(good, actions=good.actions.index_fill(0, torch.tensor([3]), float("inf")))
        with pytest.raises(DataError, match="actions holds inf at episode 1, step 0, coordinate 0"):
            validate(bad, source="demos")

    def test_final_state(self):
        good = ragged([3, 1])
        bad = replace(good, final_states=with_nan(good.final_states, (1, 0)))
        with pytest.raises(DataError, match="final_states holds nan at episode 1, its last step, coordinate 0"):
            validate(bad, source="demos")

    def test_environment_state(self):
        good = ragged([3, 1])
        seen = good.observations
        seen = replace(seen, environment_state=with_nan(seen.environment_state, (1, 3)))
        with pytest.raises(DataError, match="environment_state holds nan at episode 0, step 1, coordinate 3"):
            validate(replace(good, observations=seen), source="demos")

    def test_empty_episode_by_index(self):
        with pytest.raises(DataError, match="episode 1 is empty"):
            validate(ragged([3, 0, 2]), source="demos")

    def test_no_episodes(self):
        with pytest.raises(DataError, match="no episodes"):
            validate(ragged([], observed=False, final=False), source="demos")

    def test_counts_rows_of_what_the_type_does_not_check(self):
        good = ragged([3, 1])
        # Past the shape checks that only tests have on, as a user's program would go.
        bad = replace(good)
        object.__setattr__(bad, "rewards", torch.zeros(3))
        with pytest.raises(DataError, match=r"expected 4 rows of rewards, got 3"):
            validate(bad, source="demos")
        bad = replace(good)
        object.__setattr__(bad, "final_states", torch.zeros(3, 2))
        with pytest.raises(DataError, match="expected 2 rows of final_states, got 3"):
            validate(bad, source="demos")


class TestSelect:
    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data())
    def test_every_row_stays_with_its_episode(self, lengths, data):
        indices = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
        chosen = select(ragged(lengths), indices)
        assert chosen.lengths.tolist() == [lengths[i] for i in indices]
        wanted = [[float(i), float(t)] for i in indices for t in range(lengths[i])]
        wanted = torch.tensor(wanted, dtype=torch.float64).reshape(-1, 2)
        assert torch.equal(chosen.states, wanted)
        assert torch.equal(chosen.actions, -wanted[:, :1])
        assert torch.equal(chosen.observations.state, wanted + 100)
        assert torch.equal(chosen.observations.environment_state, wanted.repeat(1, 2) + 200)
        assert torch.equal(chosen.rewards, wanted[:, 1] / 10)
        assert torch.equal(chosen.timestamps, wanted[:, 1] * 0.1)
        assert chosen.tasks == tuple(f"task {i}" for i in indices)
        # a picture's pixels say its row
        first = [sum(lengths[:i]) for i in range(len(lengths))]
        pixels = chosen.cameras["top"].read(torch.arange(len(wanted)))[:, 0, 0, 0]
        assert pixels.tolist() == [first[i] + t for i in indices for t in range(lengths[i])]
        assert chosen.final_states.tolist() == [[float(i), float(lengths[i])] for i in indices]
        assert (chosen.dt, chosen.system) == (0.1, "toy")

    def test_is_a_trajectory_still(self):
        path = select(ragged([3, 2, 4]), [2]).trajectory(0)
        assert path.states.tolist() == [[2.0, float(t)] for t in range(5)]

    @pytest.mark.parametrize("index", [-1, 3])
    def test_outside(self, index):
        with pytest.raises(DataError, match=f"expected episodes from 0 to 2, got {index}"):
            select(ragged([1, 1, 1]), [0, index])


class TestSplit:
    def test_parts_are_disjoint_whole_and_in_order(self):
        episodes = ragged([3, 1, 4, 2, 2])
        train, held_out = split(episodes, held_out=2, rng=stream(0, "split"))
        seen = [sorted({int(e) for e in part.states[:, 0]}) for part in (train, held_out)]
        assert sorted(seen[0] + seen[1]) == [0, 1, 2, 3, 4]
        assert len(seen[0]) == len(train) == 3
        assert len(seen[1]) == len(held_out) == 2
        for part in (train, held_out):
            assert bool((part.states[:, 0].diff() >= 0).all())

    def test_same_seed_same_split_other_seed_other(self):
        episodes = ragged([1] * 30)
        first, again, other = (split(episodes, held_out=0.5, rng=stream(s, "split"))[1].states for s in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize(("wanted", "count"), [(0.2, 2), (0.01, 1), (0, 0), (0.0, 0), (1, 1), (9, 9)])
    def test_counts(self, wanted, count):
        train, held_out = split(ragged([2] * 10), held_out=wanted, rng=stream(0))
        assert (len(train), len(held_out)) == (10 - count, count)

    @pytest.mark.parametrize("wanted", [10, 1.0, -1, -0.1, 0.99])
    def test_something_must_remain(self, wanted):
        with pytest.raises(DataError, match="cannot hold out"):
            split(ragged([2] * 10), held_out=wanted, rng=stream(0))


class TestConcatenate:
    def test_is_undone_by_select(self):
        episodes = ragged([3, 1, 4])
        joined = concatenate([select(episodes, [0, 1]), select(episodes, [2])])
        assert torch.equal(joined.states, episodes.states)
        assert torch.equal(joined.final_states, episodes.final_states)
        assert torch.equal(joined.observations.environment_state, episodes.observations.environment_state)
        everything = torch.arange(8)
        assert torch.equal(joined.cameras["top"].read(everything), episodes.cameras["top"].read(everything))
        assert torch.equal(joined.rewards, episodes.rewards)
        assert torch.equal(joined.timestamps, episodes.timestamps)
        assert joined.tasks == ("task 0", "task 1", "task 2")
        assert_same_columns(joined, episodes)
        assert (joined.dt, joined.system, joined.names, joined.meta) == (0.1, "toy", episodes.names, {"who": "me"})

    def test_final_states_only_if_all_have_them(self):
        assert concatenate([ragged([2]), ragged([3], final=False)]).final_states is None

    def test_what_some_lack_is_left_out(self):
        some = replace(ragged([3]), rewards=None, timestamps=None, tasks=None, meta={"who": "you"})
        joined = concatenate([ragged([2]), some])
        assert (joined.rewards, joined.timestamps, joined.tasks, joined.meta) == (None, None, None, {})

    def test_states_stand_in_for_missing_observations(self):
        plain = ragged([2], observed=False)
        joined = concatenate([plain, replace(plain, observations=Observation(state=plain.states + 1))])
        assert torch.equal(joined.observations.state, torch.cat([plain.states, plain.states + 1]))

    def test_unknown_yields_to_known(self):
        known = ragged([2], observed=False)
        assert concatenate([replace(known, dt=None, system=None), known]).dt == 0.1

    def test_refuses_what_does_not_fit(self):
        plain = ragged([2], observed=False)
        wide = Episodes.of(Trajectory(actions=torch.zeros(1, 2, 1).double(), states=torch.zeros(1, 3, 5).double()))
        with pytest.raises(DataError, match=r"states: part 0 has \[2\] numbers a step, part 1 has \[5\]"):
            concatenate([plain, wide])
        with pytest.raises(DataError, match="dt differs"):
            concatenate([plain, replace(plain, dt=0.2)])
        with pytest.raises(DataError, match="some observations hold an environment state"):
            concatenate([plain, replace(ragged([2]), cameras={})])
        with pytest.raises(DataError, match="cameras or their sizes differ"):
            concatenate([ragged([2]), replace(ragged([2]), cameras={})])
        with pytest.raises(DataError, match="names of state differs"):
            concatenate([plain, replace(plain, names={"state": ("a", "b")})])
        with pytest.raises(DataError, match="Give at least one"):
            concatenate([])

    def test_columns_that_some_lack_are_refused_and_can_be_dropped(self):
        parts = [ragged([2]), replace(ragged([3]), columns={}, episode_columns={"success": torch.tensor([True])})]
        with pytest.raises(DataError, match=r"hold the columns executed, intervened.*without_columns\(episodes, 'exec"):
            concatenate(parts)
        alike = [without_columns(part, "executed", "intervened", "operator") for part in parts]
        assert concatenate(alike).episode_columns["success"].tolist() == [False, True]
        assert concatenate([without_columns(part) for part in parts]).episode_columns == {}

    def test_columns_of_other_types_are_refused(self):
        part, whole = ragged([2]), torch.tensor([1])
        with pytest.raises(
            DataError, match=r"column success differs in type between the sets: torch.bool, torch.int64"
        ):
            concatenate([part, replace(part, episode_columns={**part.episode_columns, "success": whole})])
        with pytest.raises(DataError, match=r"column operator differs in type.*strings, torch.int64"):
            concatenate([part, replace(part, episode_columns={**part.episode_columns, "operator": whole})])
        with pytest.raises(DataError, match=r"column executed: part 0 has \[1\] numbers a step, part 1 has \[2\]"):
            concatenate([part, replace(part, columns={**part.columns, "executed": torch.zeros(2, 2)})])


class TestFromArrays:
    def test_fenceposts(self):
        rng = np.random.default_rng(0)
        states, actions = [rng.normal(size=(n + 1, 2)) for n in (4, 2)], [rng.normal(size=(n, 3)) for n in (4, 2)]
        made = episodes_from_arrays(states, actions, dt=0.5, system="toy")
        for episode in range(2):
            path = made.trajectory(episode)
            assert np.array_equal(path.states.numpy(), states[episode])
            assert np.array_equal(path.actions.numpy(), actions[episode])
        assert (made.dt, made.system) == (0.5, "toy")

    def test_without_final_states(self):
        made = episodes_from_arrays([torch.zeros(4, 2), torch.ones(1, 2)], [torch.zeros(4, 1), torch.ones(1, 1)])
        assert made.final_states is None
        assert made.lengths.tolist() == [4, 1]

    def test_owns_its_memory(self):
        states = np.zeros((3, 1))
        made = episodes_from_arrays([states], [np.zeros((2, 1))])
        states[:] = 7
        assert made.states.abs().sum() == 0

    def test_observations(self):
        seen = [Observation(state=torch.full((n, 4), float(n))) for n in (3, 1)]
        made = episodes_from_arrays(
            [torch.zeros(4, 2), torch.zeros(2, 2)], [torch.zeros(3, 1), torch.zeros(1, 1)], observations=seen
        )
        assert made.observed.state[:, 0].tolist() == [3.0, 3.0, 3.0, 1.0]

    def test_columns(self):
        made = episodes_from_arrays(
            [np.zeros((3, 2)), np.zeros((2, 2))],
            [np.zeros((2, 1)), np.zeros((1, 1))],
            columns={"contact": [np.array([True, False]), np.array([True])]},
            episode_columns={"operator": ["ann", "bob"], "seed": [3, 4]},
        )
        assert made.columns["contact"].tolist() == [True, False, True]
        assert made.episode_columns["operator"] == ("ann", "bob")
        assert made.episode_columns["seed"].tolist() == [3, 4]
        with pytest.raises(DataError, match=r"column contact has \[2\] rows by episode, expected \[1\]"):
            episodes_from_arrays([np.zeros((1, 2))], [np.zeros((1, 1))], columns={"contact": [np.zeros(2)]})

    @pytest.mark.parametrize(
        ("states", "actions", "says"),
        [
            ([4, 5], [4, 3], "episode 1 has 5 states and 3 actions"),
            ([4, 4], [4, 3], "episode 1 has 4 states and 3 actions"),  # a final state in one episode only
            ([3, 4], [4, 4], "episode 0 has 3 states and 4 actions"),
            ([4], [4, 3], "1 arrays of states, 2 of actions"),
            ([4, 0], [4, 0], "episode 1 is empty"),
            ([], [], "no episodes"),
        ],
    )
    def test_lengths_that_do_not_fit(self, states, actions, says):
        with pytest.raises(DataError, match=says):
            episodes_from_arrays([torch.zeros(n, 2) for n in states], [torch.zeros(n, 1) for n in actions])

    def test_other_refusals(self):
        with pytest.raises(DataError, match=r"actions of episode 0 must be \[steps, numbers a step\], got \[3\]"):
            episodes_from_arrays([torch.zeros(3, 2)], [torch.zeros(3)])
        with pytest.raises(DataError, match="episode 0 has 4 observations and 3 actions"):
            episodes_from_arrays(
                [torch.zeros(3, 2)], [torch.zeros(3, 1)], observations=[Observation(state=torch.zeros(4, 2))]
            )
        broken = [np.array([[0.0], [np.nan]])], [np.zeros((2, 1))]
        with pytest.raises(
            DataError,
            match=r"the given arrays: states holds nan at episode 0, step 1, coordinate 0.* check=False .*inspect",
        ):
            episodes_from_arrays(*broken)
        # the way out of the message
        found = inspect_episodes(episodes_from_arrays(*broken, check=False)).findings
        assert any(finding.severity == "error" and "nan" in finding.what for finding in found)
