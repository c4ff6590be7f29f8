"""Labels of control steps: their names, the ends of their segments, and the segments as episodes."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Frames, Preparation, ends_of, labels_of, prepared, read, segments, write
from holdfast.errors import DataError, RecipeError, UnknownNameError
from holdfast.learn import checkpoint
from holdfast.policy import PolicySpec
from holdfast.recipe import Recipe
from holdfast.types import Episodes, Observation

LABELS = torch.tensor([2, 2, 5, 5, 2, 2, 5, 2])


@pytest.fixture
def labelled():
    """Episodes of five and three steps."""
    rows = torch.arange(8.0, dtype=torch.float64).unsqueeze(-1)
    return Episodes(
        actions=10 * rows,
        states=rows,
        lengths=torch.tensor([5, 3]),
        final_states=torch.tensor([[100.0], [200.0]], dtype=torch.float64),
        observations=Observation(state=-rows, environment_state=rows + 0.5),
        cameras={"top": Frames(torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1).expand(8, 4, 4, 1).clone())},
        columns={"skill": LABELS},
        episode_columns={"success": torch.tensor([1, 0]), "operator": ("ann", "bob")},
        dt=0.1,
    )


def test_numbers_are_names_where_there_are_none(labelled):
    labels, names = labels_of(labelled, "skill")
    assert names == ("2", "5")
    assert labels.tolist() == [0, 0, 1, 1, 0, 0, 1, 0]


def test_names_are_stored_with_the_data(labelled, tmp_path):
    named = replace(labelled, columns={"skill": (LABELS == 5).long()}, meta={"labels": {"skill": ["go", "stay"]}})
    write(named, tmp_path / "demos.npz")
    labels, names = labels_of(read(tmp_path / "demos.npz"), "skill")
    assert (names, labels.tolist()) == (("go", "stay"), [0, 0, 1, 1, 0, 0, 1, 0])


def test_segments_end_with_labels_and_with_episodes(labelled):
    assert ends_of(labelled, LABELS).nonzero().flatten().tolist() == [1, 3, 4, 5, 6, 7]


def test_segments_as_episodes(labelled):
    cut = segments(labelled, "skill", "2")
    assert cut.lengths.tolist() == [2, 1, 1, 1]
    assert cut.states.flatten().tolist() == [0, 1, 4, 5, 7]
    assert cut.actions.flatten().tolist() == [0, 10, 40, 50, 70]
    # after rows 1 and 5 comes the next row; rows 4 and 7 are the last of their episodes
    assert cut.final_states.flatten().tolist() == [2, 100, 6, 200]
    assert cut.observations.environment_state.flatten().tolist() == [0.5, 1.5, 4.5, 5.5, 7.5]
    assert cut.cameras["top"].read(torch.arange(5))[:, 0, 0, 0].tolist() == [0, 1, 4, 5, 7]
    assert cut.episode_columns["success"].tolist() == [1, 1, 0, 0]
    assert cut.episode_columns["operator"] == ("ann", "ann", "bob", "bob")
    assert (cut.dt, cut.columns["skill"].unique().tolist()) == (0.1, [2])
    assert segments(replace(labelled, final_states=None), "skill", "5").final_states is None


def test_a_preparation_takes_one_label(labelled):
    made = prepared(labelled, Preparation(segments="skill=5", drop_episodes=("success=0",)))
    assert made.states.flatten().tolist() == [2, 3]
    assert made.meta["preparation_notes"][1] == "--segments left out 3 of 5 steps, with other labels"
    with pytest.raises(RecipeError, match=r"COLUMN=LABEL, for example skill=reach, got 'skill'"):
        Preparation(segments="skill")
    with pytest.raises(UnknownNameError, match=r"unknown label of the column skill '3'. Known: 2, 5"):
        prepared(labelled, Preparation(segments="skill=3"))


def test_older_runs_with_a_preparation_resume(monkeypatch):
    """The digest of a recipe without segments is that of one written before there were any."""
    told = []
    monkeypatch.setattr(checkpoint, "digest_of", lambda plain: str(told.append(plain["preparation"])))
    for text in ("", "skill=2"):
        spec = PolicySpec(n_states=1, n_actions=1, n_observed=1)
        checkpoint.recipe_digest(Recipe(policy=spec, preparation=Preparation(shift_actions=1, segments=text)))
    assert ["segments" in preparation for preparation in told] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {}}, r"no column 'skill' with the label of each control step. Known: none"),
        ({"columns": {"skill": torch.full((8,), 0.5)}}, "one whole number per row in the column skill"),
        ({"columns": {"skill": torch.zeros(8, 2)}}, "one whole number per row in the column skill"),
        ({"meta": {"labels": {"skill": ["a"]}}}, "labels from 2 to 5, but there are 1 names of labels: a"),
    ],
)
def test_columns_that_are_no_labels(labelled, change, message):
    with pytest.raises(DataError, match=message):
        labels_of(replace(labelled, **change), "skill")


def test_a_name_that_no_row_has(labelled):
    named = replace(labelled, columns={"skill": torch.zeros(8).long()}, meta={"labels": {"skill": ["go", "stay"]}})
    with pytest.raises(DataError, match="no row has the label stay"):
        segments(named, "skill", "stay")
