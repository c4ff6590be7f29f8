"""Charts: one value, drawn twice."""

import math

import pytest
from PIL import Image

from holdfast.report import Chart, Rule, Series, Text, draw_chart, write_page
from holdfast.report.chart import figure_of

CHART = Chart(
    "Errors",
    [
        Series(
            "median",
            [0.0, 1.0, 2.0, 3.0],
            [0.0, 0.1, math.nan, 0.4],
            [0.0, 0.05, math.nan, 0.2],
            [0.0, 0.2, math.nan, 0.8],
        ),
        Series("tried", [0.0, 1.0], [1.0, 2.0], [0.5, 1.5], [1.25, 2.5], colour="#112233", points=True),
    ],
    "time [s]",
    "distance",
    log_y=True,
    rules=[Rule(0.01, "floor"), Rule(2.0, "turn", upright=True)],
)


def test_a_logarithmic_axis_has_no_place_for_zero_nor_any_for_nan():
    band, median, tried = figure_of(CHART)["data"]
    assert median["y"] == [None, 0.1, None, 0.4]
    assert band["x"] == [1.0, 3.0, 3.0, 1.0]
    assert band["y"] == [0.2, 0.8, 0.2, 0.05]
    assert tried["error_y"]["array"] == [0.25, 0.5]
    assert tried["error_y"]["arrayminus"] == [0.5, 0.5]
    assert tried["line"]["color"] == "#112233"


def test_rules_stand_where_they_are_said_to():
    layout = figure_of(CHART)["layout"]
    floor, turn = layout["shapes"]
    assert (floor["y0"], floor["y1"], floor["xref"]) == (0.01, 0.01, "paper")
    assert (turn["x0"], turn["x1"], turn["yref"]) == (2.0, 2.0, "paper")
    # an annotation on a logarithmic axis is placed by its logarithm
    assert layout["annotations"][0]["y"] == pytest.approx(-2)
    assert layout["annotations"][1]["x"] == 2.0


def test_the_picture_has_ink_of_every_series(tmp_path):
    path = draw_chart(tmp_path / "chart.png", CHART)
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=1 << 24)}
    assert {(0x2F, 0x86, 0xC9), (0x11, 0x22, 0x33)} <= colours


def test_a_page_carries_plotly_once_and_only_with_charts(tmp_path):
    with_charts = write_page(tmp_path / "a.html", title="T", lead="L", sections=[CHART, CHART]).read_text("utf-8")
    without = write_page(tmp_path / "b.html", title="T", lead="L", sections=[Text("", ["x"])]).read_text("utf-8")
    assert with_charts.count('type="application/json"') == 2
    assert 4e6 < len(with_charts) < 7e6
    assert "<script" not in without


def test_a_name_cannot_end_the_script(tmp_path):
    evil = Chart("x", [Series("</script><b>", [0.0, 1.0], [0.0, 1.0])], "x", "y")
    page = write_page(tmp_path / "a.html", title="T", lead="L", sections=[evil]).read_text("utf-8")
    assert "</script><b>" not in page
