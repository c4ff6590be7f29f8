"""Recorded episodes run again in their environment: by their simulator states, and by their actions.

    by states     the simulator is placed at every recorded state in turn: does the task count as solved here, where it
                  was solved when it was recorded?
    by actions    the simulator begins at the first recorded state and executes the recorded actions, open loop: how
                  long does it follow the recording, and is the task solved?

The first tests whether states, task and success are those of the recording; the second also tests the dynamics, the
controller and the units of the actions. Where the dynamics amplify small differences, as in contact, actions alone need
not succeed even if all is right: the share by actions is no upper bound on a policy's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data import observed_names
from ..envs import Environment, Recognizes, Step
from ..errors import DataError, RecipeError
from ..types import Episodes

STATES = "simulator_state"
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ByActions:
    """Result of replaying actions.

    Attributes:
        solved: Episodes that were solved at any step; `None` if the environment does not define success.
        parted: Step of each episode in whose observation the replay first differs from the recording by more than the
            tolerance; −1 where it never does.
        coordinate: Name of the coordinate that differs then; "" where none does.
        deviation: Largest difference of each episode, in ranges of the coordinates.
        clipped: Steps of each episode whose action lay outside the environment's bounds.
        unexecuted: Recorded actions of each episode beyond the environment's time limit, which were not executed.
    """

    solved: Bool[Tensor, " e"] | None
    parted: Int[Tensor, " e"]
    coordinate: tuple[str, ...]
    deviation: Float[Tensor, " e"]
    clipped: Int[Tensor, " e"]
    unexecuted: Int[Tensor, " e"]


def recorded_states(episodes: Episodes, environment: Environment, *, count: int) -> Float[Tensor, "rows s"]:
    """Simulator state of each row: the column `simulator_state`, else the states, if they are the simulator's.

    Args:
        episodes: Recorded episodes.
        environment: Their environment, with `count` episodes at once; it is placed at the first state.
        count: Number of episodes at once.

    Raises:
        RecipeError: The environment cannot restore states.
        DataError: No states of the simulator were recorded.
    """
    if not environment.restorable:
        raise RecipeError(
            f"{environment.name} cannot be placed at a recorded state, so its episodes cannot be replayed. Of a "
            "Gymnasium task that MuJoCo simulates, replay a set of mujoco:<id>."
        )
    named = STATES in episodes.columns
    states = (episodes.columns[STATES] if named else episodes.states).double()
    environment.reset(states[:1].expand(count, -1).clone())
    if not named and (width := environment.get_state().shape[1]) != states.shape[1]:
        raise DataError(
            f"the set has no column {STATES}, and its states have {states.shape[1]} numbers, where a state of "
            f"{environment.name} has {width}. Replaying needs the simulator's states."
        )
    return states


def replay_states(
    episodes: Episodes,
    environment: Environment,
    states: Float[Tensor, "rows s"],
    *,
    count: int,
    progress: Progress = lambda done: None,
) -> Bool[Tensor, " e"] | None:
    """Which episodes are solved at any recorded state, or by the recorded action from one of them.

    Where the environment recognizes solved states (`Recognizes`), only the last action is executed, because the state
    after it is not recorded; elsewhere each action is executed from its own recorded state.

    Args:
        episodes: Recorded episodes.
        environment: Their environment, with `count` episodes at once.
        states: Simulator state of each row (`recorded_states`).
        count: Number of episodes at once.
        progress: Called with the number of rows done.

    Returns:
        One flag per episode; `None` if the environment does not define success.
    """
    owner = torch.repeat_interleave(torch.arange(len(episodes)), episodes.lengths)
    solved, done, known = torch.zeros(len(episodes), dtype=torch.bool), 0, True
    last = episodes.starts + episodes.lengths - 1
    for rows, filled in _batches(len(states), count):
        environment.reset(states[filled])
        flags: Bool[Tensor, " b"] | None = None
        if isinstance(environment, Recognizes):
            flags = environment.solved_here()
        if flags is None or bool(torch.isin(rows, last).any()):
            success = environment.step(_within(episodes.actions[filled].double(), environment)[0]).success
            known = success is not None
            if success is not None:
                counts = torch.ones_like(success) if flags is None else torch.isin(filled, last)
                flags = (success & counts) | (torch.zeros_like(success) if flags is None else flags)
        if not known or flags is None:
            return None
        solved[owner[filled[flags]]] = True
        done += len(rows)
        progress(done)
    return solved


def replay_actions(
    episodes: Episodes,
    environment: Environment,
    states: Float[Tensor, "rows s"],
    *,
    count: int,
    tolerance: float,
    progress: Progress = lambda done: None,
) -> ByActions:
    """Execute the recorded actions from the first recorded states, up to the environment's time limit.

    Args:
        episodes: Recorded episodes.
        environment: Their environment, with `count` episodes at once.
        states: Simulator state of each row (`recorded_states`).
        count: Number of episodes at once.
        tolerance: Difference of a coordinate, divided by its range in the set, from which the replay has parted from
            the recording.
        progress: Called with the number of rows done.
    """
    seen, names, index = _compared(episodes, environment, environment.reset(states[:1].expand(count, -1).clone()))
    span = seen.amax(0) - seen.amin(0)
    span = torch.where(span > 0, span, 1.0)
    total = len(episodes)
    parted = torch.full((total,), -1)
    deviation, clipped = torch.zeros(total, dtype=torch.float64), torch.zeros(total, dtype=torch.int64)
    coordinate, solved, done = [""] * total, torch.zeros(total, dtype=torch.bool), 0
    defined = True
    for batch, filled in _batches(total, count):
        starts, lengths = episodes.starts[filled], episodes.lengths[filled]
        for t, step, outside in _executed(episodes, environment, states, starts, lengths):
            runs = (t < lengths) & (torch.arange(count) < len(batch))
            clipped[filled[runs]] += outside[runs]
            if step.success is None:
                defined = False
            else:
                solved[filled[runs & step.success]] = True
            follows = runs & (t + 1 < lengths) & ~step.over
            there = (starts + t + 1).clamp(max=len(seen) - 1)
            vector = step.observation.vector if index is not None else step.state
            differs = (vector[:, index or slice(None)].double() - seen[there]).abs() / span
            most, which = differs.max(dim=1)
            for place in [number for number in range(count) if bool(follows[number])]:
                episode = int(filled[place])
                deviation[episode] = torch.maximum(deviation[episode], most[place])
                if float(most[place]) > tolerance and int(parted[episode]) < 0:
                    parted[episode], coordinate[episode] = t + 1, names[int(which[place])]
            progress(done + min((t + 1) * len(batch), int(episodes.lengths[batch].sum())))
        done += int(episodes.lengths[batch].sum())
    beyond = (episodes.lengths - environment.steps).clamp(min=0)
    return ByActions(solved if defined else None, parted, tuple(coordinate), deviation, clipped, beyond)


def _executed(
    episodes: Episodes, environment: Environment, states: Tensor, starts: Tensor, lengths: Tensor
) -> Iterator[tuple[int, Step, Tensor]]:
    """Steps of a batch of episodes, and the episodes whose action lay outside the bounds; the longest gives the end."""
    environment.reset(states[starts])
    for t in range(min(int(lengths.max()), environment.steps)):
        rows = (starts + t).clamp(max=len(states) - 1)
        actions, outside = _within(episodes.actions[rows].double(), environment)
        step = environment.step(actions)
        yield t, step, outside
        if bool((step.over | (t + 1 >= lengths)).all()):
            return


def _batches(total: int, count: int) -> Iterator[tuple[Int[Tensor, " b"], Int[Tensor, " count"]]]:
    """Numbers below a total in batches, and the same filled up to `count` with the last one."""
    for first in range(0, total, count):
        batch = torch.arange(first, min(first + count, total))
        yield batch, torch.cat([batch, batch[-1:].expand(count - len(batch))])


def _within(actions: Float[Tensor, "b m"], environment: Environment) -> tuple[Float[Tensor, "b m"], Bool[Tensor, " b"]]:
    """Actions within the environment's bounds, as a rollout executes them, and which were outside."""
    if environment.action_bounds is None:
        return actions, torch.zeros(len(actions), dtype=torch.bool)
    low, high = environment.action_bounds
    within = actions.clamp(low.to(actions), high.to(actions))
    return within, (within != actions).any(dim=1)


def _compared(
    episodes: Episodes, environment: Environment, step: Step
) -> tuple[Float[Tensor, "rows d"], tuple[str, ...], list[int] | None]:
    """Recorded values that the environment shows too, their names, and their places in its observation.

    Observations, if the environment names all of theirs or has as many; else states, without places.
    """
    seen, names, own = episodes.observed, observed_names(episodes), environment.names
    shown = [
        *(own.get("observation.state") or own.get("state", ())),
        *own.get("observation.environment_state", ()),
    ]
    if names is not None and all(name in shown for name in names):
        return seen.vector.double(), names, [shown.index(name) for name in names]
    if step.observation.vector.shape[1] == seen.vector.shape[1]:
        width = seen.vector.shape[1]
        return seen.vector.double(), tuple(names or map(str, range(width))), list(range(width))
    if step.state.shape[1] != episodes.states.shape[1]:
        raise DataError(
            f"the set observes {seen.vector.shape[1]} numbers, and {environment.name} shows "
            f"{step.observation.vector.shape[1]} of other names, so the two cannot be compared. Give the environment "
            "that the data were recorded in."
        )
    return episodes.states.double(), tuple(map(str, range(step.state.shape[1]))), None
