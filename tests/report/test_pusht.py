"""Tables of Push-T: the block that is drawn is the simulator's."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.errors import ShapeError
from holdfast.report.pusht import block_outline, draw_tables


def area(points):
    x, y = np.asarray(points).T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_the_outline_is_the_simulators():
    """Its area is that of the two boxes, and each of its corners is one of theirs."""
    pytest.importorskip("gym_pusht")
    from gym_pusht.envs.pusht import PushTEnv

    env = PushTEnv(obs_type="state")
    seen, _ = env.reset(seed=3)
    outline = block_outline(seen[2:])
    corners = [np.array(env.block.local_to_world(v)) for shape in env.block.shapes for v in shape.get_vertices()]
    assert area(outline) == pytest.approx(sum(shape.area for shape in env.block.shapes))
    for point in outline:
        assert min(np.linalg.norm(point - corner) for corner in corners) < 1e-6


def test_the_outline_turns():
    quarter = block_outline(np.array([100.0, 50.0, math.pi / 2]))
    np.testing.assert_allclose(quarter[0], [100, -10], atol=1e-9)
    assert area(quarter) == pytest.approx(120 * 30 + 30 * 90)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (6, 1), (7, 2), (12, 2)])
def test_tables_are_drawn(tmp_path, count, rows):
    states = torch.tensor([[400.0, 60.0, 150.0, 300.0, 0.3]]).repeat(count, 1)
    drawn = draw_tables(tmp_path / "tables.png", states, torch.linspace(0, 1, count), agents=[states[:, :2]] * count)
    picture = np.asarray(Image.open(drawn).convert("RGB"), dtype=np.float64)
    assert picture.shape[0] == pytest.approx(160 * (0.46 + rows * 1.81 + 0.12), abs=2)
    # the agent's blue in each table
    blue = (np.abs(picture - (11, 111, 179)).max(axis=-1) < 8).sum()
    radius = 15 / 512 * 1.55 * 160
    assert blue == pytest.approx(count * math.pi * radius**2, rel=0.3)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ShapeError, match="got 0 tables"):
        draw_tables(tmp_path / "x.png", torch.zeros(0, 5), torch.zeros(0))
    with pytest.raises(ShapeError, match="got 2 tables, 2 scores, 1 ways"):
        draw_tables(tmp_path / "x.png", torch.zeros(2, 5), torch.zeros(2), agents=[torch.zeros(3, 2)])
