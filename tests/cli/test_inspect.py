"""`holdfast inspect`, as users run it."""

import json
import math

import pytest
import torch

from holdfast.data import read
from holdfast.data.formats import native


@pytest.fixture(scope="module")
def inspected(cli, demos_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("inspect") / "out"
    status, said = cli("inspect", demos_folder, "--out", out)
    assert status == 0, said
    return out, said


def test_what_it_writes(inspected):
    out, said = inspected
    files = {path.name for path in out.iterdir()}
    assert {"index.html", "result.json", "ranges.png", "coverage.png"} <= files
    result = json.loads((out / "result.json").read_text())
    assert (result["episodes"], result["system"], result["horizon"]) == (4, "scalar", 16)
    assert result["steps"] == result["steps_longest"] * 4
    assert {"check", "severity", "what", "effect", "remedy", "values"} == set(result["findings"][0])
    for name in ("index.html", "result.json"):
        assert str(out / name).replace(" ", "") in said.replace(" ", "")


def test_what_it_says(inspected):
    said = inspected[1]
    assert "Training accepts the data set." in said
    assert "All numbers are finite." in said
    assert "no errors" in said


def test_results_stay_unless_replacing_is_asked_for(cli, demos_folder, inspected):
    out = inspected[0]
    status, said = cli("inspect", demos_folder, "--out", out, "--no-pictures")
    assert status == 1
    assert "exists already" in said
    assert cli("inspect", demos_folder, "--out", out, "--no-pictures", "--overwrite")[0] == 0


def test_sets_that_training_refuses(cli, demos_folder, tmp_path):
    """Faults are findings, not failures."""
    from safetensors.torch import load_file, save_file

    sick = tmp_path / "sick"
    native.write(read(demos_folder), sick)
    (stored,) = sick.glob("*.safetensors")
    arrays = load_file(stored)
    arrays["states"][3, 0] = math.nan
    save_file({name: torch.clone(values) for name, values in arrays.items()}, stored)
    status, said = cli("train", sick, "--out", tmp_path / "run")
    assert status == 1
    status, said = cli("inspect", sick, "--out", tmp_path / "out", "--no-pictures")
    assert status == 0
    assert "states changed after the data set was written" in said
    assert "is nan at episode 0, step 3" in said
    assert "3 errors" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json"}


def test_what_cannot_be_read(cli, tmp_path):
    status, said = cli("inspect", tmp_path / "nowhere.npz", "--out", tmp_path / "out")
    assert status == 1
    assert "nowhere.npz" in said
    assert "does not exist" in said
    status, said = cli("inspect", tmp_path, "--out", tmp_path / "out")
    assert status == 1
    assert "Known formats" in said
    assert not (tmp_path / "out").exists()


def test_a_chunk_has_a_step(cli, demos_folder, tmp_path):
    status, said = cli("inspect", demos_folder, "--out", tmp_path / "out", "--horizon", 0)
    assert status == 1
    assert "at least 1 step" in said


def test_changed_numbers_are_an_error_of_the_report(cli, demos_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    changed = tmp_path / "changed"
    native.write(read(demos_folder), changed)
    (stored,) = changed.glob("*.safetensors")
    arrays = load_file(stored)
    arrays["states"][3, 0] += 1e-6
    save_file({name: torch.clone(values) for name, values in arrays.items()}, stored)
    status, said = cli("inspect", changed, "--out", tmp_path / "out")
    assert status == 0
    assert "The data are not those that were written" in said
    assert "1 error" in said
    assert "Training accepts" not in said
    assert "warning:" not in said
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    (error,) = [one for one in found["findings"] if one["severity"] == "error"]
    assert "states changed after the data set was written" in error["what"]
    assert "The data are not those that were written" in (tmp_path / "out" / "index.html").read_text()
