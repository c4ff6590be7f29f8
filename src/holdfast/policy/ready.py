"""Which form of a policy's weights plans fastest on this machine, found by a few plans when the policy is loaded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..nn import can_be_packed, packed
from ..seeding import stream
from .planner import Planner, blank_window

FEWEST_WEIGHTS = 8_000_000
"""Number of weights below which nothing is measured: they stay in the caches of a processor, and loading is fast."""

WORTH = 1.1
"""Speed-up from which packed weights, which take memory of their own, are used."""

TOLERANCE = 1e-5
"""Largest difference between plans with packed and with other weights, relative to the largest number of a plan."""

LOOKS = 3
"""Largest number of plans of each form; one is enough where it is twice as fast."""


@dataclass(frozen=True)
class Readiness:
    """Form of the weights with which a policy plans.

    Attributes:
        form: "packed", or "as stored".
        reason: Why.

    >>> str(Readiness("packed", "a plan takes 20.0 ms, and 51.3 ms with the weights as stored"))
    'weights packed: a plan takes 20.0 ms, and 51.3 ms with the weights as stored'
    """

    form: Literal["packed", "as stored"]
    reason: str

    def __str__(self) -> str:
        return f"weights {self.form}: {self.reason}"


def readied(planner: Planner) -> tuple[Planner, Readiness]:
    """The planner with packed weights where they are measured to be faster, else as it is.

    Plans of one window are made alternately in both forms, from random streams of their own, so that no random number
    of the policy is used. The packed weights are copies; parameters and what is saved stay the same.
    """
    weights = sum(value.numel() for value in planner.model.parameters())
    if weights < FEWEST_WEIGHTS:
        return planner, Readiness("as stored", f"{weights:,} weights are too few for packing to matter")
    if not can_be_packed(planner.model):
        return planner, Readiness("as stored", "packing needs single precision on a CPU and PyTorch with oneDNN")
    other = replace(planner, model=packed(planner.model))
    return _faster(planner, other)


def _faster(planner: Planner, other: Planner) -> tuple[Planner, Readiness]:
    stored, ready = list[float](), list[float]()
    for _ in range(LOOKS):
        plain = _timed(lambda: _plan(planner), stored)
        fast = _timed(lambda: _plan(other), ready)
        if not torch.allclose(fast, plain, rtol=0, atol=TOLERANCE * float(plain.abs().max())):
            return planner, Readiness("as stored", f"packing changes plans by more than {TOLERANCE:g} here")
        if min(stored) > 2 * min(ready):
            break
    before, after = (f"{1e3 * min(seconds):.1f} ms" for seconds in (stored, ready))
    if min(stored) < WORTH * min(ready):
        return planner, Readiness("as stored", f"a plan takes {before}, and {after} with packed weights")
    return other, Readiness("packed", f"a plan takes {after}, and {before} with the weights as stored")


def _plan(planner: Planner) -> Tensor:
    """Codes that are planned for a window of zeros."""
    return planner.model.sample(planner.model_input(blank_window(planner.spec)), rng=stream(0, "warm up"))


def _timed(act: Callable[[], Tensor], seconds: list[float]) -> Tensor:
    started = time.perf_counter()
    found = act()
    seconds.append(time.perf_counter() - started)
    return found
