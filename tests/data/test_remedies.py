"""Remedies that `inspect` prints are options that `train` takes: each is parsed, and applied to the data."""

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from holdfast.cli.options import parse
from holdfast.cli.train import Train
from holdfast.data import Preparation, prepared, read
from holdfast.data.choosing import chosen_episodes
from holdfast.data.doctor import inspect_episodes
from holdfast.errors import DataError
from holdfast.types import Episodes

CASES = Path(os.environ.get("HOLDFAST_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases")) / "data"
NAMES = sorted(path.name for path in CASES.iterdir()) if CASES.is_dir() else []
needs_cases = pytest.mark.skipif(not NAMES, reason=f"the planted cases are not in {CASES}")
OPTION = re.compile(r"--(drop-episodes|drop-idle|shift-actions|n-obs-steps)((?: (?:'[^']*'|[\w=.:-]+))*)")
WORDS = re.compile(r"[a-z]{2,}|I|a")
PLACES = ("start", "middle", "end")


def options_in(remedy):
    """The options of a remedy with their values, which end where the sentence goes on."""
    for name, text in OPTION.findall(remedy):
        values = list[str]()
        for word in shlex.split(text):
            if WORDS.fullmatch(word) and word not in PLACES:
                break
            values.append(word.rstrip("."))
        yield name, values


def applied(episodes: Episodes, remedy: str) -> int:
    """The number of options in a remedy, each of which is parsed and changes the data or the windows."""
    found = list(options_in(remedy))
    for name, values in found:
        if name != "n-obs-steps":
            assert values, remedy
        if not values:
            continue
        given = parse(Train, prog="train", arguments=["DATA", "--out", "RUN", f"--{name}", *values])
        made = Preparation(
            drop_episodes=given.drop_episodes or (),
            drop_idle=given.drop_idle or (),
            shift_actions=given.shift_actions or 0,
        )
        if name != "n-obs-steps":
            assert len(prepared(episodes, made).actions) < len(episodes.actions), remedy
    return len(found)


@needs_cases
@pytest.mark.parametrize("name", NAMES)
def test_remedies_of_the_planted_cases(name):
    episodes = read(CASES / name, check=False)
    for finding in inspect_episodes(episodes).findings:
        applied(episodes, finding.remedy)


def walks(signs, *, lengths=60, names=None, path=None):
    """Episodes that go to one of two goals, one each."""
    rng = np.random.default_rng(0)
    for number, sign in enumerate(signs):
        place, rows = rng.normal(size=2), list[tuple[np.ndarray, np.ndarray]]()
        for _ in range(lengths):
            push = -0.1 * (place - sign) + 0.02 * rng.normal(size=2)
            rows.append((place, sign / 2 + push))
            place = place + push
        with h5py.File(path, "a") as file:
            group = file.create_group(names(number))
            group["obs/x"], group["actions"] = (np.stack(part) for part in zip(*rows, strict=True))
            group.attrs["operator"] = f"hand {'A' if sign > 0 else 'B'}"
    return path


TWO = {
    "nested": lambda n: f"{'alpha' if n < 15 else 'beta'}/demo_{n % 15}",
    "stems": lambda n: f"{'alpha' if n < 15 else 'beta'}_{n % 15}",
}


@pytest.mark.parametrize("kind", TWO)
def test_groups_of_two_names_are_one_set_and_can_be_told_apart(tmp_path, kind):
    found = read(walks([1] * 15 + [-1] * 15, names=TWO[kind], path=tmp_path / "a.hdf5"))
    assert len(found) == 30
    assert found.episode_columns["group"] == ("alpha",) * 15 + ("beta",) * 15
    assert any("alpha (15), beta (15)" in note for note in found.meta["reading_notes"])
    assert len(prepared(found, Preparation(drop_episodes=("group=alpha",)))) == 15
    assert sum(applied(found, finding.remedy) for finding in inspect_episodes(found).findings) >= 1


def test_values_with_blanks_are_quoted(tmp_path):
    signs = [1, -1] * 12
    found = read(walks(signs, names=lambda n: f"demo_{n}", path=tmp_path / "a.hdf5"))
    remedies = [finding.remedy for finding in inspect_episodes(found).findings]
    assert any("--drop-episodes 'operator=hand " in remedy for remedy in remedies)
    assert sum(applied(found, remedy) for remedy in remedies) >= 1


def test_many_short_episodes_have_a_remedy_that_can_be_typed():
    lengths = torch.tensor([8, 40] * 30)
    rows = torch.randn(int(lengths.sum()), 2, generator=torch.Generator().manual_seed(0))
    found = Episodes(actions=rows, states=rows.cumsum(0), lengths=lengths)
    (short,) = [one for one in inspect_episodes(found).findings if "shorter than a chunk" in one.what]
    assert short.remedy == "Drop them with --drop-episodes steps=0-15."
    assert applied(found, short.remedy) == 1
    assert chosen_episodes(found, ["steps=0-15"]).tolist() == list(range(1, 60, 2))
    few = replace(found, lengths=torch.tensor([8, 8, 8, *[40] * 29, 1440 - 24 - 40 * 29]))
    assert "--drop-episodes 0-2." in " ".join(one.remedy for one in inspect_episodes(few).findings)


def test_ranges_to_the_end_and_steps():
    rows = torch.zeros(10, 1)
    made = Episodes(actions=rows, states=rows, lengths=torch.tensor([1, 2, 3, 4]))
    assert chosen_episodes(made, ["2-"]).tolist() == [0, 1]
    assert chosen_episodes(made, ["steps=2"]).tolist() == [0, 2, 3]
    with pytest.raises(DataError, match=r"expected a number of steps or a range such as steps=0-9"):
        chosen_episodes(made, ["steps=few"])
    with pytest.raises(DataError, match=r"no episode has this value\. steps is 1, 2, 3, 4"):
        chosen_episodes(made, ["steps=9"])
    own = replace(made, episode_columns={"steps": torch.tensor([0, 0, 1, 1])})
    assert chosen_episodes(own, ["steps=1"]).tolist() == [0, 1]


@needs_cases
def test_the_planted_cases_hold_remedies():
    """The other tests could pass on remedies without options."""
    found = read(CASES / "idle.npz", check=False)
    assert sum(applied(found, finding.remedy) for finding in inspect_episodes(found).findings) >= 2
