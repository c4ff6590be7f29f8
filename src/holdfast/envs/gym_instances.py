"""Many episodes of a gymnasium environment at once: a list of single ones, or a vectorised one.

A vectorised environment begins the next episode by itself, in one of three ways (gymnasium's autoreset modes):

    NextStep   the step after the last one resets; its action is ignored
    SameStep   the last step resets at once; what the episode showed last is in info["final_obs"], info["final_info"]
    Disabled   whoever steps it must reset it

What happens after the end of an episode that was asked for is never looked at.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from ..errors import RecipeError, ShapeError

__all__ = ["Instances", "Shown", "Singles", "Vectorised", "success_of"]


@dataclass(frozen=True)
class Shown:
    """What one episode shows.

    Attributes:
        observation: As the environment gives it.
        info: What else it tells.
        reward: Reward of the last step.
        terminated: Whether the episode has ended by itself.
        truncated: Whether the episode was cut off.
    """

    observation: Any
    info: Mapping[str, Any]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


@runtime_checkable
class Instances(Protocol):
    """Episodes of one environment, whoever steps them."""

    @property
    def observation_space(self) -> Any:
        """Of one episode."""
        ...

    @property
    def action_space(self) -> Any:
        """Of one episode."""
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
        """Give back what the simulators hold."""
        ...


class Singles:
    """Independent instances, one an episode; those that are over are not stepped any further.

    Args:
        environments: The instances.
        threads: In how many threads they are stepped, each instance always in the same one. It pays where the simulator
            lets other threads run while it computes, as MuJoCo does, and where instances share nothing.
    """

    def __init__(self, environments: Sequence[Any], *, threads: int = 1) -> None:
        self.environments = environments
        self._shares = [range(first, len(environments), threads) for first in range(min(threads, len(environments)))]
        self._pool = ThreadPoolExecutor(len(self._shares)) if len(self._shares) > 1 else None

    @property
    def observation_space(self) -> Any:
        """Of one episode."""
        return self.environments[0].observation_space

    @property
    def action_space(self) -> Any:
        """Of one episode."""
        return self.environments[0].action_space

    def reset(self, seeds: Sequence[int]) -> list[Shown]:
        """Begin one episode for each seed."""
        _check_count(len(seeds), len(self.environments))
        pairs = zip(self.environments, seeds, strict=True)
        return [Shown(*environment.reset(seed=int(seed))) for environment, seed in pairs]

    def step(self, actions: Sequence[Any], over: Bool[ndarray, " b"]) -> list[Shown | None]:
        """One control step of the episodes that are not over; `None` for the others."""
        triples = list(zip(self.environments, actions, over, strict=True))

        def share(which: Sequence[int]) -> list[Shown | None]:
            return [None if triples[i][2] else _stepped(triples[i][0], triples[i][1]) for i in which]

        shown: list[Shown | None] = [None] * len(triples)
        done = (self._pool.map if self._pool else map)(share, self._shares)
        for which, part in zip(self._shares, done, strict=True):
            shown[which.start :: which.step] = part
        return shown

    def frames(self) -> list[Any]:
        """A picture of each episode."""
        return [environment.render() for environment in self.environments]

    def place(self, states: Float64[ndarray, "b n"]) -> list[Shown]:
        """Move MuJoCo's simulators to states (qpos, qvel)."""
        return [Shown(*environment.place(state)) for environment, state in zip(self.environments, states, strict=True)]

    def close(self) -> None:
        """Close all."""
        if self._pool:
            self._pool.shutdown()
        for environment in self.environments:
            environment.close()


class Vectorised:
    """A `gymnasium.vector.VectorEnv`, whichever way it begins the next episode.

    Raises:
        RecipeError: It does not say which way.
    """

    def __init__(self, environments: Any) -> None:
        self.environments = environments
        mode = environments.metadata.get("autoreset_mode")
        self._mode = str(getattr(mode, "value", mode))
        if self._mode not in ("NextStep", "SameStep", "Disabled"):
            raise RecipeError(
                f"{environments} does not say how it begins the next episode (metadata['autoreset_mode'] is {mode!r}). "
                "Set it to one of gymnasium.vector.AutoresetMode."
            )

    @property
    def observation_space(self) -> Any:
        """Of one episode."""
        return self.environments.single_observation_space

    @property
    def action_space(self) -> Any:
        """Of one episode."""
        return self.environments.single_action_space

    def reset(self, seeds: Sequence[int]) -> list[Shown]:
        """Begin one episode for each seed."""
        _check_count(len(seeds), self.environments.num_envs)
        observations, infos = self.environments.reset(seed=[int(seed) for seed in seeds])
        return [Shown(_part(observations, i), _part_of_info(infos, i)) for i in range(len(seeds))]

    def step(self, actions: Sequence[Any], over: Bool[ndarray, " b"]) -> list[Shown | None]:
        """One control step of the episodes that are not over; `None` for the others."""
        observations, rewards, terminated, truncated, infos = self.environments.step(np.stack(actions))
        ended = np.logical_or(terminated, truncated)
        shown = [
            None if over[i] else self._shown(i, observations, infos, float(rewards[i]), terminated[i], truncated[i])
            for i in range(len(over))
        ]
        if self._mode == "Disabled" and ended.any():
            # it must be begun anew before the next step; nobody looks at that episode
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
        """Refused: a picture could be one of the next episode already."""
        raise RecipeError("pictures of a vectorised environment may show the next episode. Leave out `vectorized`.")

    def place(self, states: Float64[ndarray, "b n"]) -> list[Shown]:
        """Not supported: the simulators may live in other processes."""
        raise RecipeError("a vectorised environment cannot restore simulator states. Make it without `vectorized`.")

    def close(self) -> None:
        """Close all."""
        self.environments.close()


def success_of(info: Mapping[str, Any]) -> bool | None:
    """Whether an episode says that it is solved: info["is_success"], or info["success"]; `None` if it says neither.

    Either may be a truth value, a number, or a mapping of such, of which the entry `task` counts, or else all.

    >>> success_of({"is_success": {"task": True, "grasped": False}}), success_of({"success": 0.0}), success_of({})
    (True, False, None)
    """
    said = next((info[key] for key in ("is_success", "success") if info.get(key) is not None), None)
    if isinstance(said, Mapping):
        parts = {key: value for key, value in cast("Mapping[str, Any]", said).items() if not key.startswith("_")}
        return bool(parts["task"]) if "task" in parts else all(bool(value) for value in parts.values())
    return None if said is None else bool(said)


def _stepped(environment: Any, action: Any) -> Shown:
    observation, reward, terminated, truncated, info = environment.step(action)
    return Shown(observation, info, float(reward), bool(terminated), bool(truncated))


def _check_count(seeds: int, instances: int) -> None:
    if seeds != instances:
        raise ShapeError(f"expected one seed for each of the {instances} episodes at once, got {seeds}.")


def _part(values: Any, i: int) -> Any:
    """One episode's part of batched observations; copied, since the batch may be written over."""
    if isinstance(values, Mapping):
        return {key: _part(inner, i) for key, inner in cast("Mapping[str, Any]", values).items()}
    return np.array(values[i])


def _part_of_info(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """What one episode tells: entries whose mask `_entry` is set for it, or that have no mask."""
    told = dict[str, Any]()
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") or (mask is not None and not mask[i]):
            continue
        told[key] = (
            _part_of_info(cast("Mapping[str, Any]", values), i)
            if isinstance(values, Mapping)
            else (values[i] if mask is not None else values)
        )
    return told
