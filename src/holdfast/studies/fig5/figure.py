# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of the published quadrotor experiment, with what it left out: intervals, distances and references.

Block et al. 2023 (arXiv 2307.14619), figure 5, shows the score against the number of demonstrations and against noise.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...errors import DataError
from ...report.palette import MUTED, new_figure, save, style
from .figure_rows import Published, Reference, Row
from .panels import distance_panel, noise_panel, score_panel, trade_panel

__all__ = ["draw_fig5"]

# Inches: of a band of four panels, of the head above the first one, of the heading of each.
_WIDTH, _BAND, _HEAD, _HEADING = 13.6, 8.95, 0.75, 0.30

# References that are ruled across a panel; more would hide the lines.
_RULED = 4


def draw_fig5(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    *,
    published_points: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    """Score and distance of cloning with and without gains, against demonstrations and noise, one band a setting.

    Lines carry 95 % intervals. Of more than four values of σ or of N, four are drawn as lines; panel (d) shows all.

    Args:
        path: Where the PNG goes.
        rows: Flat, as in `result.json`: `setting`, `gains`, `synthesis` ("none", "tvlqr", "dare", "receding"),
            `n_demos`, `sigma`, `noise` ("none", "train", "replica"), `score`, `low`, `high`, `distance`,
            `distance_low`, `distance_high`; numbers may be `None`.
        references: `name`, `score`, `distance`, of what needs no learning, and optionally the `setting` it belongs to.
            The first four are ruled across the panels, all are marked in panel (d).
        published_points: `gains`, `n_demos`, `sigma`, `score`, read off the published figure: hollow diamonds.

    Raises:
        DataError: There are no rows.
    """
    if not rows:
        raise DataError("expected at least one row of a sweep, got none. Did the study run?")
    measured = [Row.of(row) for row in rows]
    published = [Published.of(point) for point in published_points or ()]
    settings = sorted({row.setting for row in measured})
    with style():
        figure = new_figure(_WIDTH, _HEAD + _BAND * len(settings))
        _head(figure, measured, bool(published))
        for number, setting in enumerate(settings):
            own = [row for row in measured if row.setting == setting]
            lines = [Reference.of(r) for r in references if r.get("setting", setting) == setting]
            _band(figure, number, own, lines, published)
        return save(figure, path)


def _band(
    figure: Figure, number: int, rows: Sequence[Row], references: Sequence[Reference], published: Sequence[Published]
) -> None:
    tall = figure.get_figheight()
    top = tall - _HEAD - number * _BAND
    figure.text(0.62 / _WIDTH, (top - 0.08) / tall, f"Setting: {rows[0].setting}", fontsize=11, color=MUTED, va="top")
    across, down = (0.62 / _WIDTH, 7.42 / _WIDTH), (top - _HEADING - 3.75, top - _HEADING - 3.75 - 4.25)
    panels = [figure.add_axes((left, low / tall, 3.9 / _WIDTH, 3.0 / tall)) for low in down for left in across]
    few = references[:_RULED]
    score_panel(panels[0], rows, few, published)
    noise_panel(panels[1], rows, few, published)
    distance_panel(panels[2], rows, few, published)
    trade_panel(panels[3], rows, references)


def _head(figure: Figure, rows: Sequence[Row], published: bool) -> None:
    """The title, and which colour is what."""
    tall = figure.get_figheight()
    title = "Cloning stabilising gains against cloning raw actions, 2-D quadrotor"
    figure.text(0.62 / _WIDTH, (tall - 0.16) / tall, title, fontsize=15, fontweight="bold", va="top")
    arms = sorted({row.arm for row in rows})
    handles = [Line2D([], [], color=arm.colour, linewidth=4, label=arm.name) for arm in arms]
    if published:
        hollow: dict[str, Any] = {"color": "none", "markerfacecolor": "white", "markeredgecolor": MUTED}
        handles.append(Line2D([], [], marker="D", markersize=5, label="read off the published figure", **hollow))
    place = (0.54 / _WIDTH, (tall - 0.40) / tall)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), frameon=False, fontsize=10
    )
