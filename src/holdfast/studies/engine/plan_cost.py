"""Cost of a plan: network calls and time."""

import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ...nn import CausalTransformer, ChunkNetwork
from ...policy import Planner
from ...seeding import stream
from ...types import Observation


@dataclass(frozen=True)
class PlanCost:
    """Parameters of a model, network calls per plan (a batch counts once), and median time per plan [ms]."""

    parameters: int
    network_calls: int
    plan_ms: float


def plan_cost(planner: Planner, *, repeats: int = 11) -> PlanCost:
    """Measure plans for an observation in the middle of the training data's range."""
    spec, rng = planner.spec, stream(0, "plan cost")
    window = Observation(state=torch.zeros(1, spec.n_obs_steps, spec.n_observed))
    with _counted(planner.model) as calls:
        planner.plan_normalized(window, rng=rng)
    seconds = list[float]()
    for _ in range(repeats):
        started = time.perf_counter()
        planner.plan_normalized(window, rng=rng)
        seconds.append(time.perf_counter() - started)
    parameters = sum(parameter.numel() for parameter in planner.model.parameters())
    return PlanCost(parameters, len(calls), 1000 * statistics.median(seconds))


@contextmanager
def _counted(model: nn.Module) -> Generator[list[None], None, None]:
    """A list that gains one entry per network call while the context is open."""
    calls = list[None]()
    # a decoding causal transformer is not called as a module, but its layers are, once per token
    networks = [module for module in model.modules() if isinstance(module, (ChunkNetwork, CausalTransformer))]
    seen = [net.blocks[0] if isinstance(net, CausalTransformer) else net for net in networks]

    def count(module: nn.Module, inputs: object, output: object) -> None:
        calls.append(None)

    hooks = [module.register_forward_hook(count) for module in seen]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
