"""The sweep's picture: any rows, any arms; which lines are chosen; titles that say only what is in the rows."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from holdfast.errors import DataError, UnknownNameError
from holdfast.report.labels import spread
from holdfast.report.palette import GAINS, RAW_ACTIONS
from holdfast.studies.fig5.figure import draw_fig5
from holdfast.studies.fig5.lines import by_demonstrations, by_sigma, noise_title, score_title, spaced, trade_title
from holdfast.studies.quadrotor.labels import arm_colour

REFERENCES = [{"name": "expert", "score": 1.0, "distance": 0.0}, {"name": "hover", "score": 1.1, "distance": 0.4}]
PUBLISHED = [{"n_demos": 1, "gains": True, "sigma": 0.3, "score": 0.93}]


def _row(**changed):
    row = {"setting": "holdfast", "n_demos": 1, "gains": "dare", "sigma": 0.3, "noise": "replica"}
    row |= {"seeds": 3, "score": 0.6, "score_low": 0.5, "score_high": 0.7, "distance": 0.3, "distance_low": 0.2}
    return row | {"distance_high": 0.4, "diverged": 0.0} | changed


def _sweep(demos, sigmas, arms, noises=("train", "replica")):
    return [
        _row(n_demos=n, sigma=s, gains=gains, noise="none" if s == 0 else noise)
        for gains, n, s, noise in itertools.product(arms, demos, sigmas, noises)
    ]


def _size(path):
    with Image.open(path) as image:
        image.load()
        return image.size


BOTH = ["none", "dare"]
NAN = math.nan


@pytest.mark.parametrize(
    "rows",
    [
        [_row()],
        [_row(score=NAN, score_low=NAN, score_high=NAN, distance=NAN, distance_low=NAN, distance_high=NAN)],
        [_row(noise="train")],
        _sweep([1, 3, 10], [0, 0.1, 0.3], BOTH),
        _sweep([1, 3], [0, 0.1], BOTH[:1]),
        _sweep([1, 3], [0.0], BOTH[1:]),
    ],
)
def test_draws_whatever_there_is(tmp_path, rows):
    path = draw_fig5(tmp_path / "fig5.png", rows, REFERENCES, published_points=PUBLISHED)
    assert _size(path) == (2176, 1552)


def test_a_band_for_each_setting(tmp_path):
    rows = [_row(), _row(setting="published")]
    assert _size(draw_fig5(tmp_path / "fig5.png", rows, [])) == (2176, 1552 + 1432)


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match="at least one row"):
        draw_fig5(tmp_path / "fig5.png", [], REFERENCES)


def test_published_points_are_drawn(tmp_path):
    without = draw_fig5(tmp_path / "without.png", [_row()], REFERENCES)
    with_point = draw_fig5(tmp_path / "with.png", [_row()], REFERENCES, published_points=PUBLISHED)
    # Panel (a) only: the head also gains an entry in its key.
    panel = [np.asarray(Image.open(path).convert("L"), dtype=float)[300:770, 100:740] for path in (without, with_point)]
    assert np.abs(panel[0] - panel[1]).max() > 50


def test_arms_have_their_colours():
    assert (arm_colour("none"), arm_colour("tvlqr")) == (RAW_ACTIONS, GAINS)
    assert len({arm_colour(name) for name in ("dare", "tvlqr", "receding")} | {RAW_ACTIONS}) == 4
    with pytest.raises(UnknownNameError, match="lqr"):
        arm_colour("lqr")


def test_lines_along_demonstrations_leave_noise_in_training_only_out():
    rows = _sweep([1, 3, 10], [0, 0.1], BOTH, noises=("replica",))
    train = [_row(noise="train", sigma=0.1, n_demos=n) for n in (1, 3)]
    lines = by_sigma(rows + train)
    assert [(line.gains, line.key) for line in lines] == [("none", 0), ("none", 0.1), ("dare", 0), ("dare", 0.1)]
    assert all([row["n_demos"] for row in line.rows] == [1, 3, 10] for line in lines)


def test_dashed_lines_begin_where_there_is_no_noise():
    rows = [_row(sigma=0.0, noise="none"), _row(), _row(noise="train", score=0.2)]
    solid, dashed = by_demonstrations(rows)
    assert (solid.dashed, dashed.dashed) == (False, True)
    assert [row["noise"] for row in solid.rows] == ["none", "replica"]
    assert [row["noise"] for row in dashed.rows] == ["none", "train"]


def test_many_values_are_thinned_and_published_ones_preferred():
    rows = _sweep([1], [0, 0.01, 0.02, 0.03, 0.1, 0.3, 0.5], BOTH, noises=("replica",))
    assert sorted({line.key for line in by_sigma(rows)}) == [0, 0.02, 0.1, 0.5]
    assert sorted({line.key for line in by_sigma(rows, {0.0, 0.01, 0.03, 0.3})}) == [0, 0.01, 0.03, 0.3]
    assert spaced([5, 1, 1, 3], 4) == [1, 3, 5]


def test_titles_say_what_is_in_the_rows():
    rows = [
        _row(sigma=0.0, noise="none", score=0.2),
        _row(score=0.65),
        _row(noise="train", score=0.99),
        _row(gains="none", sigma=0.0, noise="none", score=0.05),
        _row(gains="none", score=0.01, n_demos=1),
        _row(n_demos=10, score=1.0),
    ]
    hover, near = ({"name": name, "score": 1.1, "distance": far} for name, far in (("hover", 0.4), ("near", 0.3)))
    assert score_title(rows) == "From 1 demonstration: gains 0.65, raw actions 0.05"
    assert noise_title(rows) == (
        "Noise of σ 0.3 takes gains (N 1) from 0.20 to 0.65, raw actions (N 1) from 0.05 to 0.01"
    )
    assert "not imitation: hover has 1.10 at distance 0.40" in trade_title(rows, [hover])
    assert trade_title(rows, [near]) == "Score against distance to the expert"
    assert score_title([_row(score=math.nan)]) == "Score against the number of demonstrations"


def test_labels_keep_apart_and_in_order():
    wanted = [0.5, 0.52, 0.51, 0.0, 0.99, 1.0]
    sizes = [0.08, 0.16, 0.08, 0.08, 0.08, 0.08]
    places = spread(wanted, sizes, 0.0, 1.0)
    order = list(np.argsort(places))
    assert order == list(np.argsort(wanted))
    for below, above in itertools.pairwise(order):
        assert places[above] - places[below] >= (sizes[above] + sizes[below]) / 2 - 1e-8
    assert min(places) >= 0
    assert max(places) <= 1
    assert spread([0.2, 0.8], [0.1, 0.1], 0.0, 1.0) == [0.2, 0.8]
    assert spread([0.5] * 5, [0.9] * 5, 0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]
