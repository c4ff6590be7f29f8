# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figure of study fig5: Figure 5 of Block et al. 2023 (arXiv 2307.14619) with intervals, distances and references."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...errors import DataError
from ...report.palette import MUTED, new_figure, save, style
from ..engine.tables import Row
from ..quadrotor.labels import ARM_NAMES, arm_colour
from .panels import distance_panel, noise_panel, score_panel, trade_panel

# Inches: width, height of a band of four panels, of the head above the first one, of the heading of each.
_WIDTH, _BAND, _HEAD, _HEADING = 13.6, 8.95, 0.75, 0.30

# Number of references that are ruled across a panel; more would hide the lines.
_RULED = 4


def draw_fig5(
    path: Path, rows: Sequence[Row], references: Sequence[Row], *, published_points: Sequence[Row] | None = None
) -> Path:
    """Score and distance of cloning with and without gains, over demonstrations and noise, one band per setting.

    Lines carry 95 % intervals. Of more than four values of σ or of N, four are drawn as lines; panel (d) shows all.
    """
    if not rows:
        raise DataError("expected at least one row of a sweep, got none.")
    settings = sorted({row["setting"] for row in rows})
    with style():
        figure = new_figure(_WIDTH, _HEAD + _BAND * len(settings))
        _head(figure, rows, bool(published_points))
        for number, setting in enumerate(settings):
            own = [row for row in rows if row["setting"] == setting]
            _band(figure, number, own, references, published_points or ())
        return save(figure, path)


def _band(
    figure: Figure, number: int, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Row]
) -> None:
    tall = figure.get_figheight()
    top = tall - _HEAD - number * _BAND
    figure.text(
        0.62 / _WIDTH, (top - 0.08) / tall, f"Setting: {rows[0]['setting']}", fontsize=11, color=MUTED, va="top"
    )
    across, down = (0.62 / _WIDTH, 7.42 / _WIDTH), (top - _HEADING - 3.75, top - _HEADING - 3.75 - 4.25)
    panels = [figure.add_axes((left, low / tall, 3.9 / _WIDTH, 3.0 / tall)) for low in down for left in across]
    few = references[:_RULED]
    score_panel(panels[0], rows, few, published)
    noise_panel(panels[1], rows, few, published)
    distance_panel(panels[2], rows, few, published)
    trade_panel(panels[3], rows, references)


def _head(figure: Figure, rows: Sequence[Row], published: bool) -> None:
    """Title and legend."""
    tall = figure.get_figheight()
    title = "Cloning stabilising gains against cloning raw actions, 2-D quadrotor"
    figure.text(0.62 / _WIDTH, (tall - 0.16) / tall, title, fontsize=15, fontweight="bold", va="top")
    arms = sorted({row["gains"] for row in rows}, key=list(ARM_NAMES).index)
    handles = [Line2D([], [], color=arm_colour(gains), linewidth=4, label=ARM_NAMES[gains]) for gains in arms]
    if published:
        hollow: dict[str, Any] = {"color": "none", "markerfacecolor": "white", "markeredgecolor": MUTED}
        handles.append(Line2D([], [], marker="D", markersize=5, label="read off the published figure", **hollow))
    place = (0.54 / _WIDTH, (tall - 0.40) / tall)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), frameon=False, fontsize=10
    )
