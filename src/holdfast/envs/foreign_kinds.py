"""Kinds of policies of other libraries, and what each is given and returns.

    predict          Stable-Baselines3: predict(observations, state, episode_start, deterministic) → (actions, state)
                     scikit-learn: predict([b, n]) → [b, m], or [b] for one action coordinate
    select_action    LeRobot: select_action({"observation.state": [b, n], …}) → [b, m], and reset()
    start_episode    robomimic: policy(ob) → [m] for a dictionary of arrays, and start_episode()
    act              act(observation) → [m], with or without reset()
    torch module     module([b, n]) → [b, m]
    function         function([n]) → [m]

A kind has one or more forms: what the policy is given, for all episodes at once or for one of them. The first form that
the policy accepts is used (`foreign`).
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..types import Observation

Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Form:
    """What a policy is given.

    Attributes:
        words: In words, for messages.
        inputs: Observations of a batch → what the policy is given.
        batched: Whether it is given all episodes at once. Otherwise `inputs` gets the observation of one episode,
            without the dimension of the batch.
    """

    words: str
    inputs: Callable[[Observation], Any]
    batched: bool


class Kind(ABC):
    """A policy of another library, and how it is called."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    @abstractmethod
    def forms(self, names: Names) -> tuple[Form, ...]:
        """Forms in the order in which they are tried; `names` are the environment's names of coordinates."""

    @abstractmethod
    def call(self, inputs: Any) -> Any:
        """The policy's actions, as it returns them."""

    def reset(self, seed: int | None) -> None:
        """Begin episodes: the policy's own `start_episode` or `reset`, if it has one."""
        for name in ("start_episode", "reset"):
            begin = getattr(self.policy, name, None)
            if callable(begin):
                begin(seed) if _takes(begin, "seed") else begin()
                return


class Predicts(Kind):
    """`predict`, with the recurrent state and the starts of episodes of Stable-Baselines3 where it takes them.

    Stochastic policies of Stable-Baselines3 are asked for their mean action (`deterministic=True`), as its own
    `evaluate_policy` does.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        self._state: Any = None
        self._begins = True

    def reset(self, seed: int | None) -> None:
        """Begin episodes."""
        super().reset(seed)
        self._state, self._begins = None, True

    def forms(self, names: Names) -> tuple[Form, ...]:
        """All observations as an array, or as a dictionary of arrays if the policy's observation space is one."""
        space: Any = getattr(self.policy, "observation_space", None)
        if hasattr(space, "spaces"):
            keys = tuple(space.spaces)
            words = f"a dictionary of arrays with the keys {', '.join(keys)}"
            return (Form(words, lambda seen: {key: named(seen, names)[key] for key in keys}, True),)
        dtype = getattr(space, "dtype", None)
        return Form("all observations [b, n]", lambda seen: _array(seen, dtype), True), _ONE

    def call(self, inputs: Any) -> Any:
        """The actions; a state that comes with them is kept for the next step."""
        arrays = list(cast("dict[str, Any]", inputs).values()) if isinstance(inputs, dict) else [np.atleast_2d(inputs)]
        count = len(arrays[0])
        begins = np.full(count, self._begins)
        # `mask` is the earlier name of `episode_start`
        options = {"state": self._state, "episode_start": begins, "mask": begins, "deterministic": True}
        known = {name: value for name, value in options.items() if _takes(self.policy.predict, name)}
        found: Any = self.policy.predict(inputs, **known)
        self._begins = False
        if not isinstance(found, tuple):
            return found
        actions, self._state = cast("tuple[Any, Any]", found)
        return actions


class SelectsAction(Kind):
    """LeRobot's `select_action`, whose queue of actions is filled for all episodes at once."""

    def forms(self, names: Names) -> tuple[Form, ...]:
        """Dictionaries of tensors; the last forms are for policies that take plain observations."""
        return (
            Form("LeRobot's dictionary of tensors [b, …]", self._batch, True),
            Form(
                "LeRobot's dictionary of tensors [1, …]",
                lambda seen: self._batch(seen.map(lambda values: values[None])),
                False,
            ),
            Form("all observations as a tensor [b, n]", lambda seen: seen.vector.to(_dtype(self.policy)), True),
            _ONE,
        )

    def call(self, inputs: Any) -> Any:
        """The actions, with dropout and batch statistics as in deployment."""
        with in_evaluation(self.policy):
            return self.policy.select_action(inputs)

    def _batch(self, seen: Observation) -> dict[str, Any]:
        dtype = _dtype(self.policy)
        found: dict[str, Any] = {"observation.state": seen.state.to(dtype)}
        if seen.environment_state is not None:
            found["observation.environment_state"] = seen.environment_state.to(dtype)
        for name, image in seen.images.items():
            # LeRobot's pictures are channels first, between 0 and 1
            found[f"observation.images.{name}"] = image.movedim(-1, -3).to(dtype) / 255
        return found | ({} if seen.task is None else {"task": seen.task})


