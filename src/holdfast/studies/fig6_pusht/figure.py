# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of the noise study on Push-T: score against σ for each law of noise and number of demonstrations.

Block et al. 2023 (arXiv 2307.14619), figure 6, without intervals and for one law.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from ...errors import DataError
from ...report.labels import End, headline, label_ends
from ...report.palette import GAINS, MUTED, OTHERS, RAW_ACTIONS, REFERENCE, new_figure, save, style

__all__ = ["draw_fig6"]

LAWS = {"gaussian": "Gaussian noise, as in the paper", "uniform": "uniform noise σ U[0, 1), as in its code"}
WAYS = {
    "replica": ("replica: in training\nand when run", GAINS, "-"),
    "train": ("train: in training\nonly", RAW_ACTIONS, "-"),
    "shift": ("shift: when run its\nmean alone", OTHERS[0], (0, (4, 2))),
}
_WIDTH, _HEIGHT = 6.6, 4.1

Row = Mapping[str, Any]


def draw_fig6(path: Path, rows: Sequence[Row]) -> Path:
    """Score against σ, one panel a law (columns) and number of demonstrations (rows), with 95 % intervals over seeds.

    Args:
        path: Where the PNG goes.
        rows: Flat, as in `result.json`: `n_demos`, `sigma`, `law` ("none", "gaussian", "uniform"), `noise` ("none",
            "train", "replica", "shift"), `score`, `low`, `high`.

    Raises:
        DataError: There are no noised rows.
    """
    laws = [law for law in LAWS if any(row["law"] == law for row in rows)]
    numbers = sorted({row["n_demos"] for row in rows})
    if not laws:
        raise DataError("expected rows with noise, got none. Give at least one sigma above 0.")
    with style():
        figure = new_figure(_WIDTH * len(laws), _HEIGHT * len(numbers))
        grid = figure.subplots(len(numbers), len(laws), squeeze=False)
        for axes_row, n_demos in zip(grid, numbers, strict=True):
            for axes, law in zip(axes_row, laws, strict=True):
                _panel(axes, [row for row in rows if row["n_demos"] == n_demos], law, n_demos)
        figure.subplots_adjust(
            left=0.055, right=0.86, top=1 - 0.75 / (_HEIGHT * len(numbers)), bottom=0.09, wspace=0.62, hspace=0.5
        )
        return save(figure, path)


def _panel(axes: Axes, rows: Sequence[Row], law: str, n_demos: int) -> None:
    sigmas = sorted({row["sigma"] for row in rows if row["law"] == law})
    _axes(axes, sigmas)
    ends = list[End]()
    for quiet in (row for row in rows if row["noise"] == "none"):
        axes.axhline(quiet["score"], color=REFERENCE, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1.5)
        axes.axhspan(quiet["low"], quiet["high"], color=REFERENCE, alpha=0.10, linewidth=0)
        ends.append(End("no noise at all", quiet["score"], MUTED))
    for way, (name, colour, dashes) in WAYS.items():
        line = sorted((r for r in rows if r["law"] == law and r["noise"] == way), key=lambda row: row["sigma"])
        if line:
            _draw(axes, line, colour, dashes)
            ends.append(End(name, line[-1]["score"], colour, sigmas[-1]))
    label_ends(axes, ends, x=axes.get_xlim()[1], points=7.5)
    headline(axes, _finding(rows, law), f"{LAWS[law]}; N = {n_demos} demonstrations", points=10.0, inches=4.4)


def _draw(axes: Axes, line: Sequence[Row], colour: str, dashes: Any) -> None:
    across = [row["sigma"] for row in line]
    axes.plot(across, [row["score"] for row in line], color=colour, linestyle=dashes, linewidth=1.8, zorder=3)
    for row in line:
        axes.vlines(row["sigma"], row["low"], row["high"], color=colour, linewidth=1.3, alpha=0.75, zorder=3)
        axes.plot([row["sigma"]], [row["score"]], "o", color=colour, markersize=4.5, zorder=4)


def _axes(axes: Axes, sigmas: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(sigmas[0] / 1.5, sigmas[-1] * 1.5)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(FixedLocator(list(sigmas)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("σ on normalised observations")
    axes.set_ylabel("score (largest coverage)")


def _finding(rows: Sequence[Row], law: str) -> str:
    """Replica against train at the largest σ."""
    by_way = {row["noise"]: row for row in sorted(rows, key=lambda row: row["sigma"]) if row["law"] == law}
    if not {"train", "replica"} <= by_way.keys():
        return "Score against noise"
    sigma, train, replica = by_way["train"]["sigma"], by_way["train"]["score"], by_way["replica"]["score"]
    return f"At σ = {sigma:g}: replica {replica:.2f}, train-only {train:.2f}"
