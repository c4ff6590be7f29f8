"""Cameras of MuJoCo models: drawn, recorded, learned from in two formats, and asked for again in evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.envs import make_environment, rollout
from holdfast.errors import RecipeError

pytest.importorskip("mujoco")
from .puck import PUCK, expert

SIZES = {"top": (40, 48), "side": (32, 32), "onboard": (40, 48)}


def made(count, **options):
    return make_environment(PUCK, count, images=True, **{"cameras": SIZES, **options})


@pytest.fixture(scope="module")
def filmed(drawing):
    """Twelve episodes of the expert, seen by three cameras."""
    environment = made(12)
    try:
        return rollout(hf.PlainPolicy(expert), environment, starts=range(12), images=True).episodes
    finally:
        environment.close()


def red(pictures):
    """Pixels of the target."""
    wide = pictures.int()
    return (wide[..., 0] > 100) & (wide[..., 1] < 80)


def test_pictures_show_the_state(filmed):
    """The target in the picture from above lies where the observation says; on the puck, the camera moves instead."""
    pictures = {name: camera.read(torch.arange(len(camera))) for name, camera in filmed.cameras.items()}
    sizes = {name: tuple(values.shape[1:]) for name, values in pictures.items()}
    assert sizes == {name: (*size, 3) for name, size in SIZES.items()}
    target = filmed.observations.environment_state
    # where the puck does not hide the target
    apart = (filmed.states[:, :2] - target).norm(dim=1) > 0.4
    assert int(apart.sum()) > 20
    # x grows to the right, y upwards; a picture of 40 rows is 1.99 high at the height of the target, with fovy 45°
    width = 2 * (2.4 - 0.04) * np.tan(np.radians(45) / 2) / 40
    for picture, (x, y) in zip(red(pictures["top"])[apart], target[apart], strict=True):
        rows, columns = picture.nonzero().double().mean(0) + 0.5
        assert abs(float((columns - 24) * width - x)) < 0.04
        assert abs(float((20 - rows) * width - y)) < 0.04
    first, last = pictures["onboard"][0], pictures["onboard"][int(filmed.lengths[0]) - 1]
    assert not torch.equal(first, last)


def test_the_simulation_is_the_same_with_and_without_pictures(filmed):
    plain = make_environment(PUCK, 12)
    again = rollout(hf.PlainPolicy(expert), plain, starts=range(12)).episodes
    assert torch.equal(again.actions, filmed.actions)
    assert torch.equal(again.states, filmed.states)
    assert not again.cameras


def test_pictures_are_those_of_the_state_they_belong_to(drawing):
    """Also after the simulator was placed, and for episodes that are over."""
    environment = make_environment(PUCK.replace("gym:", "mujoco:"), 2, images=True, cameras=SIZES)
    environment.reset([0, 1])
    moved = environment.step(torch.ones(2, 2))
    placed = environment.set_state(environment.get_state())
    assert all(torch.equal(moved.observation.images[name], placed.observation.images[name]) for name in SIZES)
    for _ in range(25):
        last = environment.step(torch.ones(2, 2))
    assert bool(last.over.all())
    assert torch.equal(last.observation.images["top"], environment.step(torch.ones(2, 2)).observation.images["top"])
    environment.close()


@pytest.mark.parametrize("name", ["demos.hdf5", "demos"])
def test_robomimic_and_films_train_and_evaluate(filmed, tmp_path, monkeypatch, name):
    """Pictures of a robomimic file come back to the bit, those of a film nearly."""
    if name == "demos":
        pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    hf.write(filmed, tmp_path / name, video=name == "demos")
    again = hf.read(tmp_path / name)
    rows = torch.tensor([0, 77, len(filmed.actions) - 1])
    for camera in SIZES:
        difference = again.cameras[camera].read(rows).int() - filmed.cameras[camera].read(rows).int()
        assert float(difference.abs().double().mean()) <= (0 if name.endswith("hdf5") else 12)
    small = ["--steps", "3", "--batch-size", "4", "--threads", "1", "--n-action-steps", "2"]
    assert main(["train", name, "--images", *SIZES, "--out", "run", *small]) == 0
    assert main(["evaluate", "run", "--environment", PUCK, "--episodes", "2", "--record", "flown.hdf5"]) == 0
    result = json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text())
    assert np.isfinite(result["score"]["mean"])
    assert {camera: pictures.shape for camera, pictures in hf.read("flown.hdf5").cameras.items()} == {
        camera: (*size, 3) for camera, size in SIZES.items()
    }


def test_a_policy_of_states_is_filmed(drawing, filmed, tmp_path, monkeypatch, capsys):
    """Its episodes become demonstrations with pictures."""
    monkeypatch.chdir(tmp_path)
    hf.write(replace(filmed, cameras={}), "states.npz")
    assert main(["train", "states.npz", "--out", "run", "--steps", "2", "--batch-size", "4", "--threads", "1"]) == 0
    shown = ["--environment", PUCK, "--episodes", "1"]
    record = ["--record", "flown", "--record-cameras", "top", "onboard", "--picture-size", "32", "48"]
    assert main(["evaluate", "run", *shown, *record, "--video"]) == 0
    assert {name: camera.shape for name, camera in hf.read("flown").cameras.items()} == {
        "top": (32, 48, 3),
        "onboard": (32, 48, 3),
    }
    assert main(["evaluate", "run", *shown, "--record-cameras", "top"]) != 0
    assert "Give --record DATA as well" in capsys.readouterr().err
    wrong = [*record[:2], "--record-cameras", "left", "--overwrite"]
    assert main(["evaluate", "run", *shown, *wrong]) != 0
    assert "has no camera left; its cameras: top, side, onboard" in " ".join(capsys.readouterr().err.split())


def test_other_cameras_are_refused(drawing):
    with pytest.raises(RecipeError, match=r"has no camera wrist; its cameras: top, side, onboard\. Add <camera"):
        made(1, cameras={"wrist": (24, 24)})
    with pytest.raises(RecipeError, match="does not show top: its observations hold no pictures"):
        make_environment("gym:Pendulum-v1", 1, images=True, cameras={"top": (24, 24)})


def test_without_drivers_the_way_out_is_said(drawing, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    with pytest.raises(RecipeError, match=r"pictures cannot be drawn here \(nothing: ModuleNotFoundError\)"):
        made(1)
