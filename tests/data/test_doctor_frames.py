"""Cameras in a sample of pictures: faults are planted in clean pictures, drawn here or of Push-T."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast.data import read
from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.frames import EPISODES, WINDOW, check_frames
from holdfast.data.pictures import Chosen, Frames
from holdfast.types import Episodes

DATA = Path(os.environ.get("HOLDFAST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PUSHT = DATA / "pusht" / "pusht_cchi_v7_replay.zarr"
LENGTH, COUNT, SIZE = 80, 10, 24


def drawn(places, *, shade=200, noise=0, seed=0):
    """Pictures with a soft bright spot at places in [0, 1]²."""
    grid = torch.linspace(0, 1, SIZE)
    spots = [torch.exp(-((grid[None] - place) ** 2) / 0.01) for place in places.T[:, :, None].float()]
    pictures = shade * spots[1][:, :, None] * spots[0][:, None, :]
    rng = torch.Generator().manual_seed(seed)
    pictures = pictures + 20 + noise * torch.randn(pictures.shape, generator=rng)
    return pictures.clamp(0, 255)[..., None].expand(-1, -1, -1, 3).to(torch.uint8)


@pytest.fixture(scope="module")
def clean() -> Episodes:
    """A point that starts and stops, seen from the front and mirrored."""
    rng = torch.Generator().manual_seed(5)
    pushes = torch.randn(COUNT, LENGTH, 2, generator=rng, dtype=torch.float64)
    bursts = (torch.rand(COUNT, LENGTH // 5, 1, generator=rng) < 0.5).repeat_interleave(5, dim=1)
    speeds = torch.nn.functional.avg_pool1d((pushes * bursts).transpose(1, 2), 3, 1, 1).transpose(1, 2)
    places = (0.5 + 0.03 * speeds.cumsum(1)).clamp(0.05, 0.95).flatten(0, 1)
    cameras = {"front": Frames(drawn(places)), "back": Frames(drawn(1 - places, shade=150))}
    return Episodes(
        actions=speeds.flatten(0, 1), states=places, lengths=torch.full((COUNT,), LENGTH), dt=0.1, cameras=cameras
    )


@pytest.fixture(scope="module")
def pusht() -> Episodes:
    if not PUSHT.is_dir():
        pytest.skip(f"the demonstrations of Push-T are not in {PUSHT}")
    return read(PUSHT)


def warnings(episodes, **cameras):
    made = replace(episodes, cameras={**episodes.cameras, **cameras})
    return [finding for finding in check_frames(made) if finding.severity == "warning"]


def moved(episodes, camera, steps, *, within=None):
    """A camera whose pictures are those of some steps before, or the first of each episode."""
    starts = episodes.starts.repeat_interleave(episodes.lengths)
    ends = starts + episodes.lengths.repeat_interleave(episodes.lengths) - 1
    rows = torch.arange(len(starts))
    other = starts if steps is None else torch.maximum(torch.minimum(rows - steps, ends), starts)
    if within is not None:
        owner = torch.arange(len(episodes)).repeat_interleave(episodes.lengths)
        other = torch.where(torch.isin(owner, torch.tensor(within)), other, rows)
    return Chosen(episodes.cameras[camera], other)


def test_clean_pictures_are_quiet_and_the_sample_is_said(clean, pusht):
    assert not warnings(clean)
    assert not warnings(pusht)
    (found,) = check_frames(clean)
    assert f"a sample of {2 * EPISODES * WINDOW:,} of {2 * COUNT * LENGTH:,} pictures" in found.what
    assert "Not checked: focus" in found.what
    (found,) = check_frames(pusht)
    assert found.values["pictures"] <= EPISODES * WINDOW


@pytest.mark.parametrize("noise", [2, 6])
def test_noise_low_rates_and_one_step_are_quiet(clean, noise):
    assert not warnings(clean, front=Frames(drawn(clean.states, noise=noise)))
    starts = clean.starts.repeat_interleave(clean.lengths)
    rows = torch.arange(len(starts))
    assert not warnings(clean, front=Chosen(clean.cameras["front"], starts + (rows - starts) // 3 * 3))
    assert not warnings(clean, front=moved(clean, "front", 1))


@pytest.mark.parametrize("steps", [2, 3, 5, -2, -4])
def test_late_pictures(clean, pusht, steps):
    for episodes, camera in ((clean, "front"), (pusht, "img")):
        (found,) = warnings(episodes, **{camera: moved(episodes, camera, steps)})
        assert (found.values["kind"], found.values["camera"]) == ("late", camera)
        assert found.values["lag"] == pytest.approx(steps, abs=1)
        assert ("late" in found.what) == (steps > 0)


def test_a_frozen_camera(clean, pusht):
    for episodes, camera in ((clean, "front"), (pusht, "img")):
        (found,) = warnings(episodes, **{camera: moved(episodes, camera, None)})
        assert f"The camera {camera} is frozen in all 8 episodes" in found.what


def test_a_camera_that_is_frozen_in_some_episodes(clean):
    (found,) = warnings(clean, front=moved(clean, "front", None, within=[0, 9]))
    assert found.values["episodes"] == [0, 9]
    assert "--drop-episodes 0 9" in found.remedy


def test_a_still_camera_is_not_frozen_where_nothing_moves(clean):
    still = replace(clean, states=torch.where(torch.arange(len(clean.states))[:, None] < LENGTH, clean.states, 0.5))
    assert not warnings(
        still, front=moved(clean, "front", None, within=list(range(1, COUNT))), back=clean.cameras["back"]
    )


@pytest.mark.parametrize(("level", "colour"), [(0, "black"), (255, "white"), (90, "of one colour")])
def test_blank_cameras(clean, level, colour):
    blank = torch.full((COUNT * LENGTH, SIZE, SIZE, 3), level, dtype=torch.uint8)
    (found,) = warnings(clean, front=Frames(blank))
    assert f"camera front are {colour} in all 8 episodes" in found.what
    half = torch.where(torch.arange(COUNT * LENGTH)[:, None, None, None] < 3 * LENGTH, blank, drawn(clean.states))
    (found,) = warnings(clean, front=Frames(half))
    assert found.values["episodes"][0] == 0
    assert max(found.values["episodes"]) < 3


def test_two_cameras_that_show_the_same(clean):
    (found,) = warnings(clean, again=clean.cameras["front"])
    assert found.what == "The cameras front and again show the same pictures."


def test_the_inspection_reports_them(clean):
    found = inspect_episodes(replace(clean, cameras={"front": moved(clean, "front", 3)}))
    assert any(finding.check == "frames" and "3 steps (0.3 s) late" in finding.what for finding in found.findings)
