"""Policies of other libraries in rollouts: the form in which each is called, and one instance per episode.

    hf.evaluate(stable_baselines_model, "gym:Hopper-v5", episodes=20)
    hf.evaluate(regressor.fit(observations, actions), "gym:Hopper-v5", episodes=20)
    hf.evaluate(hf.PerEpisode(lambda: QueuedPolicy(network)), "gym:Hopper-v5", episodes=20)

`foreign_kinds` lists the kinds of policies. A policy that is called for one episode after the other, but keeps a queue
of actions or a hidden state, would mix the episodes; `separation` finds this before the rollout.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..policy import Policy
from ..types import Observation
from .actors import Actor, PlainPolicy
from .environment import Environment, Step
from .foreign_kinds import Form, Kind, actions_of, kind_of
from .separation import check_separate


class Foreign:
    """A policy of another library as an `Actor`, called in one form.

    Args:
        kind: The policy and how it is called.
        form: What it is given.
        n_actions: Number of action coordinates.
    """

    def __init__(self, kind: Kind, form: Form, n_actions: int) -> None:
        self.kind, self.form, self.n_actions = kind, form, n_actions

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.kind.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The policy's actions.

        Raises:
            ShapeError: It returned something else than one action per episode.
        """
        count = len(state)
        if self.form.batched:
            return self._read(self.kind.call(self.form.inputs(observation)), count).to(state)
        rows = [observation.at(slice(i, i + 1)).map(lambda values: values[0]) for i in range(count)]
        return torch.cat([self._read(self.kind.call(self.form.inputs(row)), 1) for row in rows]).to(state)

    def _read(self, output: Any, count: int) -> Tensor:
        found = actions_of(output, count, self.n_actions)
        if found is None:
            shape = getattr(output, "shape", None)
            returned = type(output).__name__ if shape is None else f"an array of shape {list(shape)}"
            raise ShapeError(
                f"expected actions of shape [{count}, {self.n_actions}] from {type(self.kind.policy).__name__}, given "
                f"{self.form.words}, got {returned}."
            )
        return found


