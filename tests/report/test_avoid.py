"""Pictures of the obstacle course: what is drawn where, in which colour, and what is refused."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from holdfast.errors import ShapeError
from holdfast.report.avoid import Course, _points, draw_avoid
from holdfast.report.palette import DEMONSTRATION, GAINS, RAW_ACTIONS

COURSE = Course(obstacles=((0.5, -0.1, 0.03), (0.35, 0.26, 0.025), (0.65, 0.26, 0.025)), finish=0.35, rod=0.01)


def _share(path, colour, columns=slice(None)):
    """Share of the pixels near a colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=float)[:, columns]
    return float((np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=-1) < 24).mean())


def _ways():
    """Two paths from the start, one to the finish, one that ends at the first obstacle."""
    y = torch.linspace(-0.28, 0.4, 40)
    left = torch.stack([0.52 - 0.12 * torch.sin(math.pi * (y + 0.28) / 0.7), y], dim=-1)
    straight = torch.stack([0.52 + 0 * y, y], dim=-1)[:8]
    return [left, straight]


def test_without_modes_all_paths_are_of_one_colour(tmp_path):
    path = draw_avoid(tmp_path / "ways.png", {"people": _ways() * 5}, course=COURSE)
    assert _share(path, GAINS) > 0.0005
    assert _share(path, DEMONSTRATION) > 0.005
    assert _share(path, RAW_ACTIONS) == 0


def test_a_failure_is_red_and_only_in_its_panel(tmp_path):
    groups = {"good": _ways()[:1], "one of two fails": _ways()}
    modes = {"good": torch.tensor([1.0]), "one of two fails": torch.tensor([1.0, math.nan])}
    path = draw_avoid(tmp_path / "ways.png", groups, course=COURSE, modes=modes, width=8.0)
    # the key lies below both, in the right half
    assert _share(path, RAW_ACTIONS, slice(0, 600)) == 0
    assert _share(path, RAW_ACTIONS, slice(660, 1280)) > 0.0005
    with Image.open(path) as image:
        assert image.size[0] == 8 * 160


def test_a_path_ends_where_it_is_no_number_and_a_lost_one_does_not_shrink_the_rest(tmp_path):
    lost = _ways()[0].clone()
    lost[10:] = math.nan
    far = torch.cat([_ways()[0], torch.tensor([[1e6, 1e6]])])
    assert len(_points(torch.cat([lost, _ways()[0]]))) == 10
    plain = draw_avoid(tmp_path / "plain.png", {"a": _ways()}, course=COURSE)
    wild = draw_avoid(tmp_path / "wild.png", {"a": [*_ways(), lost, far]}, course=COURSE)
    with Image.open(plain) as first, Image.open(wild) as second:
        assert first.size == second.size
    assert _share(wild, DEMONSTRATION) == pytest.approx(_share(plain, DEMONSTRATION), rel=0.1)


def test_many_panels_share_one_window(tmp_path):
    groups = {f"group {index}": _ways() for index in range(3)}
    with Image.open(draw_avoid(tmp_path / "three.png", groups, course=COURSE)) as image:
        assert image.size[0] == pytest.approx(160 * (0.62 + 3 * 3.4), abs=1)


def test_modes_must_fit(tmp_path):
    with pytest.raises(ShapeError, match="expected 2 modes for 'a', one per path, got 1"):
        draw_avoid(tmp_path / "a.png", {"a": _ways()}, course=COURSE, modes={"a": torch.zeros(1)})
    with pytest.raises(ShapeError, match="expected 2 modes for 'a', one per path, got none"):
        draw_avoid(tmp_path / "a.png", {"a": _ways()}, course=COURSE, modes={})
    for empty in ({}, {"a": []}):
        with pytest.raises(ShapeError, match="one path at least"):
            draw_avoid(tmp_path / "a.png", empty, course=COURSE)
    assert not list(tmp_path.iterdir())
