"""Whether the episodes of a batch are separate in a policy: a probe before the rollout.

A policy with a queue of actions or a hidden state that is called for one episode after the other gives one episode the
actions planned for another. Its rollouts fail although the policy may be good. The probe acts a few times on
observations of the episodes' first step, which it exchanges among the episodes, and requires

    memory     the same actions after a reset, in single episodes too
    crossing   the same actions for an episode if only the observations of another one change
    company    the same actions for an episode alone and in company (policies called for one episode after the other)

Policies that draw random numbers are probed with fixed seeds of the global generators. Their actions depend on how many
numbers others have drawn, so `company` is left out, and `memory` if their own generator is not seeded by a reset.
"""

import copy
import math
import random
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Observation
from .actors import Actor
from .environment import Step

PROBED_STEPS = 4
"""Control steps of each probe."""
PROBED_EPISODES = 3
"""Largest number of episodes in a probe of a policy that is called for all of them at once."""
_TOLERANCE = 1e-5
"""Largest difference that counts as rounding, relative to the largest action."""
_MOST_OBJECTS = 20_000

WAY_OUT = (
    "Give every episode its own instance: holdfast.PerEpisode(make), where make is a function without arguments that "
    "makes one policy"
)


def check_separate(policy: Actor, first: Step, *, rowwise: bool, own: Sequence[Any]) -> None:
    """Refuse a policy whose memory is shared by the episodes, or survives a reset.

    Args:
        policy: The policy, which is reset afterwards.
        first: First step of the episodes.
        rowwise: Whether the policy is called for one episode after the other.
        own: What the user gave, in which generators of random numbers are sought.

    Raises:
        RecipeError: The actions of an episode depend on other episodes.
    """
    with torch.no_grad(), _fixed_random():
        probe = _Probe(policy, first, rowwise=rowwise)
        base = probe.flown()
        draws = _draws(own)
        if _same(base, probe.flown()):
            draws = draws or not _same(base, probe.flown(seed=1))
        elif not draws:
            raise RecipeError(
                "the policy gives other actions for the same observations after a reset: it keeps a memory from one "
                f"episode to the next. {WAY_OUT}, or give holdfast.PlainPolicy a function on_reset."
            )
        else:
            probe.copies, base = True, probe.flown(copied=True)
            if not _same(base, probe.flown()):
                return
        probe.check_crossing(base)
        if rowwise and not draws:
            probe.check_company(base)
        policy.reset(0)


class _Probe:
    """Short runs of a policy on observations of the first step, exchanged among the episodes."""

    def __init__(self, policy: Actor, first: Step, *, rowwise: bool) -> None:
        count = len(first.state)
        self.count = min(count, 2 if rowwise else PROBED_EPISODES)
        self.policy, self.copies, self.state = policy, False, first.state[: self.count]
        rows = [(torch.arange(self.count) + shift) % count for shift in range(PROBED_STEPS + 1)]
        seen = [first.observation.at(row) for row in rows]
        self.seen, self.moved = seen[:-1], seen[1:]
        if all(torch.equal(a.vector, b.vector) for a, b in zip(self.seen, self.moved, strict=True)):
            self.moved = [_shaken(observation) for observation in self.moved]

    def flown(
        self, seen: Sequence[Observation] | None = None, *, seed: int = 0, copied: bool = False
    ) -> Float[Tensor, "t b m"]:
        """Actions for a sequence of observations, after a reset."""
        policy = copy_of(self.policy) if self.copies or copied else self.policy
        given = self.seen if seen is None else seen
        random.seed(seed)
        np.random.seed(seed)
        cast("Any", torch).manual_seed(seed)
        policy.reset(0)
        state = self.state[: len(given[0].state)]
        return torch.stack([policy.act(one.map(torch.clone), state.clone()).clone() for one in given])

    def check_crossing(self, base: Tensor) -> None:
        """Change the observations of the first or the last episode, and compare the actions of the others."""
        for changed in {0, self.count - 1} if self.count > 1 else ():
            found = self.flown(_with_row(self.seen, self.moved, changed))
            others = [row for row in range(self.count) if row != changed]
            if not _same(found[:, others], base[:, others]):
                raise RecipeError(
                    f"the episodes share one memory in the policy: when only the observations of another episode "
                    f"changed, the actions of an episode changed by up to {_gap(found[:, others], base[:, others])} "
                    f"(probed before the rollout, with {self.count} episodes). Run together, they would get each "
                    f"other's actions. {WAY_OUT}."
                )

    def check_company(self, base: Tensor) -> None:
        """Compare the actions of each episode alone with those in company."""
        for row in range(self.count) if self.count > 1 else ():
            found = self.flown([observation.at(slice(row, row + 1)) for observation in self.seen])
            if not _same(found, base[:, row : row + 1]):
                raise RecipeError(
                    f"the episodes share one memory in the policy: an episode that is run alone gets actions that "
                    f"differ by up to {_gap(found, base[:, row : row + 1])} from those that it gets beside another one "
                    f"(probed before the rollout). {WAY_OUT}."
                )


