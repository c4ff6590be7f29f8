"""Demonstrations as a training uses them: left out, shifted, cut and weighted."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast.data import Frames, Preparation, prepared
from holdfast.data.weighting import WEIGHT
from holdfast.errors import DataError, UnknownNameError
from holdfast.schema import from_plain
from holdfast.types import Episodes

LENGTHS = (5, 1, 7, 4)


@pytest.fixture
def numbered():
    """Actions and states that name their episode and step: 100 e + t, and ten times that."""
    rows = torch.tensor([[100.0 * e + t] for e, n in enumerate(LENGTHS) for t in range(n)], dtype=torch.float64)
    ends = torch.tensor([[1000.0 * e + 10 * n] for e, n in enumerate(LENGTHS)], dtype=torch.float64)
    return Episodes(
        actions=rows,
        states=10 * rows,
        lengths=torch.tensor(LENGTHS),
        final_states=ends,
        timestamps=torch.cat([0.1 * torch.arange(n) for n in LENGTHS]),
        cameras={"eye": Frames(rows.long().remainder(251).to(torch.uint8).view(-1, 1, 1, 1))},
        columns={"twin": rows.flatten()},
        episode_columns={"success": torch.tensor([1, 0, 1, 0]), "who": ("ann", "bob", "ann", "cy")},
        tasks=("a", "b", "c", "d"),
        dt=0.1,
    )


def steps_of(episodes):
    return [part.flatten().tolist() for part in episodes.actions.split(episodes.lengths.tolist())]


@pytest.mark.parametrize(
    ("dropped", "left"),
    [
        (("1",), [0, 2, 3]),
        (("0-1", "3"), [2]),
        (("success=0",), [0, 2]),
        (("success=false",), [0, 2]),
        (("who=ann",), [1, 3]),
    ],
)
def test_episodes_are_left_out(numbered, dropped, left):
    made = prepared(numbered, Preparation(drop_episodes=dropped))
    assert [int(part[0]) // 100 for part in steps_of(made)] == left
    assert made.tasks == tuple("abcd"[e] for e in left)


@pytest.mark.parametrize("dropped", ["4", "x", "-1", "0-9", "color=1", "success=maybe", "0-3"])
def test_unknown_episodes_are_refused(numbered, dropped):
    with pytest.raises(DataError, match="drop_episodes"):
        prepared(numbered, Preparation(drop_episodes=(dropped,)))


@pytest.mark.parametrize(("dropped", "held"), [("who=nobody", "who is ann"), ("success=7", "success is 0, 1")])
def test_a_value_that_no_episode_has_is_refused(numbered, dropped, held):
    """A mistyped value would keep what should be left out."""
    with pytest.raises(DataError, match=f"{dropped}: no episode has this value. {held}"):
        prepared(numbered, Preparation(drop_episodes=(dropped,)))


@pytest.mark.parametrize("shape", ["{}", "0-{}", "{}-1"])
def test_numbers_of_more_digits_than_python_reads_are_refused(numbered, shape):
    with pytest.raises(DataError, match="expected an episode from 0 to 3"):
        prepared(numbered, Preparation(drop_episodes=(shape.format("9" * 5000),)))


@pytest.mark.parametrize("steps", [1, 3, -1, -3])
def test_actions_move_against_states(numbered, steps):
    made = prepared(numbered, Preparation(shift_actions=steps))
    expected = [
        (100 * e + t + steps, 1000 * e + 10 * t) for e, n in enumerate(LENGTHS) for t in range(n) if 0 <= t + steps < n
    ]
    assert list(zip(made.actions.flatten().tolist(), made.states.flatten().tolist(), strict=True)) == expected
    # the picture, the column and the timestamp stay with the state
    assert made.columns["twin"].tolist() == [state / 10 for _, state in expected]
    assert made.cameras["eye"].read(torch.arange(len(expected))).flatten().tolist() == [
        int(state / 10) % 251 for _, state in expected
    ]
    left = [e for e, n in enumerate(LENGTHS) if n > abs(steps)]
    assert made.tasks == tuple("abcd"[e] for e in left)
    # T - k steps from the start end in state T - k; without the first k steps they end where they did
    assert made.final_states.flatten().tolist() == [1000 * e + 10 * (LENGTHS[e] - max(steps, 0)) for e in left]


def test_too_long_a_shift_is_refused(numbered):
    with pytest.raises(DataError, match="longest episode has 7 steps"):
        prepared(numbered, Preparation(shift_actions=-7))


def paused(start=12, middle=14, end=20):
    """Episodes that wait, move, wait, move and wait; states count the steps of motion."""
    parts = []
    for episode in range(6):
        first, second = torch.arange(15.0), 14 + torch.arange(1.0, 16.0)
        kept = [torch.zeros(start), first, torch.full((middle,), 14.0), second, torch.full((end,), 29.0)]
        parts.append(torch.cat(kept).double() * (1 + 0.1 * episode))
    states = torch.cat(parts)[:, None]
    length = len(parts[0])
    times = (0.1 * torch.arange(length, dtype=torch.float64)).repeat(6)
    return Episodes(actions=states.clone(), states=states, lengths=torch.tensor([length] * 6), timestamps=times, dt=0.1)


@pytest.mark.parametrize(
    ("places", "cut"),
    [(("start",), 12), (("middle",), 14), (("end",), 20 - 10), (("start", "middle", "end"), 36)],
)
def test_pauses_are_cut(places, cut):
    whole = paused()
    made = prepared(whole, Preparation(drop_idle=places))
    lost = whole.lengths - made.lengths
    # the ends of a pause are found to within the five steps over which motion is measured
    assert all(abs(int(n) - cut) <= 3 * len(places) for n in lost)
    # every state of the motion is still there, in order
    for before, after in zip(
        whole.states.split(whole.lengths.tolist()), made.states.split(made.lengths.tolist()), strict=True
    ):
        assert len(torch.unique(after)) == len(torch.unique(before))
        assert (after[1:] >= after[:-1]).all()
    # the time that is cut out leaves no gap
    assert torch.diff(made.timestamps[: int(made.lengths[0])]).tolist() == pytest.approx(
        [0.1] * int(made.lengths[0] - 1)
    )
    # nothing is left to cut
    again = prepared(made, Preparation(drop_idle=places))
    assert again.lengths.tolist() == made.lengths.tolist()


def test_other_places_are_refused():
    with pytest.raises(UnknownNameError, match=r"begin.*Known: end, middle, start"):
        from_plain(Preparation, {"drop_idle": ["begin"]})


def test_weights_by_column_and_file(numbered, tmp_path):
    made = prepared(numbered, Preparation(weights="success", drop_episodes=("0",)))
    assert made.episode_columns[WEIGHT].tolist() == [0, 1, 0]
    for name, text in (("w.json", json.dumps([1, 2, 3, 4.5])), ("w.csv", "1,2\n3,4.5\n"), ("w.txt", "1\n2\n3\n4.5\n")):
        (tmp_path / name).write_text(text)
        made = prepared(numbered, Preparation(weights=str(tmp_path / name)))
        assert made.episode_columns[WEIGHT].tolist() == [1, 2, 3, 4.5]


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 -1", "0 0 0 0", "1 2 3 nan", "1 2 3 x"])
def test_what_is_no_weight_is_refused(numbered, tmp_path, text):
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(DataError, match="weights"):
        prepared(numbered, Preparation(weights=str(tmp_path / "w.txt")))
    with pytest.raises(DataError, match="no episode column"):
        prepared(numbered, Preparation(weights="missing"))
    with pytest.raises(DataError, match="holds words"):
        prepared(numbered, Preparation(weights="who"))


HOSTILE_WEIGHTS = {
    "a giant number": ("w.json", "[" + ", ".join(["9" * 400] * 4) + "]", "damaged|weights"),
    "a number beyond floats": ("w.txt", "1e999 " * 4, "no weights"),
    "deep": ("w.json", "[" * 5000 + "]" * 5000, "nested"),
    "a text of digits": ("w.json", '"1111"', "list of numbers"),
    "truths": ("w.json", "[" + ", ".join(["true"] * 4) + "]", "list of numbers"),
    "keys": ("w.json", "{" + ", ".join(f'"{number}": 1' for number in range(4)) + "}", "list of numbers"),
    "no text": ("w.csv", b"\xff\xfe", "damaged"),
    "not finite": ("w.json", "[" + ", ".join(["NaN"] * 4) + "]", "no weights"),
}


@pytest.mark.parametrize("name", HOSTILE_WEIGHTS)
def test_hostile_files_of_weights_are_refused(numbered, tmp_path, name):
    file, content, message = HOSTILE_WEIGHTS[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        prepared(numbered, Preparation(weights=str(tmp_path / file)))


def test_a_terabyte_of_weights_is_refused(numbered, tmp_path):
    with (tmp_path / "w.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="is larger than"):
        prepared(numbered, Preparation(weights=str(tmp_path / "w.txt")))


def test_quality_blames_the_bad_episodes(gaussian):
    """A linear law with noise: the episodes of the noisy hand get the small weights."""
    start = torch.linspace(-1, 1, 24, dtype=torch.float64)
    states = torch.stack([start * 0.95**t for t in range(40)], dim=1).flatten()[:, None]
    noise = torch.where(torch.arange(24) % 4 == 0, 0.5, 0.05).double().repeat_interleave(40)[:, None]
    actions = -states + noise * gaussian(0, len(states), 1)
    made = Episodes(actions=actions, states=states, lengths=torch.tensor([40] * 24))
    weights = prepared(made, Preparation(weights="quality")).episode_columns[WEIGHT]
    bad = torch.arange(24) % 4 == 0
    assert float(weights[bad].max()) < 0.25 < float(weights[~bad].min())
    assert float(weights.max()) <= 1


def test_quality_by_hand():
    """Five episodes in the same places with one action each: d is the distance to the median of the other four.

    To 0.2, 0.15, 0.2, 0.05 and 0.05 in turn, so that d = 0.2, 0.05, 0.3, 0.25 and 0.95, of which 0.25 is the median.
    """
    places = torch.linspace(0, 1, 30, dtype=torch.float64).repeat(5)[:, None]
    actions = torch.tensor([0.0, 0.1, -0.1, 0.3, 1.0]).double().repeat_interleave(30)[:, None]
    made = Episodes(actions=actions, states=places, lengths=torch.tensor([30] * 5))
    weights = prepared(made, Preparation(weights="quality")).episode_columns[WEIGHT]
    assert weights.tolist() == pytest.approx([1, 1, (0.25 / 0.3) ** 2, 1, (0.25 / 0.95) ** 2], rel=1e-5)


def test_nothing_asked_changes_nothing(numbered):
    assert prepared(numbered, Preparation()) is numbered
    same = prepared(numbered, Preparation(drop_idle=("start", "middle", "end")))
    assert same.actions.tolist() == numbered.actions.tolist()
    assert replace(same, cameras={}).final_states.tolist() == numbered.final_states.tolist()
