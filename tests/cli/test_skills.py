"""`holdfast skills`: from labelled demonstrations to a library, from the library to results, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames
from holdfast.policy.skills import Reached, StepLimit, load_library

LABELS = ("fetch", "deliver", "ring")


def said(capsys):
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Demonstrations of the courier, and a run for each label."""
    folder = tmp_path_factory.mktemp("skills")
    assert main(["demonstrate", "courier", "--episodes", "12", "--out", str(folder / "demos")]) == 0
    for label in LABELS:
        quick = ["--steps", "2", "--batch-size", "8", "--threads", "1", "--segments", f"skill={label}"]
        assert main(["train", str(folder / "demos"), "--out", str(folder / "runs" / label), *quick]) == 0
    return folder


def runs(place, *labels):
    return ["--runs", *(f"{label}={place / 'runs' / label}" for label in labels or LABELS)]


def test_from_demonstrations_to_results(place, tmp_path, capsys):
    library = tmp_path / "library"
    command = ["skills", str(place / "demos"), *runs(place), "--steps", "20", "--out", str(library)]
    assert main(command) == 0
    told = said(capsys)
    assert "held-out episodes" in told
    assert f"next: holdfast evaluate {library}" in told
    result = json.loads((library / "result.json").read_text())
    assert result["skills"] == list(LABELS)
    assert sum(map(sum, result["confusion"])) > 20
    assert result["held_out_episodes"] == 1
    assert main(command) == 1
    assert "holds a skill library" in said(capsys)
    assert main([*command, "--overwrite"]) == 0
    assert main(["evaluate", str(library), "--episodes", "2", "--untouched", "2"]) == 0
    found = json.loads((library / "evaluation" / "result.json").read_text())
    assert (found["environment"], found["episodes"], found["skills"]) == ("courier", 2, list(LABELS))
    assert found["score"]["mean"] == found["success"]["mean"]
    assert found["untouched"]["first_seed"] == 400000
    assert "switches" in found
    policy = hf.load_skills(library)
    observation = {"observation.state": [0.0] * 4, "observation.environment_state": [0.0] * 7}
    policy.reset(0)
    assert policy.select_action(observation).shape == (2,)


def test_a_run_of_a_skill_names_its_segments(place):
    recipe = hf.load_recipe(place / "runs" / "ring")
    assert recipe.preparation.segments == "skill=ring"
    assert recipe.environment == "courier"


def test_conditions_from_a_file(place, tmp_path, capsys):
    ends = tmp_path / "ends.json"
    reached = {"kind": "Reached", "coordinates": ["parcel_dx", "parcel_dy"], "within": 0.1}
    ends.write_text(json.dumps({"fetch": [reached, {"kind": "StepLimit", "steps": 60}]}))
    command = ["skills", str(place / "demos"), *runs(place), "--steps", "2", "--every", "0", "--ends", str(ends)]
    assert main([*command, "--out", str(tmp_path / "library")]) == 0
    library = load_library(tmp_path / "library")
    both = Reached(coordinates=("parcel_dx", "parcel_dy"), within=0.1), StepLimit(60)
    assert [skill.ends for skill in library.skills] == [both, (), ()]
    assert json.loads((tmp_path / "library" / "skills.json").read_text())["every"] is None
    capsys.readouterr()
    for content, message in (
        ('{"fly": []}', "names the skill fly. Known: fetch, deliver, ring"),
        ('{"fetch": [{"kind": "StepLimit", "steps": 0}]}', "steps of at least 1"),
        ("[]", "it is not a JSON object"),
    ):
        ends.write_text(content)
        assert main([*command, "--out", str(tmp_path / "other")]) == 1
        assert message in said(capsys)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "phase"], "no column 'phase' with the label of each control step. Known: skill"),
        (["--held-out", "1"], "held_out"),
        (["--every", "-1"], "every"),
    ],
)
def test_options_that_do_not_fit(place, tmp_path, capsys, arguments, message):
    command = ["skills", str(place / "demos"), *runs(place), "--out", str(tmp_path / "new"), *arguments]
    assert main(command) in (1, 2)
    assert message in said(capsys).replace("--held-out", "held_out").replace("--every", "every")
    assert not (tmp_path / "new").exists()