class PerEpisode:
    """One instance of a policy per episode, for policies that keep a queue of actions or a hidden state.

    Args:
        make: Makes one policy of any kind that rollouts accept, with its own memory; called once for every episode.
            Large networks may be shared, what changes while a policy acts may not.

    >>> import torch
    >>> from collections import deque
    >>> class Queued:
    ...     def __init__(self):
    ...         self.queue = deque()
    ...     def __call__(self, observation):
    ...         if not self.queue:
    ...             self.queue.extend([-0.5 * observation[:1], -0.25 * observation[:1]])
    ...         return self.queue.popleft()
    >>> policy = PerEpisode(Queued)
    >>> policy.reset()
    >>> policy.act(Observation(state=torch.tensor([[2.0], [4.0]])), torch.zeros(2, 1))
    tensor([[-1.],
            [-2.]])
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        if not callable(make):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"expected a function that makes one policy, got {type(make).__name__}.")
        self.make = make
        self.wrap: Callable[[Any], Actor] = _single
        self._seed: int | None = None
        self._instances: Sequence[Actor] = ()

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes, with new instances."""
        self._seed, self._instances = seed, ()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Each instance's action for its own episode.

        Raises:
            ShapeError: The number of episodes changed without `reset`.
        """
        if not self._instances:
            self._instances = [self.wrap(self.make()) for _ in range(len(state))]
            for index, instance in enumerate(self._instances):
                instance.reset(None if self._seed is None else self._seed + index)
        if len(self._instances) != len(state):
            raise ShapeError(f"expected {len(self._instances)} episodes as before, got {len(state)}. Call reset first.")
        rows = [slice(index, index + 1) for index in range(len(state))]
        parts = [one.act(observation.at(row), state[row]) for one, row in zip(self._instances, rows, strict=True)]
        return torch.cat(parts).to(state)


def as_actor(policy: Any, environment: Environment, first: Step) -> Actor:
    """A policy of any kind as an `Actor` in an environment; an `Actor` is returned as it is.

    Args:
        policy: The policy.
        environment: Where it will be run.
        first: First step of the episodes, on which the form is found.

    Raises:
        RecipeError: It is of no known kind, it accepts no form, or its episodes share a memory.
    """
    if isinstance(policy, (Policy, Foreign)):
        return policy
    if isinstance(policy, PerEpisode):
        return _per_episode(policy, environment, first)
    if isinstance(policy, PlainPolicy):
        if not policy.batched:
            check_separate(policy, first, rowwise=True, own=(policy.function, policy.on_reset))
        return policy
    if isinstance(policy, Actor) and _takes_state(policy):
        return policy
    found = _foreign(policy, environment, first)
    check_separate(found, first, rowwise=not found.form.batched, own=(policy,))
    return found


def _per_episode(policy: PerEpisode, environment: Environment, first: Step) -> PerEpisode:
    """The same with the form of its instances known."""
    model, one = policy.make(), _first_only(first)
    adapted = _as_one(model, environment, one)
    ready = PerEpisode(policy.make)
    if isinstance(adapted, Foreign):
        form, width = adapted.form, adapted.n_actions
        ready.wrap = lambda made: Foreign(_kind(made), form, width)
    else:
        ready.wrap = lambda made: made
    check_separate(ready, first, rowwise=True, own=(policy.make, model))
    return ready


def _as_one(model: Any, environment: Environment, one: Step) -> Actor:
    if isinstance(model, (Policy, PlainPolicy)) or (isinstance(model, Actor) and _takes_state(model)):
        return model
    return _foreign(model, environment, one)


def _single(made: Any) -> Actor:
    """An instance outside a rollout, in the form of one observation after the other."""
    if isinstance(made, Actor) and _takes_state(made):
        return made
    if not callable(made):
        raise RecipeError(f"expected a function or a policy with reset and act, got {type(made).__name__}.")
    return PlainPolicy(made)


def _foreign(policy: Any, environment: Environment, first: Step) -> Foreign:
    """The first form that the policy accepts."""
    refused = list[str]()
    for form in _kind(policy).forms(environment.names):
        tried = Foreign(_kind(policy), form, environment.n_actions)
        try:
            tried.reset(0)
            tried.act(first.observation.map(torch.clone), first.state.clone())
        except Exception as error:  # a policy of another library may raise anything; all are named below
            refused.append(f"given {form.words}, it raised {type(error).__name__}: {str(error).rstrip('.')}")
            continue
        return tried
    raise RecipeError(
        f"expected a policy for {environment.name}, whose observations have {first.observation.vector.shape[-1]} and "
        f"whose actions {environment.n_actions} numbers, got {type(policy).__name__}: {'; '.join(refused)}. Give a "
        "function from one observation [n] to an action [m] that calls it."
    )


def _kind(policy: Any) -> Kind:
    kind = kind_of(policy)
    if kind is None:
        what = f"the class {policy.__name__}" if isinstance(policy, type) else type(policy).__name__
        raise RecipeError(
            f"expected a policy with reset(seed) and act(observation, state), predict, select_action or start_episode, "
            f"a torch module or a function, got {what}. Load a run folder with holdfast.load, or wrap what makes the "
            "policy: holdfast.PerEpisode(make)."
        )
    return kind


def _takes_state(policy: Actor) -> bool:
    """Whether `act` takes an observation and a feedback state, as an `Actor`'s does."""
    try:
        parameters = inspect.signature(policy.act).parameters.values()
    except (TypeError, ValueError):
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    several = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    needed = [one for one in parameters if one.kind in kinds and one.default is inspect.Parameter.empty]
    return several or len(needed) >= 2


def _first_only(step: Step) -> Step:
    return Step.first(step.observation.at(slice(1)), step.state[:1])
