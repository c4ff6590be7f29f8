"""A policy that sees a depth camera: from the command line to raw measurements at deployment, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Depth, Selection, measurements, read
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.learn.checkpoint import recipe_digest
from holdfast.learn.pictures import ready_pictures
from holdfast.nn import View
from holdfast.policy.observed import as_observation, remembered
from holdfast.schema import to_plain
from holdfast.sealed import digest_of

KEY = "observation.images.depth"


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Four episodes with a depth camera in millimetres that is large enough to be resized."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(24, 2)).cumsum(0)
    depth = rng.integers(400, 1600, (24, 132, 140, 1)).astype(np.uint16)
    depth[:, 0] = 0
    path = tmp_path_factory.mktemp("demos") / "demos.npz"
    np.savez(path, actions=states, states=states, episode_ends=[6, 12, 18, 24], depth=depth, dt=0.1)
    return path


@pytest.fixture(scope="module")
def run(demos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--steps", "2", "--threads", "1", "--depth-range", "400", "1416"]
    assert main(["train", str(demos), "--out", str(out), "--images", "depth", *options]) == 0
    return out


def test_the_range_is_said_and_stored(demos, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(demos), "--out", str(out), "--images", "depth", "--steps", "2", "--threads", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "camera depth: measurements (uint16) from 400 to 1600, in the units of the data, become bytes" in said
    assert "select_action(...) with the raw measurements as observation.images.depth" in said
    view = json.loads((out / "recipe.json").read_text())["policy"]["vision"]["views"][0]
    assert (view["depth"], view["channels"], view["resize"]) == ([400.0, 1600.0], 1, [96, 102])
    # the same data have the same range again, as a resumed training needs
    assert len(ready_pictures(read(demos), hf.load(out).spec.vision)["depth"]) == 24


def test_the_option_is_stored_with_the_selection(run):
    recipe = hf.load_recipe(run)
    assert recipe.selection == Selection(depth_range=(400.0, 1416.0))
    assert recipe.policy.vision is not None
    assert recipe.policy.vision.views[0].depth == (400.0, 1416.0)
    assert hf.load(run).spec.vision == recipe.policy.vision


@pytest.mark.parametrize("form", ["array", "no channel", "tensor", "float", "batch"])
def test_raw_measurements_become_the_trained_bytes(demos, run, form):
    policy, episodes = hf.load(run), read(demos, selection=Selection(depth_range=(400, 1416)))
    row = torch.tensor([7])
    raw = measurements(episodes.cameras["depth"], row)
    given = {
        "array": raw[0],
        "no channel": raw[0, ..., 0],
        "tensor": torch.as_tensor(raw[0].astype(np.int32)),
        "float": np.where(raw[0] == 0, np.nan, raw[0]),
        "batch": raw,
    }[form]
    state = episodes.states[7:8] if form == "batch" else episodes.states[7]
    seen = as_observation({"observation.state": state, KEY: given}, policy.spec)
    assert torch.equal(seen.images["depth"].reshape(1, 132, 140, 1), episodes.cameras["depth"].read(row))
    kept = remembered(seen, policy.spec).images["depth"].reshape(1, 96, 102, 1)
    trained = ready_pictures(episodes, policy.spec.vision)["depth"].read(row)
    assert torch.equal(kept, trained)
    # nothing in between is invented
    assert set(trained.unique().tolist()) <= set(episodes.cameras["depth"].read(row).unique().tolist())
    policy.reset(0)
    action = policy.select_action({"observation.state": state, KEY: given})
    again = hf.load(run)
    again.reset(0)
    assert torch.equal(action, again.select_action(seen))
    assert action.shape == ((1, 2) if form == "batch" else (2,))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((132, 140, 1), np.uint8), DataError, "expected measurements of camera 'depth' .* got bytes"),
        (torch.zeros(132, 140, 1, dtype=torch.uint8), DataError, "expected measurements .* got bytes"),
        (np.zeros((132, 140, 1), bool), DataError, "expected measurements .* got bool"),
        (np.full((132, 140), 0.9), DataError, "below 0.9, but those of the training are from 400 to 1416"),
        (np.full((132, 140), 9e8), DataError, "above 9e\\+08, but those of the training are from 400 to 1416"),
        (np.zeros((66, 70), np.uint16), ShapeError, r"of shape \[132, 140, 1\] or \[132, 140\].* got \[66, 70\]"),
        (np.zeros((132, 140, 3), np.uint16), ShapeError, r"got \[132, 140, 3\]"),
        ("near", DataError, "expected measurements .* got <U4"),
    ],
)
def test_what_is_no_measurement_is_refused(run, given, error, words):
    with pytest.raises((error, ShapeError), match=words):
        hf.load(run).select_action({"observation.state": torch.zeros(2), KEY: given})


def test_measurements_are_refused_where_bytes_were_trained_on(run):
    spec = hf.load(run).spec
    vision = replace(spec.vision, views=(replace(spec.vision.views[0], depth=None),))
    with pytest.raises(DataError, match=r"expected a picture of camera 'depth' of bytes .* got uint16"):
        as_observation(
            {"observation.state": torch.zeros(2), KEY: np.full((132, 140, 1), 900, np.uint16)},
            replace(spec, vision=vision),
        )


@pytest.mark.parametrize("environment", [[], ["--environment", "pusht-pixels"], ["--environment", "double_integrator"]])
def test_depth_is_refused_where_none_is_drawn(run, capsys, environment):
    assert main(["evaluate", str(run), "--episodes", "1", *environment]) != 0
    said = " ".join("".join(capsys.readouterr()).split())
    refused = f"camera depth shows measurements (depth or touch), which {environment[-1]} does" if environment else ""
    assert (refused or "no environment is recorded") in said
    with pytest.raises(RecipeError, match=r"which double_integrator does not show\. Depth is drawn of"):
        hf.evaluate(hf.load(run), "double_integrator", episodes=1)


def test_data_of_another_kind_or_range_are_refused(demos, run, tmp_path):
    vision = hf.load(run).spec.vision
    with pytest.raises(
        DataError, match=r"from 400 to 1416 .* got measurements from 400 to 1600. .* --depth-range 400 1416"
    ):
        ready_pictures(read(demos), vision)
    bytes_of = replace(vision, views=(replace(vision.views[0], depth=None),))
    with pytest.raises(DataError, match="expected bytes of camera 'depth', as in the recipe, got measurements"):
        ready_pictures(read(demos), bytes_of)


@pytest.mark.parametrize("options", [["1600", "400"], ["-1", "400"], ["400"], ["0", "nan"]])
def test_odd_ranges_are_refused_before_any_work(demos, tmp_path, capsys, options):
    given = ["train", str(demos), "--out", str(tmp_path / "run"), "--images", "depth", "--depth-range", *options]
    with_status = _status(given)
    assert with_status != 0
    assert "depth" in "".join(capsys.readouterr())
    assert not (tmp_path / "run").exists()


def _status(given):
    try:
        return main(given)
    except SystemExit as stop:
        return stop.code


def test_recipes_without_depth_have_the_digest_that_they_had(run):
    recipe = hf.load_recipe(run)
    vision = recipe.policy.vision
    assert vision is not None
    older = replace(
        recipe,
        selection=Selection(),
        policy=replace(recipe.policy, vision=replace(vision, views=(replace(vision.views[0], depth=None),))),
    )
    plain = to_plain(replace(older, data="", environment=None))
    plain["dynamics"].pop("exploration", None)
    del plain["preparation"], plain["selection"], plain["policy"]["vision"]["views"][0]["depth"]
    del plain["policy"]["observed_rotations"], plain["policy"]["codec"]["rotations"]
    del plain["policy"]["language"], plain["policy"]["execution"]["filter"], plain["training"]["encoder_learning_rate"]
    if recipe.policy.execution.sigma_features == 0:
        del plain["policy"]["execution"]["sigma_features"]
    assert recipe_digest(older) == digest_of(plain)
    assert recipe_digest(recipe) != recipe_digest(older)


@pytest.mark.parametrize(
    ("channels", "depth"), [(3, (0.0, 1.0)), (1, (1.0, 1.0)), (1, (1.0,)), (1, (0.0, float("inf")))]
)
def test_views_of_no_depth(channels, depth):
    with pytest.raises(RecipeError, match="0 <= near < far"):
        View(camera="top", height=8, width=8, channels=channels, depth=depth)
    assert Depth.of(View(camera="top", height=8, width=8, channels=1, depth=(0.0, 1.0)).depth) == Depth(0, 1)
