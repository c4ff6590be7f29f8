"""Push-T among the replay buffers: recognised by its arrays; the last poses of the block tell its goal."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..arrays import COLUMN
from ..pusht_goal import GOAL, other_goal

SIMULATOR_STATE = COLUMN + "simulator_state"
ROLES = {"action": "actions", "state": SIMULATOR_STATE, "keypoint": "observation.environment_state"}
"""The quantity in each array."""
NAMES = {
    "action": ["target_x", "target_y"],
    "state": ["agent_x", "agent_y"],
    "observation.state": ["agent_x", "agent_y"],
    "observation.environment_state": [f"keypoint_{index}_{axis}" for index in range(9) for axis in "xy"],
}


def is_pusht(data: Mapping[str, Any]) -> bool:
    """Whether the arrays have the names and shapes of Push-T's."""
    shapes = {name: values.shape[1:] for name, values in data.items()}
    return {"state": (5,), "keypoint": (9, 2), "action": (2,)}.items() <= shapes.items()


def description_of(states: Tensor, lengths: Tensor, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Names, time step and environment; no environment if the demonstrations have another goal than it."""
    found: dict[str, Any] = {"names": NAMES, "dt": 0.1, "system": "pusht"}
    if (goal := other_goal(states, lengths)) is not None:
        found |= {"system": None, "meta": {**meta, "reading_notes": [_note(goal)]}}
    return found


def _note(goal: tuple[float, float, float]) -> str:
    x, y, angle = goal
    return (
        f"The block comes to rest around x = {x:.0f} px, y = {y:.0f} px, {angle:.2f} rad, not at the goal of the "
        f"environment pusht ({GOAL[0]:.0f} px, {GOAL[1]:.0f} px, {GOAL[2]:.2f} rad), so the data are not taken for its "
        f"own. Score with their goal: --environment pusht:{x:.0f},{y:.0f},{angle:.2f} (better with the exact goal)."
    )
