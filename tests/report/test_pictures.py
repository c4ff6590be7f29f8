"""Stills and films: valid, of the expected size, showing the colours that they must, and no trace left behind."""

import dataclasses
import math

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from holdfast.errors import ShapeError
from holdfast.report import animate_flights, draw_errors, draw_flights, draw_picture_rows, new_figure, save, style
from holdfast.report.error_curves import _finding, _quantiles
from holdfast.report.palette import GAINS, RAW_ACTIONS, tint, wrapped


def _pixels(path):
    with Image.open(path) as image:
        image.load()
        return np.asarray(image.convert("RGB"), dtype=float)


def _share(pixels, colour):
    """Share of the pixels near a colour."""
    wanted = 255 * np.array(to_rgb(colour))
    return float((np.abs(pixels - wanted).max(axis=-1) < 24).mean())


def test_flights(tmp_path, panels):
    pixels = _pixels(draw_flights(tmp_path / "flights.png", panels, width=8.0))
    assert pixels.shape[1] == 8 * 160
    left, right = pixels[:, :640], pixels[:, 660:]
    assert _share(left, RAW_ACTIONS) > 0.002 > _share(left, GAINS)
    assert _share(right, GAINS) > 0.002 > _share(right, RAW_ACTIONS)


def test_flights_of_one_panel_that_ends_in_nan(tmp_path, panels):
    flights = panels[0].flights.clone()
    flights[:, 5:] = math.nan
    pixels = _pixels(draw_flights(tmp_path / "one.png", [dataclasses.replace(panels[0], flights=flights)], width=6.0))
    assert _share(pixels, RAW_ACTIONS) > 0.001


def test_flights_and_expert_must_be_of_one_shape(panels):
    with pytest.raises(Exception, match="expert"):
        dataclasses.replace(panels[0], expert=panels[0].expert[:, :5])


def test_settings_of_matplotlib_are_left_alone(tmp_path, panels):
    before = dict(mpl.rcParams)
    draw_flights(tmp_path / "flights.png", panels, width=6.0)
    assert dict(mpl.rcParams) == before


def test_errors(tmp_path):
    times = 0.05 * torch.arange(40, dtype=torch.float64)
    growing = torch.exp(times) * torch.linspace(0.5, 2.0, 7, dtype=torch.float64)[:, None] - 0.5
    growing[0, 30:] = math.nan
    curves = {"raw actions": growing, "HINT": 0.1 * torch.exp(-times).expand(7, -1)}
    pixels = _pixels(draw_errors(tmp_path / "errors.png", times.tolist(), curves))
    assert pixels.shape == (688, 1280, 3)
    assert _share(pixels, RAW_ACTIONS) > 0.002
    assert _share(pixels, GAINS) > 0.002


def test_errors_of_nothing_but_zero(tmp_path):
    assert draw_errors(tmp_path / "zero.png", [0.0, 1.0, 2.0], {"expert": torch.zeros(2, 3)}).exists()


@pytest.mark.parametrize("curves", [{}, {str(index): torch.ones(1, 3) for index in range(9)}])
def test_errors_need_a_colour_each(tmp_path, curves):
    with pytest.raises(ShapeError, match="one per colour"):
        draw_errors(tmp_path / "errors.png", [0.0, 1.0, 2.0], curves)


def test_band_is_median_and_tenths_and_a_lost_vehicle_is_far():
    errors = torch.arange(1.0, 12.0)[:, None].repeat(1, 2)
    errors[-1, 1] = math.nan
    np.testing.assert_allclose(_quantiles(errors), [[2, 2], [6, 6], [10, 10]])
    errors[:, 1] = math.nan
    assert (_quantiles(errors)[:, 1] == 1e4).all()


def test_finding_names_best_and_worst():
    bands = {"far": np.full((3, 2), 40.0), "near": np.full((3, 2), 0.25)}
    assert _finding(bands) == "near ends 0.25 from the expert, far 40"