def test_runs_that_do_not_fit(place, tmp_path, capsys):
    def refused(*given):
        assert main(["skills", str(place / "demos"), *given, "--out", str(tmp_path / "new")]) == 1
        return said(capsys)

    assert "no run is given for the label ring" in refused(*runs(place, "fetch", "deliver"))
    assert "names the skill fetch twice" in refused(*runs(place, "fetch", "fetch"))
    assert "expected LABEL=RUN, for example reach=runs/reach, got 'fetch'" in refused("--runs", "fetch")
    assert "does not exist" in refused("--runs", *(f"{label}=none" for label in LABELS))
    assert "names the skill fly" in refused(*runs(place), f"fly={place / 'runs' / 'ring'}")


def test_skills_with_other_actions_name_both(place, tmp_path, capsys):
    assert main(["demonstrate", "scalar", "--episodes", "2", "--out", str(tmp_path / "scalar")]) == 0
    assert main(["train", str(tmp_path / "scalar"), "--out", str(tmp_path / "other"), "--steps", "2"]) == 0
    given = [*runs(place, "fetch", "deliver"), f"ring={tmp_path / 'other'}"]
    assert main(["skills", str(place / "demos"), *given, "--out", str(tmp_path / "new")]) == 1
    assert "the skills fetch and ring have other actions: 2 and 1 numbers" in said(capsys)


def test_options_of_single_policies_are_refused(place, tmp_path, capsys):
    library = tmp_path / "library"
    assert main(["skills", str(place / "demos"), *runs(place), "--steps", "2", "--out", str(library)]) == 0
    assert main(["evaluate", str(library), "--delay", "2", "--sigma-deploy", "0.1"]) == 1
    assert "is a skill library" in (told := said(capsys))
    assert "Remove --sigma-deploy, --delay." in told
    for verb in ("diagnose", "export", "serve"):
        assert main([verb, str(library), *(() if verb == "serve" else ("--out", str(tmp_path / verb)))]) == 1
        assert "is a skill library" in said(capsys)


def test_skills_that_see_pictures(tmp_path, monkeypatch):
    """A planner is given the pictures, the selector the readings."""
    monkeypatch.setenv("HOLDFAST_CACHE", "off")
    rng = torch.Generator().manual_seed(0)
    states = [torch.rand(6, 2, generator=rng, dtype=torch.float64) for _ in range(4)]
    pictures = torch.randint(256, (24, 32, 40, 3), generator=rng, dtype=torch.uint8)
    episodes = replace(
        hf.episodes_from_arrays(states, states, dt=0.1),
        cameras={"top": Frames(pictures)},
        columns={"skill": torch.arange(24) % 6 // 3},
    )
    demos, library = tmp_path / "demos", tmp_path / "library"
    hf.write(episodes, demos)
    quick = ["--images", "top", "--steps", "2", "--batch-size", "4", "--threads", "1"]
    for label in "01":
        assert main(["train", str(demos), *quick, "--segments", f"skill={label}", "--out", str(tmp_path / label)]) == 0
    runs = [f"{label}={tmp_path / label}" for label in "01"]
    assert main(["skills", str(demos), "--runs", *runs, "--steps", "2", "--out", str(library)]) == 0
    shapes = []

    def planner(observation, history):
        shapes.append(tuple(observation["observation.images.top"].shape))
        return "1" if history else "0"

    seen = {"observation.state": torch.zeros(2), "observation.images.top": pictures[0]}
    for policy in (hf.load_skills(library, planner, every=1), hf.load_skills(library)):
        policy.reset(0)
        assert all(policy.select_action(seen).shape == (2,) for _ in range(3))
    assert shapes == [(32, 40, 3)] * 3
