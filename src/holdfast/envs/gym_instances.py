"""Many episodes of a gymnasium environment at once: a list of single ones, or a vectorised one.

A vectorised environment begins the next episode by itself, in one of three ways (gymnasium's autoreset modes):

    NextStep   the step after the last one resets; its action is ignored
    SameStep   the last step resets at once; the last observation is in info["final_obs"], info["final_info"]
    Disabled   the caller must reset it

Steps after the end of a requested episode are ignored.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from ..errors import RecipeError, ShapeError


@dataclass(frozen=True)
class Shown:
    """Result of one step of one episode, as the environment returns it."""

    observation: Any
    info: Mapping[str, Any]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


@runtime_checkable
class Instances(Protocol):
    """Episodes of one environment, single or vectorised."""

    @property
    def observation_space(self) -> Any:
        """Observation space of one episode."""
        ...

    @property
    def action_space(self) -> Any:
        """Action space of one episode."""
        ...

    def reset(self, seeds: Sequence[int]) -> list[Shown]:
        """Begin one episode for each seed."""
        ...

    def step(self, actions: Sequence[Any], over: Bool[ndarray, " b"]) -> list[Shown | None]:
        """One control step of the episodes that are not over; `None` for the others."""
        ...

    def frames(self) -> list[Any]:
        """One picture per episode; `None` if the environment cannot render."""
        ...

    def place(self, states: Float64[ndarray, "b n"]) -> list[Shown]:
        """Move MuJoCo's simulators to states (qpos, qvel)."""
        ...

    def close(self) -> None:
        """Release the simulators' resources."""
        ...


class Singles(Instances):
    """Independent instances, one per episode; instances whose episode is over are not stepped."""

    def __init__(self, environments: Sequence[Any], *, threads: int = 1) -> None:
        self.environments = environments
        self._shares = [range(first, len(environments), threads) for first in range(min(threads, len(environments)))]
        self._pool = ThreadPoolExecutor(len(self._shares)) if len(self._shares) > 1 else None

    @property
    def observation_space(self) -> Any:
        return self.environments[0].observation_space

    @property
    def action_space(self) -> Any:
        return self.environments[0].action_space

    def reset(self, seeds: Sequence[int]) -> list[Shown]:
        _check_count(len(seeds), len(self.environments))
        pairs = zip(self.environments, seeds, strict=True)
        return [Shown(*environment.reset(seed=int(seed))) for environment, seed in pairs]

    def step(self, actions: Sequence[Any], over: Bool[ndarray, " b"]) -> list[Shown | None]:
        triples = list(zip(self.environments, actions, over, strict=True))

        def share(which: Sequence[int]) -> list[Shown | None]:
            return [None if triples[i][2] else _stepped(triples[i][0], triples[i][1]) for i in which]

        shown: list[Shown | None] = [None] * len(triples)
        done = (self._pool.map if self._pool else map)(share, self._shares)
        for which, part in zip(self._shares, done, strict=True):
            shown[which.start :: which.step] = part
        return shown

    def frames(self) -> list[Any]:
        return [environment.render() if environment.render_mode else None for environment in self.environments]

    def place(self, states: Float64[ndarray, "b n"]) -> list[Shown]:
        return [Shown(*environment.place(state)) for environment, state in zip(self.environments, states, strict=True)]

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
        for environment in self.environments:
            environment.close()


