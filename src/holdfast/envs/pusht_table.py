"""One table of Push-T: gym-pusht's simulator without the work that policies do not need.

Bodies, resets and rendering are gym-pusht's own. A step repeats its arithmetic operation by operation, but contacts are
not counted, and the coverage is recomputed only if the block has moved, which is about seven times faster. The states
are equal bit for bit; the coverage is equal up to the order in which the simulator lists the block's two boxes, which
is fixed here (a difference of 1e-16).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from ..errors import MissingExtraError, RecipeError

K_P, K_V = 100.0, 20.0
"""Gains of the servo that moves the agent to its target [1/s², 1/s]."""
PHYSICS_STEP, PHYSICS_STEPS = 0.01, 10
"""Seconds per physics step [s], and physics steps per control step."""
PICTURE = 96
"""Height and width of an image observation [px]."""


class Table:
    """A table with an agent, a block and the block's outline; lengths in pixels of its 512 × 512 window.

    Args:
        goal: Position [px] and angle [rad] of the outline. Default: the simulator's own.
        gains: Stiffness [1/s²] and damping [1/s] of the servo. Default: the simulator's own.
    """

    def __init__(
        self, goal: tuple[float, float, float] | None = None, *, gains: tuple[float, float] = (K_P, K_V)
    ) -> None:
        try:
            # imports pygame, OpenCV and pymunk
            from gym_pusht.envs.pusht import (  # pyright: ignore[reportMissingTypeStubs]
                PushTEnv,
                pymunk_to_shapely,  # pyright: ignore[reportUnknownVariableType]
            )
        except ImportError as error:
            raise MissingExtraError("gym_pusht", extra="pusht") from error
        self._goal_pose = goal
        self._gains = gains
        # the simulator has no types
        self._outline_of: Any = pymunk_to_shapely
        self._env: Any = PushTEnv(obs_type="state", render_mode="rgb_array")

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""
        self._env.reset(seed=seed)
        self._begin()

    def place(self, state: Sequence[float], velocity: Sequence[float] = (0.0, 0.0)) -> None:
        """Begin at a given state: agent x, y, block x, y [px] and angle [rad]; the agent's velocity [px/s].

        The simulator's own reset to a state sets the position before the angle, which rotates the block about its
        centre of mass, and then advances time; here all bodies are placed exactly.
        """
        env = self._env
        env._setup()
        env.agent.position = (float(state[0]), float(state[1]))
        env.agent.velocity = (float(velocity[0]), float(velocity[1]))
        env.block.angle = float(state[4])
        env.block.position = (float(state[2]), float(state[3]))
        for body in (env.agent, env.block):
            env.space.reindex_shapes_for_body(body)
        self._begin()

    def _begin(self) -> None:
        env = self._env
        # it would count the contact points at every physics step, and nothing reads the number
        env.collision_handeler.post_solve = _leave_uncounted
        if self._goal_pose is not None:
            # also where the simulator draws it
            env.goal_pose = np.array(self._goal_pose)
        goal = env.get_goal_pose_body(env.goal_pose)
        self._goal = self._outline_of(goal, env._block_shapes)
        self._measured: tuple[float, ...] | None = None
        self._coverage = 0.0

    @property
    def state(self) -> tuple[float, float, float, float, float]:
        """Agent x, y, block x, y [px] and unwrapped angle [rad]."""
        agent, block = self._env.agent.position, self._env.block.position
        return agent.x, agent.y, block.x, block.y, self._env.block.angle

    @property
    def velocity(self) -> tuple[float, float]:
        """Velocity of the agent [px/s]."""
        found = self._env.agent.velocity
        return found.x, found.y

    @property
    def coverage(self) -> float:
        """Fraction of the outline that the block covers."""
        pose = self.state[2:]
        if pose != self._measured:
            block = self._outline_of(self._env.block, self._env._block_shapes)
            self._coverage = float(self._goal.intersection(block).area / self._goal.area)
            self._measured = pose
        return self._coverage

    def step(self, target: Sequence[float]) -> None:
        """One control step of 0.1 s: the servo moves the agent towards its target [px]."""
        space, agent = self._env.space, self._env.agent
        to_x, to_y = float(target[0]), float(target[1])
        k_p, k_v = self._gains
        for _ in range(PHYSICS_STEPS):
            (x, y), (vx, vy) = agent.position, agent.velocity
            push_x, push_y = k_p * (to_x - x) + k_v * (0 - vx), k_p * (to_y - y) + k_v * (0 - vy)
            agent.velocity = (vx + push_x * PHYSICS_STEP, vy + push_y * PHYSICS_STEP)
            space.step(PHYSICS_STEP)

    def picture(self) -> UInt8[ndarray, "96 96 3"]:
        """The table from above."""
        return self._env._get_img(self._env._draw(), width=PICTURE, height=PICTURE)

    def close(self) -> None:
        """Release the simulator's resources."""
        self._env.close()


def check_gains(stiffness: float, damping: float) -> None:
    """Refuse a servo that does not come to rest over its physics steps.

    Its characteristic polynomial `z² − (2 − h k_v − h² k_p) z + 1 − h k_v` has both roots within the unit circle if
    and only if `k_p > 0`, `0 < h k_v < 2` and `h² k_p < 4 − 2 h k_v` (Jury).

    Raises:
        RecipeError: The gains are outside these limits.

    >>> check_gains(100.0, 20.0)
    """
    h = PHYSICS_STEP
    if not (stiffness > 0 and 0 < h * damping < 2 and h * h * stiffness < 4 - 2 * h * damping):
        raise RecipeError(
            f"a servo with a stiffness of {stiffness:g} 1/s² and a damping of {damping:g} 1/s does not come to rest in "
            f"physics steps of {h:g} s. Give a damping k_v between 0 and {2 / h:g} 1/s, and a positive stiffness below "
            f"{4 / h**2:g} − {2 / h:g} k_v 1/s²."
        )


def _leave_uncounted(arbiter: object, space: object, data: object) -> None:
    """Replaces the simulator's counting of contacts."""
