"""`holdfast runs`: what tells recipes apart, progress and scores, runs that cannot be read."""

import io
import json
import shutil
from dataclasses import replace

import pytest

from holdfast.cli import main
from holdfast.cli.console import Terminal
from holdfast.cli.runs import _shortened, differences
from holdfast.learn import load_recipe
from holdfast.models import Flow, Regression


@pytest.fixture(scope="module")
def folder(cli, demos_folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("listed")
    quick = ("--batch-size", 4, "--steps")
    assert cli("train", demos_folder, "--out", place / "first", *quick, 2)[0] == 0
    assert cli("train", demos_folder, "--out", place / "deeper" / "second", *quick, 4)[0] == 0
    assert cli("evaluate", place / "first", "--episodes", 10)[0] == 0
    return place


@pytest.fixture
def listed(monkeypatch):
    """Rows of the table as lists of cells."""

    def rows(*arguments) -> list[list[str]]:
        said = io.StringIO()
        monkeypatch.setattr("holdfast.cli.console.console", Terminal(file=said, highlight=False, width=200))
        assert main(["runs", *map(str, arguments)]) == 0
        lines = [line for line in said.getvalue().splitlines() if line.startswith("│")]
        return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]

    return rows


def test_rows_have_progress_score_and_what_differs(folder, listed):
    second, first = listed(folder)
    score = json.loads((folder / "first" / "evaluation" / "result.json").read_text())["score"]
    assert first[:3] == ["first", "2/2", f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"]
    assert second[:3] == ["deeper/second", "4/4", "–"]
    assert "steps 2" in first[4]
    assert "steps 4" in second[4]
    assert [row[0] for row in listed(folder, "--sort", "score")] == ["first", "deeper/second"]


def test_a_run_itself_a_folder_without_runs_and_a_damaged_run(cli, folder, listed, tmp_path):
    assert listed(folder / "first")[0][0] == "first"
    status, said = cli("runs", tmp_path)
    assert status == 1
    assert "holds no run" in said
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.json").write_text("{")
    status, said = cli("runs", tmp_path)
    assert "not listed: " in said
    assert "broken" in said


def test_scores_that_cannot_be_read_or_are_not_finite_are_said(cli, folder, listed, tmp_path):
    shutil.copytree(folder / "first", tmp_path / "run")
    place = tmp_path / "run" / "evaluation" / "result.json"
    found = json.loads(place.read_text())
    place.write_text(json.dumps(found | {"score": {"mean": None, "low": None, "high": None}}))
    assert listed(tmp_path)[0][2] == "not finite"
    place.write_text("{")
    assert listed(tmp_path)[0][2] == "–"
    said = " ".join(cli("runs", tmp_path)[1].split())
    assert "score of run not shown: " in said
    assert "is no result of an evaluation" in said


def test_a_fine_tuned_run_counts_iterations(folder, listed, tmp_path):
    shutil.copytree(folder / "first", tmp_path / "run")
    (tmp_path / "run" / "finetune.json").write_text("{}")
    assert listed(tmp_path)[0][1] == "2 iterations"


def test_fields_are_named_as_shortly_as_tells_them_apart(folder):
    recipe = load_recipe(folder / "first")
    noisier = replace(recipe, training=replace(recipe.training, sigma_train=0.5), seed=3)
    before = recipe.training.sigma_train
    assert differences([recipe, noisier]) == [[f"sigma_train {before}", "seed 0"], ["sigma_train 0.5", "seed 3"]]
    assert differences([recipe, recipe]) == [[], []]
    one, other = (replace(recipe, policy=replace(recipe.policy, model=kind())) for kind in (Flow, Regression))
    assert differences([one, other]) == [["model Flow"], ["model Regression"]]
    both = replace(
        recipe,
        policy=replace(recipe.policy, horizon=recipe.policy.horizon + 1),
        training=replace(recipe.training, steps=99),
    )
    assert differences([recipe, both])[1] == [f"horizon {recipe.policy.horizon + 1}", "steps 99"]
    assert _shortened([("steps",), ("training", "steps")]) == {
        ("steps",): "steps",
        ("training", "steps"): "training.steps",
    }