def test_film(tmp_path, panels):
    path = animate_flights(tmp_path / "film.gif", panels, dt=0.05, every=2, width=6.0)
    with Image.open(path) as film:
        assert (film.format, film.n_frames, film.size[0]) == ("GIF", 11, 600)
        assert film.info["loop"] == 0
        durations, frames = [], []
        for index in range(film.n_frames):
            film.seek(index)
            durations.append(film.info["duration"])
            frames.append(np.asarray(film.convert("RGB"), dtype=float))
    assert durations == [100] * 10 + [1500]
    assert (frames[0][2, 2] == 255).all(), "paper must be white"
    assert np.abs(frames[0] - frames[5]).max() > 100, "nothing moves"
    # The falling vehicles have left the picture at the end; those that hold are still there.
    half = frames[0].shape[1] // 2 + 20
    assert _share(frames[0][:, half:], GAINS) > 0.002
    assert _share(frames[-1][:, half:], GAINS) > 0.002


def test_film_of_the_first_seconds(tmp_path, panels):
    path = animate_flights(tmp_path / "film.gif", panels[:1], dt=0.05, seconds=0.25, width=4.0)
    with Image.open(path) as film:
        assert film.n_frames == 6


def test_film_is_small(tmp_path, panels):
    path = animate_flights(tmp_path / "film.gif", panels, dt=0.05)
    assert path.stat().st_size < 3_000_000 / 5, "a film of 20 steps must stay below a fifth of 3 MB"


def test_saved_at_its_own_size(tmp_path):
    with style():
        assert _pixels(save(new_figure(2.0, 1.0), tmp_path / "a.png")).shape == (160, 320, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_tint_and_wrapping():
    assert tint("#102030", 0.0) == "#102030"
    assert tint("#000000", 0.5) == "#808080"
    lines = wrapped("a title of quite a few words that does not fit", 1.5, 12.0).split("\n")
    assert max(map(len, lines)) <= 17
    assert min(map(len, lines)) >= 8


@pytest.mark.parametrize("name", ["a$b$", r"\frac{", "$", "a\x1b[2J", "\u202eb", "n" * 10_000, "two\nlines"])
def test_names_in_figures_are_no_formulas(tmp_path, name):
    with style():
        figure = new_figure(3.0, 2.0)
        axes = figure.subplots()
        axes.set_title(name)
        axes.plot([1, 1000], [1, 1000], label=name)
        axes.set_xscale("log")
        axes.set_yticks([1, 500], labels=[name, name])
        axes.legend()
        pixels = _pixels(save(figure, tmp_path / "named.png"))
    # it grows where the name needs more room, but not without end
    assert 320 <= pixels.shape[0] <= 3 * 320
    assert 480 <= pixels.shape[1] <= 3 * 480


def test_rows_of_pictures_begin_at_one_margin(tmp_path):
    """Two rows of eight: square pictures of one size, below one another, with a grey frame around each."""
    rows = {"picture": torch.ones(8, 3, 20, 20), "decoded from the mean": -torch.ones(8, 3, 20, 20)}
    pixels = _pixels(draw_picture_rows(tmp_path / "rows.png", rows, "title"))
    dark = (pixels < 40).all(-1)
    columns = dark[-int(0.5 * 160) :].mean(0) > 0.5
    first, last = columns.argmax(), len(columns) - columns[::-1].argmax()
    # of 22 pixels with their frames, a picture has 20; frames begin at the margin of 0.12 inch
    assert first == pytest.approx(160 * (0.12 + 1.1 / 22), abs=2)
    assert last == pytest.approx(160 * (0.12 + 8.8 - 1.1 / 22), abs=2)
    lines = dark[:, first:last].mean(1) > 0.5
    assert lines.sum() == pytest.approx(160 * 1.1 * 20 / 22, abs=3)
    assert pixels.shape[1] == pytest.approx(160 * (8.8 + 0.24), abs=2)