class StartsEpisodes(Kind):
    """robomimic's `RolloutPolicy`: called with the observation of one episode, after `start_episode()`."""

    def forms(self, names: Names) -> tuple[Form, ...]:
        """Robomimic's dictionary, `flat` and all named parts, or the observation as an array."""

        def parts(seen: Observation) -> dict[str, Any]:
            return {"flat": _array(seen), **named(seen, names)}

        return Form("a dictionary of arrays: flat and the environment's own keys", parts, False), _ONE

    def call(self, inputs: Any) -> Any:
        """The action."""
        return self.policy(inputs)


class Acts(Kind):
    """An object with `act(observation)`, or a function of one observation."""

    def forms(self, names: Names) -> tuple[Form, ...]:
        """One observation after the other."""
        return (_ONE,)

    def call(self, inputs: Any) -> Any:
        """The action."""
        return self.policy.act(inputs) if hasattr(self.policy, "act") else self.policy(inputs)


class Module(Kind):
    """A torch module of all observations."""

    def forms(self, names: Names) -> tuple[Form, ...]:
        """All observations, in the precision and on the device of the parameters."""
        place = next(iter(self.policy.parameters()), torch.zeros(0))
        return (Form("all observations as a tensor [b, n]", lambda seen: seen.vector.to(place), True),)

    def call(self, inputs: Any) -> Any:
        """The actions, with dropout and batch statistics as in deployment."""
        with in_evaluation(self.policy):
            return self.policy(inputs)


def kind_of(policy: Any) -> Kind | None:
    """The kind of a policy; `None` if it is of none."""
    if isinstance(policy, type):
        return None
    for name, kind in (("select_action", SelectsAction), ("predict", Predicts), ("start_episode", StartsEpisodes)):
        if callable(getattr(policy, name, None)):
            return kind(policy)
    if callable(getattr(policy, "act", None)):
        return Acts(policy)
    if isinstance(policy, nn.Module):
        return Module(policy)
    return Acts(policy) if callable(policy) else None


def named(seen: Observation, names: Names) -> dict[str, Any]:
    """Parts of an observation by the environment's own keys, or as state and environment_state without names."""
    found = dict[str, Any]()
    for part, values in (("state", seen.state), ("environment_state", seen.environment_state)):
        if values is None:
            continue
        array = values.detach().cpu().numpy().copy()
        labels = [_key(label) for label in names.get(f"observation.{part}", ())]
        for key in dict.fromkeys(labels or [part]):
            columns = [index for index, label in enumerate(labels) if label == key]
            found[key] = array[..., columns] if labels else array
    return found | {name: image.detach().cpu().numpy().copy() for name, image in seen.images.items()}


@contextmanager
def in_evaluation(policy: Any) -> Generator[None]:
    """Put a torch module in evaluation mode, and back."""
    training = isinstance(policy, nn.Module) and policy.training
    if training:
        policy.eval()
    try:
        yield
    finally:
        if training:
            policy.train()


def _key(label: str) -> str:
    """The key of a coordinate's name: `object` of `object.3`."""
    key, _, index = label.rpartition(".")
    return key if key and index.isdecimal() else label


def _array(seen: Observation, dtype: Any = None) -> Any:
    array = seen.vector.detach().cpu().numpy().copy()
    return array if dtype is None else array.astype(dtype)


def _dtype(policy: Any) -> torch.dtype:
    """Precision of a policy's parameters; LeRobot's default without any."""
    parameters = policy.parameters() if isinstance(policy, nn.Module) else ()
    return next((values.dtype for values in parameters if values.is_floating_point()), torch.float32)


def _takes(function: Any, name: str) -> bool:
    """Whether a function has a parameter of a name; unknown signatures have none."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


_ONE = Form("one observation [n] after the other", _array, False)


def actions_of(output: Any, count: int, width: int) -> Tensor | None:
    """Actions `[count, width]` from what a policy returned for `count` episodes; `None` if they are something else.

    One action coordinate may be returned without its dimension, and the actions of one episode without the episode's.
    """
    try:
        found = output.detach().cpu() if isinstance(output, Tensor) else torch.as_tensor(np.asarray(output))
    except (TypeError, ValueError, RuntimeError):
        return None
    shapes = [(count, width)] + [(count,)] * (width == 1) + [(width,), (1, 1, width)] * (count == 1)
    shapes += [()] * (count == width == 1)
    if tuple(found.shape) not in shapes or found.is_complex():
        return None
    return found.reshape(count, width)
