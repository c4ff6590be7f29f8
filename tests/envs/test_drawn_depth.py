"""Depth of MuJoCo's cameras: against rays, in data sets, and in a policy that is trained on it and run with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Depth
from holdfast.data.depth_ranges import ranges_of
from holdfast.envs import DrawnDepth, Wrapped, cameras_of, make_environment, rollout
from holdfast.envs.drawn_depth import SUFFIX, metric, source_of
from holdfast.errors import InterfaceError, RecipeError

pytest.importorskip("mujoco")
import mujoco

from .puck import PUCK, expert

NEAR, FAR = 0.5, 3.0
ASKED = {
    "top": (40, 48),
    "top_depth": DrawnDepth(40, 48, NEAR, FAR),
    "onboard_depth": DrawnDepth(32, 32, 0.2, 1.0),
    "side_depth": DrawnDepth(32, 48, NEAR, 4.0),
}


def made(count, cameras=None, name=PUCK):
    return make_environment(name, count, images=True, cameras=ASKED if cameras is None else cameras)


@pytest.fixture(scope="module")
def seen(drawing):
    """Eight episodes of the expert with colours and depth."""
    environment = made(8)
    try:
        return rollout(hf.PlainPolicy(expert), environment, starts=range(8), images=True).episodes
    finally:
        environment.close()


def test_planes_and_what_is_between():
    """OpenGL's perspective matrix by hand: clip coordinates of a point at depth z, mapped to 0 (far) and 1 (near)."""
    near, far = 0.01, 50.0
    for depth in (0.01, 0.3, 2.0, 49.0):
        # z' / w' of glFrustum is (f + n) / (f - n) - 2 f n / ((f - n) z), from -1 (near) to 1 (far)
        clip = (far + near) / (far - near) - 2 * far * near / ((far - near) * depth)
        window = np.array([[(1 - clip) / 2]])
        assert metric(window, near, far)[0, 0] == pytest.approx(depth, rel=1e-6)
    assert metric(np.zeros((1, 1), np.float32), near, far)[0, 0] == 0


def rays(model, data, camera, size):
    """Depth along the axis of a camera where rays through the middles of pixels hit something; 0 where nothing."""
    height, width = size
    index = model.camera(camera).id
    origin, axes = data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3)
    focal = height / 2 / np.tan(np.radians(model.cam_fovy[index]) / 2)
    found, hit = np.zeros(size), np.zeros(1, np.int32)
    for row in range(height):
        for column in range(width):
            # x to the right, y upwards, the camera looks along -z
            ray = np.array([column + 0.5 - width / 2, height / 2 - row - 0.5, -focal])
            length = np.linalg.norm(ray)
            away = mujoco.mj_ray(model, data, origin, axes @ (ray / length), None, 1, -1, hit)
            found[row, column] = max(away, 0) * focal / length
    return found


@pytest.mark.parametrize("name", ["top_depth", "onboard_depth", "side_depth"])
def test_depth_is_that_of_rays(drawing, name):
    """In metres, along the axis of the camera; pixels at the edges of geoms may show either side."""
    environment = made(2, {name: ASKED[name]}, name=PUCK.replace("gym:", "mujoco:"))
    try:
        step = environment.reset([0, 1])
        one = environment.simulators[1]
        mujoco.mj_forward(one.model, one.data)
        expected = rays(one.model, one.data, name.removesuffix(SUFFIX), (ASKED[name].height, ASKED[name].width))
        drawn = environment._filmed.depth(1, name)
        differs = np.abs(drawn - expected) > 2e-3
        assert differs.mean() < 0.02
        assert len(np.unique(expected.round(2))) > 3, "the table, the puck and the target"
        known = ASKED[name].range
        away = step.observation.images[name][1, ..., 0].numpy().astype(int) - known.bytes_of(expected)
        assert (np.abs(away) > 1).mean() < 0.02
    finally:
        environment.close()


def test_where_nothing_is_there_is_no_measurement(drawing):
    """The camera at the side looks over the table: behind it, and in front of it, is nothing."""
    environment = made(1, {"side_depth": ASKED["side_depth"]})
    picture = environment.reset([0]).observation.images["side_depth"][0, ..., 0]
    drawn = environment._filmed.depth(0, "side_depth")
    environment.close()
    assert (drawn[:3] == 0).all()
    assert (drawn[-3:] == 0).all()
    assert torch.equal(picture == 0, torch.as_tensor(drawn == 0))
    assert 0.2 < (drawn > 0).mean() < 0.8


def test_ranges_are_stored_with_the_data(seen):
    assert ranges_of(seen) == {
        "top_depth": Depth(NEAR, FAR),
        "onboard_depth": Depth(0.2, 1.0),
        "side_depth": Depth(NEAR, 4.0),
    }
    assert seen.cameras["top_depth"].shape == (40, 48, 1)
    assert seen.cameras["top"].shape == (40, 48, 3)
    # the table is 2.4 m away, and most of what the camera sees
    levels = seen.cameras["top_depth"].read(torch.arange(5)).double()
    assert float((NEAR + (levels - 1) * (FAR - NEAR) / 254).median()) == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize("name", ["demos.hdf5", "demos.npz"])
