"""A recorded set beside robosuite here: what differs, and whether its observations follow from its simulator states.

A policy sees what its training data called `object_3`. Only if the environment computes the same number from the same
simulator state does it see the same here, so that is compared: observations, at recorded states, coordinate by
coordinate.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data import observed_names
from ...data.robosuite_task import RobosuiteTask, left_out
from ...errors import DataError, InterfaceWarning
from ...types import Episodes
from .environment import Robosuite
from .simulator import robosuite

TOLERANCE = 1e-5
"""Largest difference of an observation from the one rebuilt; rounding to single precision is smaller."""
SAMPLE = 200
"""Number of rows that are compared, unless all are asked for."""
STATES = "simulator_state"


@dataclass(frozen=True)
class Rebuilt:
    """Observations rebuilt from simulator states, compared with the recorded ones.

    Attributes:
        rows: Number of rows compared.
        names: Names of the coordinates compared.
        largest: Largest difference of each coordinate.
        at: Row of the data set with this difference.
    """

    rows: int
    names: tuple[str, ...]
    largest: Float[Tensor, " d"]
    at: Int[Tensor, " d"]


def task_of(episodes: Episodes) -> RobosuiteTask:
    """The task, robot and controller of a set: by `env_args`, else by the name of its environment.

    Raises:
        DataError: The set is of no robosuite task.
        RecipeError: The task has another controller.
        UnknownNameError: The task or the robot is another one.
    """
    described: Any = episodes.meta.get("env_args")
    if isinstance(described, dict) and cast("dict[str, Any]", described).get("type") == 1:
        return RobosuiteTask.of(cast("dict[str, Any]", described))
    if (episodes.system or "").startswith("robosuite:"):
        return RobosuiteTask.parse(episodes.system or "")
    raise DataError(
        f"the data are of {episodes.system or 'an unnamed environment'}, not of a robosuite task. Give a file whose "
        "env_args describe one, such as robomimic's."
    )


def warn_of_versions(episodes: Episodes) -> None:
    """One `InterfaceWarning` that names what differs between the set's robosuite and the one installed here."""
    if found := differences(episodes):
        warnings.warn(" ".join(found), InterfaceWarning, stacklevel=2)


def differences(episodes: Episodes) -> list[str]:
    """Sentences on what differs between the set's robosuite and the one installed here."""
    described = cast("dict[str, Any]", episodes.meta.get("env_args") or {})
    recorded, here = described.get("env_version"), str(robosuite().__version__)
    found = list[str]()
    if recorded != here:
        kept = (
            "The controller's settings were translated, physics steps and gripper commands are those of robosuite 1.4 "
            "(lite_physics=False), and so are the observations; the models of robot and objects, and MuJoCo, are newer."
            if task_of(episodes).version == "1.4"
            else "Its models and MuJoCo may differ."
        )
        found.append(
            f"the data were recorded with robosuite {recorded or 'of unknown version'}, here is {here}. {kept}"
        )
    if "model_file" not in episodes.episode_columns:
        found.append(
            "The set has no model_file, so the models are those of robosuite here: sizes, masses and friction can "
            "differ."
        )
    else:
        found.append("The set's model_file is not used: the models are those of robosuite here.")
    if names := left_out(described):
        found.append(f"Settings of env_args that are not used: {', '.join(names)}.")
    return found


def check_observations(
    episodes: Episodes,
    environment: Robosuite,
    *,
    every: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Rebuilt:
    """Compare recorded observations with those that the environment shows at the recorded simulator states.

    Args:
        episodes: A set with the column `simulator_state`.
        environment: The environment; its episodes are moved.
        every: Compare every row. Default: the first of each episode, and others, evenly spaced.
        progress: Called with the number of rows done.

    Raises:
        DataError: The set has no simulator states, observes what the environment does not show, or holds an observation
            that does not follow from its simulator state; the coordinate is named.
    """
    states = episodes.columns.get(STATES)
    if states is None:
        raise DataError(
            "the set has no simulator states, so its observations cannot be compared with those of robosuite here. "
            "Give a file with states, such as robomimic's low_dim files."
        )
    index, names = _places(episodes, environment)
    rows = _rows(episodes, every=every, follows=environment.task.version != "1.4")
    recorded, count = episodes.observed.vector.double(), environment.count
    largest, at = torch.zeros(len(names), dtype=torch.float64), torch.zeros(len(names), dtype=torch.int64)
    for first in range(0, len(rows), count):
        part = rows[first : first + count]
        filled = torch.cat([part, part[-1:].expand(count - len(part))])
        if environment.task.version != "1.4":
            environment.reset(states[filled - 1].double())
        step = environment.reset(states[filled].double())
        differs = (step.observation.vector[:, index] - recorded[filled]).abs()
        most, which = differs.max(dim=0)
        at = torch.where(most > largest, filled[which], at)
        largest = torch.maximum(most, largest)
        progress(min(first + count, len(rows)))
    found = Rebuilt(len(rows), names, largest, at)
    _refuse(found, episodes)
    return found


def _places(episodes: Episodes, environment: Robosuite) -> tuple[list[int], tuple[str, ...]]:
    """Place of each recorded coordinate in the environment's observation, and its name."""
    shown = [*environment.names["observation.state"], *environment.names["observation.environment_state"]]
    names = observed_names(episodes)
    if names is None:
        raise DataError(
            "the set's observations have no names, so they cannot be compared with those of robosuite here. Give a "
            "file that names them, such as robomimic's."
        )
    if missing := [name for name in names if name not in shown]:
        keys = sorted({name.rpartition("_")[0] for name in shown})
        raise DataError(
            f"the set observes {', '.join(missing[:6])}, which {environment.name} does not show; it shows "
            f"{', '.join(keys)}. Choose others with --state."
        )
    return [shown.index(name) for name in names], names


def _rows(episodes: Episodes, *, every: bool, follows: bool) -> Int[Tensor, " rows"]:
    """Rows to compare; not the first of an episode where observations depend on the row before."""
    total, starts = len(episodes.actions), episodes.starts
    if every:
        rows = torch.arange(total)
    else:
        spread = torch.linspace(0, total - 1, max(SAMPLE - len(starts), 2)).round().long()
        chosen = torch.zeros(total, dtype=torch.bool)
        chosen[starts[:: -(-len(starts) // SAMPLE)]] = chosen[spread] = True
        rows = torch.nonzero(chosen)[:, 0]
    return rows[~torch.isin(rows, starts)] if follows else rows


def _refuse(found: Rebuilt, episodes: Episodes) -> None:
    """Refuse a set whose observations do not follow from its states."""
    worst = int(found.largest.argmax())
    if float(found.largest[worst]) <= TOLERANCE:
        return
    row = int(found.at[worst])
    episode = int((episodes.starts <= row).sum()) - 1
    others = _listed([name for name, by in zip(found.names, found.largest, strict=True) if float(by) > TOLERANCE])
    raise DataError(
        f"the set's observations cannot be rebuilt from its simulator states: {found.names[worst]} differs by "
        f"{float(found.largest[worst]):.3g} in step {row - int(episodes.starts[episode])} of episode {episode}. More "
        f"than {TOLERANCE:g} differ: {others}. A policy trained on it would see other numbers here. Were the "
        "observations made by another version of robosuite? Create them anew with robomimic's dataset_states_to_obs.py."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} others" if len(names) > 8 else "")
