"""The doctor's pictures show what they are given, and its page says all that was found."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from holdfast.report import Picture
from holdfast.report.doctor import counted_findings, write_doctor_page
from holdfast.report.doctor_pictures import draw_coverage, draw_idle, draw_lags, draw_lengths, draw_strips
from holdfast.report.palette import GAINS, RAW_ACTIONS


@dataclass(frozen=True)
class Finding:
    check: str
    severity: str
    what: str
    effect: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Strip:
    label: str
    low: float
    high: float
    q01: float
    q99: float
    counts: np.ndarray


@dataclass(frozen=True)
class Curve:
    label: str
    steps: range
    agreement: np.ndarray
    best: int


@dataclass(frozen=True)
class Spread:
    starts: np.ndarray
    paths: np.ndarray
    distances: np.ndarray
    disagreement: np.ndarray


def pixels(path):
    with Image.open(path) as image:
        image.load()
        return np.asarray(image.convert("RGB"), dtype=float)


def share(path, colour):
    wanted = 255 * np.array(to_rgb(colour))
    return float((np.abs(pixels(path) - wanted).max(axis=-1) < 24).mean())


def strip(label, counts, low=-1.0, high=1.0):
    return Strip(label, low, high, low, high, np.asarray(counts))


def test_strips_are_dark_where_the_steps_are(tmp_path):
    left, right = [9, 0, 0, 0], [0, 0, 0, 9]
    drawn = pixels(draw_strips(tmp_path / "a.png", [strip("one", left), strip("two", right), strip("flat", [9], 2, 2)]))
    # dark blue; the lines of ink are grey
    dark = ((drawn.sum(axis=-1) < 300) & (drawn[..., 2] > drawn[..., 0] + 40)).astype(float)
    # within the axes, above the middle the first row, below it the second
    rows = np.flatnonzero(dark[:, 420:1000].sum(axis=1) > 100)
    blocks = np.split(rows, np.flatnonzero(np.diff(rows) > 3) + 1)
    middles = [float(np.average(np.arange(420, 1000), weights=dark[block, 420:1000].sum(axis=0))) for block in blocks]
    assert middles[0] < 600
    assert middles[1] > 750


def test_many_strips_are_cut(tmp_path):
    tall = [pixels(draw_strips(tmp_path / "a.png", [strip("x", [1, 2])] * n)).shape[0] for n in (3, 64, 90)]
    assert tall[0] < tall[1] == tall[2]


def test_idle_is_as_red_as_it_is_long(tmp_path):
    none, half = np.zeros(100, dtype=bool), np.arange(100) < 50
    little = share(draw_idle(tmp_path / "a.png", {4: half, 7: none}), RAW_ACTIONS)
    much = share(draw_idle(tmp_path / "b.png", {4: half, 7: half}), RAW_ACTIONS)
    assert little > 0.005
    assert much == pytest.approx(2 * little, rel=0.1)


@pytest.mark.parametrize("lengths", [[5], [5, 5], [1, 900], list(range(40, 90))])
def test_lengths(tmp_path, lengths):
    assert share(draw_lengths(tmp_path / "a.png", lengths, 0.1), "#3087c0") > 0.005


@pytest.mark.parametrize("count", [1, 2, 20])
def test_lags(tmp_path, count):
    curves = [Curve(f"action {i} → state {i}", range(9), np.linspace(0, 1 - i / 20, 9), 8) for i in range(count)]
    assert share(draw_lags(tmp_path / "a.png", curves, None), GAINS) > 0.001


def test_coverage(tmp_path):
    rng = np.random.default_rng(0)
    spread = Spread(rng.uniform(0, 0.5, 9), rng.uniform(0, 0.2, 50), np.geomspace(0.01, 1, 8), np.linspace(0, 2, 8))
    assert share(draw_coverage(tmp_path / "a.png", spread), GAINS) > 0.002
    empty = Spread(np.zeros(1), np.zeros(0), np.zeros(0), np.zeros(0))
    assert draw_coverage(tmp_path / "b.png", empty).stat().st_size > 1000


def test_page(tmp_path, picture):
    findings = [
        Finding("finite", "error", "state <x> is nan", "nothing trains", "drop it"),
        Finding("jumps", "warning", "it jumps: far", "bad", "cut it"),
        Finding("clock", "good", "Time goes on."),
    ]
    facts = {"episodes": "3"}
    drawn = [Picture("Lengths", picture, "how long", "lengths")]
    page = write_doctor_page(tmp_path / "index.html", name="demos", facts=facts, findings=findings, pictures=drawn)
    text = page.read_text()
    said = ["1 error, 1 warning, no notes. First of all: state &lt;x&gt; is nan.", "Error: finite", "Warning: jumps"]
    said += ["drop it", "nothing trains", "Time goes on.", "data:image/png;base64", "how long"]
    assert [part for part in said if part not in text] == []
    assert text.index("Error: finite") < text.index("Warning: jumps") < text.index("Time goes on.")
    assert not re.search(r"https?://|<script|<link", text)


def test_findings_are_counted():
    findings = [Finding("a", "note", ""), Finding("b", "note", ""), Finding("c", "warning", "")]
    assert counted_findings(findings) == "no errors, 1 warning, 2 notes"