def test_a_policy_of_depth_is_trained_and_evaluated(seen, tmp_path, monkeypatch, name):
    """Written, read, trained on colours and depth of two cameras, evaluated and recorded again."""
    monkeypatch.chdir(tmp_path)
    hf.write(replace(seen, meta={**seen.meta, "environment": PUCK}), name)
    again = hf.read(name)
    assert ranges_of(again) == ranges_of(seen)
    rows = torch.tensor([0, 77])
    assert torch.equal(again.cameras["top_depth"].read(rows), seen.cameras["top_depth"].read(rows))
    small = ["--steps", "3", "--batch-size", "4", "--threads", "1", "--n-action-steps", "2"]
    assert main(["train", name, "--images", "top", "top_depth", "onboard_depth", "--out", "run", *small]) == 0
    assert cameras_of(hf.load("run")) == {camera: ASKED[camera] for camera in ("top", "top_depth", "onboard_depth")}
    assert main(["evaluate", "run", "--environment", PUCK, "--episodes", "2", "--record", "flown.hdf5"]) == 0
    assert np.isfinite(json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text())["score"]["mean"])
    flown = hf.read("flown.hdf5")
    assert ranges_of(flown)["onboard_depth"] == Depth(0.2, 1.0)
    assert flown.cameras["onboard_depth"].shape == (32, 32, 1)


def test_depth_is_recorded_from_a_policy_of_states(seen, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hf.write(replace(seen, cameras={}, meta={}), "states.npz")
    assert main(["train", "states.npz", "--out", "run", "--steps", "2", "--batch-size", "4", "--threads", "1"]) == 0
    shown = ["evaluate", "run", "--environment", PUCK, "--episodes", "1", "--record", "flown.hdf5"]
    record = ["--record-cameras", "top", "top_depth", "--picture-size", "32", "48"]
    assert main([*shown, *record]) != 0
    assert "Give the nearest and the farthest depth" in " ".join(capsys.readouterr().err.split())
    assert main([*shown, *record, "--record-depth", "0.5", "3", "--overwrite"]) == 0
    flown = hf.read("flown.hdf5")
    assert {name: camera.shape for name, camera in flown.cameras.items()} == {
        "top": (32, 48, 3),
        "top_depth": (32, 48, 1),
    }
    assert ranges_of(flown) == {"top_depth": Depth(0.5, 3.0)}


def test_other_units_and_ranges_are_refused(drawing, seen, tmp_path, monkeypatch):
    environment = made(1, {"top_depth": DrawnDepth(40, 48, 500.0, 3000.0)})
    with pytest.raises(
        RecipeError, match=r"is 2\.4 m for half of the pixels, but its range is 500 to 3000.* in metres"
    ):
        environment.reset([0])
    environment.close()
    monkeypatch.chdir(tmp_path)
    hf.write(seen, "demos.npz")
    assert main(["train", "demos.npz", "--images", "top_depth", "--out", "run", "--steps", "2", "--threads", "1"]) == 0
    other = made(1, {"top_depth": DrawnDepth(40, 48, 0.5, 2.5)})
    with pytest.raises(
        InterfaceError, match=r"from 0\.5 to 2\.5 of camera top_depth, but the policy was trained on mea"
    ):
        rollout(hf.load("run"), other, starts=[0])
    other.close()


def test_units_are_judged_by_the_first_picture(drawing, monkeypatch):
    """A camera on a hand may later come closer to something than the data ever show: the nearest byte."""
    environment = made(1, {"top_depth": ASKED["top_depth"]})
    environment.reset([0])
    monkeypatch.setattr(environment._filmed, "_metric", lambda *asked: np.full((40, 48), NEAR / 100))
    seen = environment.step(torch.zeros(1, 2)).observation.images["top_depth"]
    environment.close()
    assert torch.equal(seen, torch.ones_like(seen))


def test_depth_of_cameras_that_are_not_there(drawing):
    with pytest.raises(RecipeError, match="has no camera wrist; its cameras: top, side, onboard"):
        made(1, {"wrist_depth": DrawnDepth(8, 8, 0.1, 1.0)})
    with pytest.raises(RecipeError, match=r"camera top_depth shows measurements .* which pusht-pixels does not show"):
        made(1, {"top_depth": DrawnDepth(8, 8, 0.1, 1.0)}, name="pusht-pixels")
    with pytest.raises(RecipeError, match="0 <= NEAR < FAR"):
        DrawnDepth(8, 8, 1.0, 0.5)
    # a model may have a camera of this name itself
    assert source_of("top_depth", DrawnDepth(8, 8, 0.1, 1.0), ["top", "top_depth"]) == "top_depth"


def test_environments_around_others_keep_the_ranges(drawing):
    class Same(Wrapped):
        def shown(self, step):
            return step

    inner = made(1)
    assert Same(inner).depth_ranges == {
        "top_depth": (NEAR, FAR),
        "onboard_depth": (0.2, 1.0),
        "side_depth": (NEAR, 4.0),
    }
    inner.close()
