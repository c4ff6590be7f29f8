"""`holdfast compare`: the same starts for all, seed folders as one arm, what is refused."""

import json
import shutil

import pytest
import torch

from holdfast.evaluation import Arm, differences


@pytest.fixture(scope="module")
def runs(cli, demos_folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("compared")
    quick = ("--batch-size", 4, "--steps")
    assert cli("train", demos_folder, "--out", place / "short", *quick, 2)[0] == 0
    assert cli("train", demos_folder, "--out", place / "long", *quick, 40)[0] == 0
    assert cli("train", demos_folder, "--out", place / "three", *quick, 2, "--seeds", 3)[0] == 0
    shutil.copytree(place / "three", place / "third")
    return place


def test_scores_are_those_of_evaluate_and_differences_are_paired(cli, runs, tmp_path):
    out = tmp_path / "out"
    status, said = cli("compare", runs / "short", runs / "long", "--episodes", 12, "--out", out)
    assert status == 0, said
    found = json.loads((out / "result.json").read_text())
    for arm in found["arms"]:
        assert cli("evaluate", runs / arm["name"], "--episodes", 12, "--out", tmp_path / arm["name"])[0] == 0
        alone = json.loads((tmp_path / arm["name"] / "result.json").read_text())
        assert arm["score"] == alone["score"]
    arms = [Arm(arm["name"], torch.tensor(arm["scores"], dtype=torch.float64)) for arm in found["arms"]]
    (by_hand,) = differences(arms)
    (difference,) = found["differences"]
    assert (difference["first"], difference["second"]) == ("long", "short")
    assert difference["together"]["low"] == pytest.approx(by_hand.together.low)
    assert difference["verdict"] == by_hand.verdict
    assert "One training of each was compared" in said
    assert {path.name for path in out.iterdir()} == {"result.json", "comparison.png", "index.html"}
    assert cli("compare", runs / "short", runs / "long", "--out", out)[0] == 1


def test_a_folder_of_seeds_is_one_arm(cli, runs, tmp_path):
    out = tmp_path / "out"
    status, said = cli("compare", runs / "three", runs / "third", "--episodes", 10, "--out", out)
    assert status == 0, said
    assert "3 trainings of each" in said
    assert "One training" not in said
    found = json.loads((out / "result.json").read_text())
    assert [len(arm["scores"]) for arm in found["arms"]] == [3, 3]
    # copies from the same starts with the same noise are the same
    (difference,) = found["differences"]
    assert (difference["together"]["low"], difference["together"]["high"]) == (0.0, 0.0)


def test_what_cannot_be_compared_is_refused(cli, runs, tmp_path):
    def refused(*arguments) -> str:
        status, said = cli("compare", *arguments, "--episodes", 2, "--out", tmp_path / "out")
        assert status == 1
        assert not (tmp_path / "out").exists()
        return said

    assert "two or more different runs" in refused(runs / "short", runs / "short")
    assert "short: 1, three: 3" in refused(runs / "short", runs / "three")
    assert "holds no run" in refused(runs / "short", tmp_path)
    changed = tmp_path / "elsewhere"
    shutil.copytree(runs / "short", changed)
    recipe = json.loads((changed / "recipe.json").read_text())
    recipe["environment"] = "double_integrator"
    (changed / "recipe.json").write_text(json.dumps(recipe))
    assert "elsewhere: double_integrator" in refused(runs / "short", changed)


def test_the_first_seed_may_be_zero(cli, tmp_path):
    assert cli("demonstrate", "obstacle", "--episodes", 4, "--out", tmp_path / "demos")[0] == 0
    for name, steps in (("one", 1), ("two", 2)):
        quick = ("--batch-size", 4, "--steps", steps)
        assert cli("train", tmp_path / "demos", "--out", tmp_path / name, *quick)[0] == 0
    asked = ("--episodes", 2, "--first-seed", 0, "--out", tmp_path / "out")
    status, said = cli("compare", tmp_path / "one", tmp_path / "two", *asked)
    assert status == 0, said
    assert "from seed 0" in said
    assert json.loads((tmp_path / "out" / "result.json").read_text())["first_seed"] == 0
