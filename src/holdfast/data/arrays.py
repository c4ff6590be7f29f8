"""Episodes as named values, and back: the common ground of selecting, joining, checking and storing them.

one row a step       actions, states, observation.state, observation.environment_state, rewards, timestamps,
columns/<name>
one row an episode   final_states, tasks, episode_columns/<name>
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..types import Episodes, Observation

COLUMN, EPISODE_COLUMN = "columns/", "episode_columns/"
FIELDS = ("actions", "states", "final_states", "rewards", "timestamps", "tasks")

Values = Tensor | tuple[str, ...]


def arrays_of(episodes: Episodes) -> dict[str, Values]:
    """Every array and every list of strings of a data set by its name, without the cameras."""
    seen = episodes.observations
    found: dict[str, Values | None] = {
        "actions": episodes.actions,
        "states": episodes.states,
        "final_states": episodes.final_states,
        "observation.state": None if seen is None else seen.state,
        "observation.environment_state": None if seen is None else seen.environment_state,
        "rewards": episodes.rewards,
        "timestamps": episodes.timestamps,
        "tasks": episodes.tasks,
    }
    found |= {COLUMN + name: values for name, values in episodes.columns.items()}
    found |= {EPISODE_COLUMN + name: values for name, values in episodes.episode_columns.items()}
    return {name: values for name, values in found.items() if values is not None}


def by_episode(name: str) -> bool:
    """Whether a named value has one row an episode."""
    return name in ("final_states", "tasks") or name.startswith(EPISODE_COLUMN)


def episodes_of(found: Mapping[str, Any], lengths: Tensor, **rest: Any) -> Episodes:
    """The inverse of `arrays_of`; `rest` are the other fields of `Episodes`."""
    state, further = found.get("observation.state"), found.get("observation.environment_state")
    columns, episode_columns = (
        {name.removeprefix(prefix): values for name, values in found.items() if name.startswith(prefix)}
        for prefix in (COLUMN, EPISODE_COLUMN)
    )
    return Episodes(
        lengths=lengths,
        observations=None if state is None else Observation(state=state, environment_state=further),
        columns=columns,
        episode_columns=episode_columns,
        **{name: found.get(name) for name in FIELDS},
        **rest,
    )
