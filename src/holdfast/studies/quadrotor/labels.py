"""Names, colours, columns and metrics of the quadrotor's arms in tables, figures and rows."""

from ...errors import UnknownNameError
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS
from ..engine.tables import column, computed

ARM_NAMES = {"none": "raw actions", "tvlqr": "gains (tvlqr)", "dare": "gains (dare)", "receding": "gains (receding)"}
"""Kind of gains → name."""

ARM_COLUMNS = (computed("cloned", lambda row: ARM_NAMES[row["gains"]]), column("N", "n_demos"))

COMPARED = {"score_difference": "score", "distance_ratio": "distance ratio"}
"""Entries of `comparison_of` → metric."""

_COLOURS = {"none": RAW_ACTIONS, "tvlqr": GAINS, "dare": OTHERS[0], "receding": OTHERS[1]}


def arm_colour(gains: str) -> str:
    """Colour of an arm, the same in all figures."""
    if gains not in _COLOURS:
        raise UnknownNameError("kind of gains", gains, _COLOURS)
    return _COLOURS[gains]