class Vectorised(Instances):
    """A `gymnasium.vector.VectorEnv` in any autoreset mode."""

    def __init__(self, environments: Any) -> None:
        self.environments = environments
        mode = environments.metadata.get("autoreset_mode")
        self._mode = str(getattr(mode, "value", mode))
        if self._mode not in ("NextStep", "SameStep", "Disabled"):
            raise RecipeError(
                f"{environments} does not declare its autoreset mode (metadata['autoreset_mode'] is {mode!r}). "
                "Set it to one of gymnasium.vector.AutoresetMode."
            )

    @property
    def observation_space(self) -> Any:
        return self.environments.single_observation_space

    @property
    def action_space(self) -> Any:
        return self.environments.single_action_space

    def reset(self, seeds: Sequence[int]) -> list[Shown]:
        _check_count(len(seeds), self.environments.num_envs)
        observations, infos = self.environments.reset(seed=[int(seed) for seed in seeds])
        return [Shown(_part(observations, i), _part_of_info(infos, i)) for i in range(len(seeds))]

    def step(self, actions: Sequence[Any], over: Bool[ndarray, " b"]) -> list[Shown | None]:
        observations, rewards, terminated, truncated, infos = self.environments.step(np.stack(actions))
        ended = np.logical_or(terminated, truncated)
        shown = [
            None if over[i] else self._shown(i, observations, infos, float(rewards[i]), terminated[i], truncated[i])
            for i in range(len(over))
        ]
        if self._mode == "Disabled" and ended.any():
            # it must be reset before the next step; that episode is ignored
            self.environments.reset(options={"reset_mask": np.asarray(ended, dtype=np.bool_)})
        return shown

    def _shown(
        self, i: int, observations: Any, infos: Mapping[str, Any], reward: float, terminated: Any, truncated: Any
    ) -> Shown:
        ends, info = (bool(terminated), bool(truncated)), _part_of_info(infos, i)
        if any(ends) and self._mode == "SameStep":
            return Shown(info["final_obs"], info.get("final_info", {}), reward, *ends)
        return Shown(_part(observations, i), info, reward, *ends)

    def frames(self) -> list[Any]:
        """Refused: a picture may already show the next episode."""
        raise RecipeError(
            "a vectorized environment cannot render: its pictures may show the next episode. Omit `vectorized`."
        )

    def place(self, states: Float64[ndarray, "b n"]) -> list[Shown]:
        """Not supported: the simulators may live in other processes."""
        raise RecipeError("a vectorized environment cannot restore simulator states. Make it without `vectorized`.")

    def close(self) -> None:
        self.environments.close()


def success_of(info: Mapping[str, Any]) -> bool | None:
    """Whether an episode is solved by info["is_success"] or info["success"]; `None` if both are missing.

    Either may be a boolean, a number, or a mapping of these, of which the entry `task` counts, or else all entries.

    >>> success_of({"is_success": {"task": True, "grasped": False}}), success_of({"success": 0.0}), success_of({})
    (True, False, None)
    """
    success = next((info[key] for key in ("is_success", "success") if info.get(key) is not None), None)
    if isinstance(success, Mapping):
        parts = {key: value for key, value in cast("Mapping[str, Any]", success).items() if not key.startswith("_")}
        return bool(parts["task"]) if "task" in parts else all(bool(value) for value in parts.values())
    return None if success is None else bool(success)


def _stepped(environment: Any, action: Any) -> Shown:
    observation, reward, terminated, truncated, info = environment.step(action)
    return Shown(observation, info, float(reward), bool(terminated), bool(truncated))


def _check_count(seeds: int, instances: int) -> None:
    if seeds != instances:
        raise ShapeError(
            f"expected one seed for each of the {instances} episodes at once, got {seeds}. Ask for {instances} "
            f"episodes or starts, or make the environment with count={seeds}."
        )


def _part(values: Any, i: int) -> Any:
    """One episode's part of batched observations; copied, because the batch may be overwritten."""
    if isinstance(values, Mapping):
        return {key: _part(inner, i) for key, inner in cast("Mapping[str, Any]", values).items()}
    return np.array(values[i])


def _part_of_info(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """One episode's info: entries whose mask `_entry` is set for it, or that have no mask."""
    found = dict[str, Any]()
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") or (mask is not None and not mask[i]):
            continue
        found[key] = (
            _part_of_info(cast("Mapping[str, Any]", values), i)
            if isinstance(values, Mapping)
            else (values[i] if mask is not None else values)
        )
    return found