def copy_of(policy: Any) -> Any:
    """A copy with its own memory, or the policy itself if it cannot be copied."""
    try:
        return copy.deepcopy(policy)
    except Exception:  # a policy of another library may hold anything, such as an open file
        return policy


def _same(one: Tensor, other: Tensor) -> bool:
    size = max(float(values.nan_to_num(0.0, 0.0, 0.0).abs().max()) for values in (one, other))
    return torch.allclose(one, other, rtol=0.0, atol=_TOLERANCE * size, equal_nan=True)


def _gap(one: Tensor, other: Tensor) -> str:
    return f"{float((one - other).abs().nan_to_num(math.inf).max()):.3g}"


def _with_row(seen: Sequence[Observation], moved: Sequence[Observation], row: int) -> list[Observation]:
    """The observations with those of one episode exchanged."""

    def exchanged(mine: Tensor, other: Tensor) -> Tensor:
        mine = mine.clone()
        mine[row] = other[row]
        return mine

    found = list[Observation]()
    for one, other in zip(seen, moved, strict=True):
        images = {name: exchanged(image, other.images[name]) for name, image in one.images.items()}
        vector = one.with_vector(exchanged(one.vector, other.vector))
        found.append(Observation(state=vector.state, environment_state=vector.environment_state, images=images,
                                 task=one.task))  # fmt: skip
    return found


def _shaken(seen: Observation) -> Observation:
    """Other observations, for episodes that all begin with the same one."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.rand(seen.vector.shape, generator=rng).to(seen.vector) - 0.5
    return seen.with_vector(seen.vector + noise * (0.1 * seen.vector.abs() + 0.01))


@contextmanager
def _fixed_random() -> Generator[None]:
    """Leave the global generators as they were."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def _draws(own: Sequence[Any]) -> bool:
    """Whether a generator of random numbers is within reach of some objects."""
    kinds = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
    known, waiting = set[int](), list(own)
    while waiting and len(known) < _MOST_OBJECTS:
        one = waiting.pop()
        if isinstance(one, kinds):
            return True
        if id(one) in known or isinstance(one, (str, bytes, int, float, Tensor, np.ndarray, type, ModuleType)):
            continue
        known.add(id(one))
        waiting += _parts(one)
    return False


def _parts(one: Any) -> list[Any]:
    """What an object holds; of a function, what it closes over and the globals that it names."""
    match one:
        case MethodType():
            return [one.__self__, one.__func__]
        case FunctionType():
            cells = [cell.cell_contents for cell in one.__closure__ or () if _filled(cell)]
            named = [one.__globals__[name] for name in one.__code__.co_names if name in one.__globals__]
            return [*cells, *(one.__defaults__ or ()), *named]
        case dict():
            return list(cast("dict[Any, Any]", one).values())
        case list() | tuple() | set() | frozenset():
            return list(cast("Iterable[Any]", one))
        case _:
            held: dict[str, Any] = getattr(one, "__dict__", {})
            return list(held.values())


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is assigned later
        return False
