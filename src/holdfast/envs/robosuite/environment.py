"""robosuite's tasks as an environment, for policies that were trained on robomimic's files.

Lift, PickPlaceCan and NutAssemblySquare (Zhu et al. 2020, arXiv 2009.12293; Mandlekar et al. 2021, arXiv 2108.03298),
with an operational-space controller (Khatib 1987), which is the primitive controller: an action is the goal of the hand
for 1 / rate seconds, and the controller moves it there with the force kp (x_goal − x) − 2 ζ √kp v, times the arm's
inertia.

    delta       change of the hand's position, rotation vector of the change of its orientation, in units of `reach` and
                `turn`, each from −1 to 1; gripper from −1 (open) to 1 (closed)
    absolute    position of the hand in the world [m], rotation vector of the orientation of the site between the
                fingers [rad], gripper
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from ...data.robosuite_task import RobosuiteTask
from ...errors import RecipeError, ShapeError
from ...types import Observation
from ..batched import check_count
from ..environment import Environment, Starts, Step, is_states
from .observed import OBJECT, robot_keys
from .processes import Shown, simulators

STEPS = 400
"""Time limit of robomimic's evaluations, in control steps."""
ACTIONS = 7
CAMERAS = MappingProxyType({"agentview_image": (84, 84), "robot0_eye_in_hand_image": (84, 84)})
"""Cameras of robomimic's image sets, with the height and width of their pictures [px]."""


class Robosuite(Environment):
    """Episodes of a robosuite task, stepped together.

    The reward is 1 in the steps at which the task is solved; an episode ends at the first of them.

    Args:
        task: Task, robot and controller.
        count: Number of episodes.
        cameras: Height and width of the pictures of each camera to observe [px], by name. Default: none.
        processes: Number of worker processes; 0 simulates in this process. Default: one for each core.
        steps: Time limit in control steps.

    Raises:
        MissingExtraError: robosuite is not installed.
        RecipeError: No episodes or steps, a negative number of processes, or a task, camera or drawing that this
            robosuite cannot make.
        WorkerError: A worker process has ended.
    """

    n_actions = ACTIONS
    restorable = True

    def __init__(
        self,
        task: RobosuiteTask,
        count: int,
        *,
        cameras: Mapping[str, tuple[int, int]] | None = None,
        processes: int | None = None,
        steps: int = STEPS,
    ) -> None:
        if count < 1 or steps < 1 or (processes is not None and processes < 0):
            raise RecipeError(
                f"expected at least 1 episode, 1 step and 0 processes, got {count}, {steps} and {processes}. Leave out "
                "the processes for one on each core."
            )
        self.task, self.name, self.dt, self.steps = task, task.name, 1 / task.rate, steps
        self._count, self._simulators = count, simulators(task, count, cameras or {}, processes=processes)
        widths = self._simulators.widths
        own = tuple(name for key in robot_keys(task) for name in _numbered(key, widths[key]))
        rest = tuple(_numbered(OBJECT, widths[OBJECT]))
        self.names = {"state": own, "observation.state": own, "observation.environment_state": rest}
        self.action_bounds = _bounds(task)
        self._shown: Shown | None = None

    @property
    def state_width(self) -> int:
        """Number of values of a recorded simulator state: time, positions and velocities."""
        return self._simulators.width

    @property
    def count(self) -> int:
        """Number of episodes stepped together."""
        return self._count

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed, or per state of `get_state` or of a file."""
        check_count(starts, self._count)
        none = torch.zeros(self._count, dtype=torch.bool)
        self._step, self._solved = 0, none
        if isinstance(starts, Tensor) and is_states(starts):
            return self.set_state(starts)
        self._shown = self._simulators.reset([int(seed) for seed in starts])
        return self._read(self._shown)

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of the episodes that are not over; one whose action is not finite stands still."""
        expected = [self._count, ACTIONS]
        if list(actions.shape) != expected:
            raise ShapeError(f"expected actions of shape {expected}, one row per episode, got {list(actions.shape)}.")
        given = actions.detach().cpu().double().numpy()
        moves = ~self._solved.numpy() & np.isfinite(given).all(axis=1) & (self._step < self.steps)
        self._shown = self._simulators.step(given, moves)
        self._step += 1
        solved = torch.as_tensor(self._shown["success"]) & torch.as_tensor(moves)
        self._solved = self._solved | solved
        return replace(self._read(self._shown), reward=solved.double())

    def get_state(self) -> Float[Tensor, "b s"]:
        """Time, positions and velocities; then what these do not show.

        That is the fingers' target, the posture that the controller prefers, and its goal of the orientation.
        """
        shown = self._begun()
        return torch.as_tensor(np.concatenate([shown["state"], shown["hidden"]], axis=1))

    def set_state(self, states: Float[Tensor, "b s"]) -> Step:
        """Move the simulators to states of `get_state`, or of a file, which has time, positions and velocities alone.

        The size of Lift's cube, which differs between seeds, is not part of a state.
        """
        check_count(states, self._count)
        self._shown = self._simulators.place(states.detach().cpu().double().numpy())
        return self._read(self._shown)

    def solved_here(self) -> Bool[Tensor, " b"]:
        """Whether the present state of each episode solves its task."""
        return torch.as_tensor(self._begun()["success"])

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """The first camera's picture of each episode, for environments made with cameras."""
        shown = self._begun()
        if not shown["pictures"]:
            raise RecipeError(f"{self.name} cannot render. Make it with cameras={dict(CAMERAS)}.")
        first = next(iter(shown["pictures"]))
        return np.array(shown["pictures"][first])

    def close(self) -> None:
        """Release the simulators' resources."""
        self._simulators.close()

    def _begun(self) -> Shown:
        if self._shown is None:
            raise ShapeError("expected `reset` before the first `step`.")
        return self._shown

    def _read(self, shown: Shown) -> Step:
        own = torch.as_tensor(shown["robot"])
        observation = Observation(
            state=own,
            environment_state=torch.as_tensor(shown["object"]),
            images={name: torch.as_tensor(pictures) for name, pictures in shown["pictures"].items()},
        )
        ended = torch.full_like(self._solved, self._step >= self.steps)
        return replace(
            Step.first(observation, own),
            terminated=self._solved,
            truncated=ended & ~self._solved,
            success=self._solved,
            simulator_state=torch.as_tensor(shown["state"]),
        )


def robosuite_environment(
    name: str, count: int, *, images: bool = False, cameras: Mapping[str, tuple[int, int]] | None = None
) -> Robosuite:
    """Episodes of a task by its name; pictures are those of `cameras`, else of `CAMERAS`."""
    return Robosuite(RobosuiteTask.parse(name), count, cameras=(cameras or CAMERAS) if images else None)


def _numbered(key: str, width: int) -> list[str]:
    """Names of the coordinates, as files of robomimic are read."""
    return [f"{key}_{index}" for index in range(width)]


def _bounds(task: RobosuiteTask) -> tuple[Tensor, Tensor]:
    """Smallest and largest action; goals are not bounded."""
    high = torch.ones(ACTIONS, dtype=torch.float64)
    if task.absolute:
        high[:-1] = torch.inf
    return -high, high


__all__ = ["CAMERAS", "STEPS", "Robosuite", "robosuite_environment"]
