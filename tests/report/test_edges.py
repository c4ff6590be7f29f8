"""Pictures show all of their text, also with long names and wide numbers."""

import matplotlib.figure
import pytest
import torch
from PIL import Image

from holdfast.report import Chart, Series, draw_chart, draw_errors
from holdfast.report.palette import new_figure, save, style

from ..pictures import cut_texts


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e3])
def test_errors_keep_their_labels(tmp_path, scale):
    """From labels like 1e-06 to labels like 3000; the picture has its usual size, so that nothing had to grow."""
    errors = scale * torch.rand(6, 40, generator=torch.Generator().manual_seed(0)).double() + 1e-7
    path = draw_errors(tmp_path / "errors.png", [0.1 * step for step in range(40)], {"policy": errors})
    with Image.open(path) as picture:
        assert picture.size == (1280, 688)


def test_long_names_make_a_picture_grow(tmp_path):
    name = "a policy whose name goes on and on " * 4
    chart = Chart("C", [Series(name, [0.0, 1.0], [0.0, 1.0])], "x", "an axis with a very long name " * 5)
    with Image.open(draw_chart(tmp_path / "chart.png", chart)) as picture:
        assert picture.width > 1280
        assert picture.height > 688


def test_a_text_beyond_an_edge_is_found_and_saved(tmp_path, monkeypatch):
    """The check itself, on a figure of 3 by 2 inches with a text at its left edge."""
    with style():
        figure = new_figure(3.0, 2.0)
        figure.text(0.5, 0.5, "inside", ha="center")
        figure.text(0.0, 0.2, "cut", ha="center")
        assert cut_texts(figure) == ["cut"]
        shown = []
        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda *_, **options: shown.append(options))
        save(figure, tmp_path / "figure.png")
    assert cut_texts(figure, shown[0]["bbox_inches"]) == []
    assert shown[0]["bbox_inches"].x0 < -0.1
    assert (shown[0]["bbox_inches"].x1, shown[0]["bbox_inches"].y1) == (3.0, 2.0)
