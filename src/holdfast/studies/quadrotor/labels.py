"""Names, colours, columns and metrics of the quadrotor's arms in tables, figures and rows."""

from collections.abc import Sequence
from typing import Any

from ...errors import UnknownNameError
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.tables import Column, ResultTable, Row, column, computed, difference_columns

ARM_NAMES = {"none": "raw actions", "tvlqr": "gains (tvlqr)", "dare": "gains (dare)", "receding": "gains (receding)"}
"""Kind of gains → name."""

ARM_COLUMNS = (computed("cloned", lambda row: ARM_NAMES[row["gains"]]), column("N", "n_demos"))

COMPARED = {"score_difference": "score", "distance_ratio": "distance ratio"}
"""Entries of `comparison_of` → metric."""

_COLOURS = {"none": RAW_ACTIONS, "tvlqr": GAINS, "dare": OTHERS[0], "receding": OTHERS[1]}


def paired_table(heading: str, columns: Sequence[Column], note: str = "") -> ResultTable:
    """A table of paired comparisons of score and distance, on the page only."""
    caption = f"Differences of scores, geometric mean ratios of distances{note}."
    return ResultTable(heading, (*columns, *difference_columns()), caption=caption, page_only=True)


def quadrotor_rows(
    rows: Sequence[Row], comparisons: Sequence[Row], metrics: Sequence[str], *, arm: str = "gains"
) -> list[dict[str, Any]]:
    """Measurements and comparisons on the 2-D quadrotor as rows of `result.json`."""
    measured = measurement_rows(rows, metrics, task="quadrotor2d", arm=arm)
    return measured + comparison_rows(comparisons, COMPARED, of=arm)


def arm_colour(gains: str) -> str:
    """Colour of an arm, the same in all figures."""
    if gains not in _COLOURS:
        raise UnknownNameError("kind of gains", gains, _COLOURS)
    return _COLOURS[gains]
