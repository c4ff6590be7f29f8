"""Episodes of a gymnasium environment as an `Environment`: observations become tensors, ends and success are kept."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..errors import RecipeError
from ..types import Observation
from .drawn_depth import ranges_drawn
from .environment import Environment, Starts, Step, is_states
from .gym_instances import Instances, Shown, Singles, success_of
from .gym_layout import check_actions, layout_of
from .model_cameras import ModelCameras

State = Literal["observation", "physics"]


class Gym(Environment):
    """Episodes of a gymnasium environment, stepped together; made by `gym_environment` or `gym_vector`.

    Args:
        instances: The episodes.
        name: Name in data sets and recipes.
        dt: Seconds per control step [s]; `None` if unknown, which counts as 1.
        steps: Time limit in control steps.
        state: Feedback state: `observation.state`, or the simulator's own state.
        images: Observe camera images too.
        filmed: Cameras of MuJoCo's models to observe as well.

    Raises:
        RecipeError: Observations or actions that are not real numbers.
    """

    def __init__(
        self,
        instances: Instances,
        *,
        name: str,
        dt: float | None,
        steps: int,
        state: State = "observation",
        images: bool = False,
        filmed: ModelCameras | None = None,
    ) -> None:
        self.name, self.dt, self.steps, self.state = name, 1.0 if dt is None else dt, steps, state
        self.rate_known = dt is not None
        self._instances = instances
        space = instances.action_space
        check_actions(space, name)
        self.n_actions = math.prod(space.shape)
        low, high = (torch.as_tensor(bound.astype(np.float64).reshape(-1)) for bound in (space.low, space.high))
        self.action_bounds = (low, high)
        self._layout = layout_of(instances.observation_space, images=images, name=name)
        self.names = self._layout.names
        self.restorable = state == "physics" and isinstance(instances, Singles)
        self._shown = list[Shown]()
        self._filmed, self._films = filmed, dict[str, UInt8[ndarray, "b height width channels"]]()
        self.depth_ranges = {} if filmed is None else ranges_drawn(filmed.asked)

    @property
    def simulators(self) -> list[Any]:
        """The simulators in this process, without wrappers; none if they are stepped as a vectorised environment."""
        return [item.unwrapped for item in self._instances.environments] if isinstance(self._instances, Singles) else []

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or, with `state="physics"`, per simulator state (qpos, qvel)."""
        states = isinstance(starts, Tensor) and is_states(starts)
        self._shown = self._instances.reset(range(len(starts)) if states else [int(seed) for seed in starts])
        self._step = 0
        self._terminated, self._truncated, self._solved = np.zeros((3, len(starts)), dtype=np.bool_)
        self._reports_success = False
        self._moved, self._films = np.ones(len(starts), dtype=np.bool_), {}
        return self.set_state(starts) if isinstance(starts, Tensor) and states else self._read()

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """Advance all episodes that are not over by one control step."""
        space = self._instances.action_space
        given = actions.detach().cpu().numpy().reshape(-1, *space.shape).astype(space.dtype)
        over = self._terminated | self._truncated
        following, self._moved = self._instances.step(list(given), over), ~over
        self._step += 1
        reward = np.zeros(len(following))
        for i, shown in enumerate(following):
            if shown is None:
                continue
            self._shown[i], reward[i] = shown, shown.reward
            success = success_of(shown.info)
            self._reports_success |= success is not None
            self._solved[i] |= bool(success)
            self._terminated[i] = shown.terminated
            self._truncated[i] = shown.truncated or (self._step >= self.steps and not shown.terminated)
        return replace(self._read(), reward=torch.as_tensor(reward))

    def get_state(self) -> Float[Tensor, "b n"]:
        """MuJoCo's states (qpos, qvel); needs `state="physics"`."""
        return self._physics() if self.restorable else super().get_state()

    def set_state(self, states: Float[Tensor, "b n"]) -> Step:
        """Move MuJoCo's simulators to states (qpos, qvel), up to the warm start of its solver."""
        if not self.restorable:
            return super().set_state(states)
        self._shown = self._instances.place(states.double().cpu().numpy())
        self._moved[:] = True
        return self._read()

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """One picture per episode, for environments made with `render=True`."""
        pictures = self._instances.frames()
        if any(picture is None for picture in pictures):
            raise RecipeError(f"{self.name} cannot render. Make it with render=True.")
        return np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])

    def close(self) -> None:
        """Release the simulators' resources."""
        if self._filmed is not None:
            self._filmed.close()
        self._instances.close()

    def _read(self) -> Step:
        layout, observations = self._layout, [shown.observation for shown in self._shown]
        own, rest = ([layout.vector(seen, keys) for seen in observations] for keys in (layout.state, layout.rest))
        pictures = [layout.pictures(seen) for seen in observations]
        shown = {name: np.stack([part[name] for part in pictures]) for name in layout.cameras} | self._film()
        observation = Observation(
            state=_stacked(own),
            environment_state=_stacked(rest) if layout.rest else None,
            images={name: torch.as_tensor(values) for name, values in shown.items()},
        )
        ends = (torch.as_tensor(flags.copy()) for flags in (self._terminated, self._truncated, self._solved))
        terminated, truncated, solved = ends
        return replace(
            Step.first(observation, self._physics() if self.state == "physics" else observation.state),
            terminated=terminated,
            truncated=truncated,
            success=solved if self._reports_success else None,
        )

    def _film(self) -> dict[str, UInt8[ndarray, "b height width channels"]]:
        """Pictures of the models' cameras; episodes that are over keep their last ones."""
        if self._filmed is None:
            return {}
        moved = np.flatnonzero(self._moved)
        fresh = self._filmed.pictures([int(episode) for episode in moved])
        if self._films:
            kept = {name: values.copy() for name, values in self._films.items()}
            for name, values in fresh.items():
                kept[name][moved] = values
            fresh = kept
        self._films = fresh
        return fresh

    def _physics(self) -> Float[Tensor, "b n"]:
        from .gym_report import PHYSICS  # imports gymnasium

        if any(PHYSICS not in shown.info for shown in self._shown):
            raise RecipeError(
                f"{self.name} does not report its simulator's state. Make it with gym_environment(…, state='physics')."
            )
        return _stacked([shown.info[PHYSICS] for shown in self._shown])


def _stacked(vectors: Sequence[Any]) -> Float[Tensor, "b n"]:
    return torch.as_tensor(np.stack(vectors).astype(np.float64))
