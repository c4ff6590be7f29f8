"""Names and colours of the quadrotor's arms in tables and figures."""

from ...errors import UnknownNameError
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS

__all__ = ["ARM_NAMES", "arm_colour"]

ARM_NAMES = {
    "none": "raw actions",
    "tvlqr": "gains (tvlqr)",
    "dare": "gains (dare)",
    "receding": "gains (receding)",
}
"""Kind of gains → name."""

_COLOURS = {"none": RAW_ACTIONS, "tvlqr": GAINS, "dare": OTHERS[0], "receding": OTHERS[1]}


def arm_colour(gains: str) -> str:
    """Colour of an arm, the same in all figures.

    Raises:
        UnknownNameError: No such kind of gains.
    """
    if gains not in _COLOURS:
        raise UnknownNameError("kind of gains", gains, _COLOURS)
    return _COLOURS[gains]
