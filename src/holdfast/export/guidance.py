"""Guided real-time chunking in a graph: the running plan and its weights are inputs, the number of windows is fixed.

    held_action, held_state, held_gain   [b, h, …]   the running plan from now on, its last step repeated to the horizon
    guidance                             [b, h]      weight of each of its steps; 0 everywhere for a plan by itself

Policies that were trained with clean first steps take those of weight 1 as clean, and are guided by the others.

The gradient through the network (`models.prefix.guide`) is traced to plain operations first (`make_fx`); PyTorch's
exporter cannot trace it itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from ..data import encode
from ..errors import ExportError, at_least
from ..models import Forcing, Streaming
from ..policy import Planner, Policy
from ..policy.realtime import Guided, soft_mask
from ..seeding import stream
from ..types import Prefix, PrimitiveControllers

WEIGHTS = "guidance"


@dataclass(frozen=True)
class Guidance:
    """Inputs of a guided plan.

    Attributes:
        parts: Names of the parts of a controller: action, and with gains state and gain.
        batch: Number of windows.
        steps: Steps executed between plans.
        delay: Delay of the plans.
        jacobian: Whether guidance differentiates through the network.
        clean: Whether steps of weight 1 are given clean, as in training.
    """

    parts: tuple[str, ...]
    batch: int
    steps: int
    delay: int
    jacobian: bool
    clean: bool

    @staticmethod
    def of(policy: Policy, parts: tuple[str, ...], batch: int) -> "Guidance":
        """The inputs of a policy whose way is `Guided`.

        Raises:
            ExportError: A guided plan of its family cannot be exported.
        """
        at_least(1, batch=batch)
        check_guided(policy)
        assert policy.realtime is not None
        way = cast(Guided, policy.realtime.way)
        steps, delay = policy.spec.execution.n_action_steps, policy.realtime.delay.largest
        return Guidance(parts, batch, steps, delay, way.jacobian, policy.planner.generator.takes_clean_prefix)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return (*(f"held_{part}" for part in self.parts), WEIGHTS)

    def prefix(self, planner: Planner, held: Sequence[Tensor]) -> Prefix:
        """The prefix of the values of these inputs."""
        *parts, weights = held
        action = parts[0]
        if len(parts) == 3:
            running = PrimitiveControllers(actions=action, states=parts[1], gains=parts[2])
        else:
            running = PrimitiveControllers.open_loop(action, action.new_zeros(*action.shape[:2], planner.spec.n_states))
        codes = planner.code_scale.normalize(encode(planner.spec.codec, running))
        return Prefix(chunk=codes, weights=weights, jacobian=self.jacobian, asked=False)

    def example(self, planner: Planner, batch: int, *, seed: int) -> tuple[Tensor, ...]:
        """A running plan within the range of the training data, with the weights of the policy's delay."""
        horizon, rng = planner.spec.horizon, stream(seed, "export", "held")
        codes = 2 * torch.rand(batch, horizon, len(planner.code_scale.low), generator=rng, dtype=torch.float64) - 1
        running = planner.controllers(codes, like=codes)
        values = (running.actions, running.states, running.gains)[: len(self.parts)]
        weights = soft_mask(horizon, horizon - self.steps, self.delay).expand(batch, -1)
        return (*(value.float().contiguous() for value in values), weights.float().contiguous())


def guidable(policy: Policy) -> bool:
    """Whether a guided plan of the policy can be a graph."""
    return policy.planner.generator.can_be_guided and not isinstance(policy.spec.model, Streaming | Forcing)


def check_guided(policy: Policy) -> None:
    """Refuse a policy whose guided plan cannot be a graph.

    Raises:
        ExportError: Its family cannot be guided, or sets its guidance by where the known steps are.
    """
    if guidable(policy):
        return
    why = f"{type(policy.spec.model).__name__} cannot be guided"
    if isinstance(policy.spec.model, Streaming | Forcing):
        name = type(policy.spec.model).__name__
        why = f"the guidance of {name} depends on which steps are known, so that a graph cannot contain it"
    raise ExportError(
        f"{why}. Guided plans of diffusion, flow, shortcut and meanflow can be exported. Export a plan by itself "
        "(omit --realtime, --delay and --batch), if docs/export.md lists the family, or serve the policy: holdfast "
        "serve RUN."
    )


def traced_once(plan: nn.Module, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The program of a plan with gradients, for the number of windows of the example.

    Raises:
        ExportError: PyTorch cannot trace it.
    """
    try:
        # ONNX has no operations for the backward passes of activations: they are written in simpler ones
        table: Any = core_aten_decompositions()
        simpler = {key: value for key, value in table.items() if "backward" in str(key)}
        plain: Any = make_fx(plan, decomposition_table=simpler)(*example)
        with torch.no_grad():
            return torch.export.export(plain, example, strict=False)
    except Exception as error:
        raise ExportError(f"PyTorch {torch.__version__} cannot trace a guided plan of this policy: {error}") from error
