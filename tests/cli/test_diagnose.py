"""`holdfast diagnose` and the studies of the theory, from the command line."""

import json

import numpy as np
import pytest

EASY = ["--starts", 10, "--steps", 20, "--no-sweeps"]


def test_a_verdict_a_page_and_numbers(cli, run_folder, tmp_path):
    out = tmp_path / "page"
    status, said = cli("diagnose", run_folder, *EASY, "--out", out)
    assert status == 0, said
    assert "of what the expert earns from the same starts" in said
    found = json.loads((out / "result.json").read_text())
    assert found["verdict"] in ("holds", "drifts", "fails", "unclear")
    assert found["environment"] == "scalar"
    assert found["episodes"] == 10
    assert found["missing"] == {}
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(finding["claim"].split(" (")[0][:40] in page for finding in found["findings"])
    for name in ("drift", "perturbation", "imitation", "continuity", "novelty"):
        assert (out / f"{name}.png").is_file()
    # results are not written over unasked
    status, said = cli("diagnose", run_folder, *EASY, "--out", out)
    assert status == 1
    assert "exists already" in said
    # the same seed says the same
    assert cli("diagnose", run_folder, *EASY, "--out", out, "--overwrite")[0] == 0
    again = json.loads((out / "result.json").read_text())
    assert again["findings"] == found["findings"]


@pytest.mark.parametrize("verb", ["evaluate", "diagnose"])
def test_seeds_of_a_system_are_refused_before_work_begins(cli, run_folder, tmp_path, verb):
    status, said = cli(verb, run_folder, "--first-seed", 3, "--out", tmp_path / "page")
    assert status == 1
    assert said.startswith("error: on scalar, --seed selects all initial states.")
    assert "Give --seed 3 instead of --first-seed." in " ".join(said.split())
    assert not (tmp_path / "page").exists()


def test_charts_in_a_browser(cli, run_folder, tmp_path, browser):
    """The axes' numbers fit the data, also after changes of the window and the theme."""
    status, said = cli("diagnose", run_folder, "--starts", 10, "--steps", 20, "--out", tmp_path / "page")
    assert status == 0, said
    assert browser.faults_over_changes(tmp_path / "page" / "index.html") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--starts", 4], "4 episodes are too few for intervals. Give at least 10 starts."),
        (["--environment", "nowhere"], "unknown environment 'nowhere'"),
        (["--data", "{tmp}/none"], "none"),
        (["--data", "{tmp}/other.npz"], "as the policy was trained on, got 3, 3 and 2"),
    ],
)
def test_doors(cli, run_folder, tmp_path, arguments, message):
    np.savez(tmp_path / "other.npz", states=np.ones((20, 3)), actions=np.ones((20, 2)), lengths=[20])
    given = [str(argument).replace("{tmp}", str(tmp_path)) for argument in arguments]
    status, said = cli("diagnose", run_folder, "--steps", 20, "--out", tmp_path / "out", *given)
    assert status == 1
    assert message in said


def test_study_toy(cli, tmp_path):
    status, said = cli("study", "toy", "--out", tmp_path / "toy")
    assert status == 0, said
    found = json.loads((tmp_path / "toy" / "result.json").read_text())
    assert found["growth"]["mean"]["rate"]["mean"] == pytest.approx(1.05, abs=0.002)
    assert found["rows"]
    assert cli("study", "toy", "--out", tmp_path / "toy")[0] == 1
