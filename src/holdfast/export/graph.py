"""A plan as one module: observation window and noise → composite action.

    normalise → clip → deployment noise → sampling loop → denormalise → decode
    pictures [b, o, height, width, channels] → crop → encoder → features + noise (beside the readings)

It is the policy's own plan (`Smoothed.plan`), whose random numbers are its inputs. Loops are unrolled.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..data import MeanShift, feeds_back
from ..errors import ExportError
from ..nn import portable
from ..policy import Policy, Smoothed
from ..policy.realtime import Guided
from ..seeding import Given, Noted, stream
from ..types import Observation, Prefix, PrimitiveControllers
from .families import exportable, reason_against
from .guidance import Guidance, guidable, traced_once
from .noise import FEATURE_NOISE, OBSERVATION_NOISE, NoiseLayout
from .windows import PREFIX, windows

TRACED = 3
"""Windows of the plan that is traced; not 1, which PyTorch would take for a constant."""


@dataclass(frozen=True)
class Graph:
    """A plan that can be traced.

    Attributes:
        plans: The policy's planner, with the noise on its observations.
        noise: Noise inputs.
        outputs: Names of the outputs.
        guidance: What the plan is guided by; `None` for a plan by itself.
    """

    plans: Smoothed
    noise: NoiseLayout
    outputs: tuple[str, ...]
    guidance: Guidance | None = None

    @staticmethod
    def of(policy: Policy, *, batch: int = 1) -> "Graph":
        """The graph of a policy.

        Args:
            policy: The policy; with `Guided` as its way under delay, the running plan is an input.
            batch: Number of windows of a guided plan, which is fixed.

        Raises:
            ExportError: The policy cannot be exported.
        """
        _check(policy)
        plans = cast(Smoothed, policy.executor.plans)
        _, draws = noted_plan(plans, windows(plans, TRACED), seed=0)
        names = ("action", "state", "gain") if feeds_back(policy.spec.codec) else ("action",)
        guidance = None if policy.realtime is None else Guidance.of(policy, names, batch)
        return Graph(plans, NoiseLayout.of(draws, batch=TRACED, named=_named(plans)), names, guidance)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras whose pictures the policy sees."""
        vision = self.plans.planner.spec.vision
        return () if vision is None else vision.cameras

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        held = () if self.guidance is None else self.guidance.inputs
        pictures = (f"{PREFIX}{camera}" for camera in self.cameras)
        return ("observation", *pictures, *held, *(one.name for one in self.noise.inputs))

    def traced(self) -> torch.export.ExportedProgram:
        """The program of `torch.export`, for any number of windows.

        Raises:
            ExportError: PyTorch cannot trace the plan.
        """
        planner = self.plans.planner
        plans = replace(self.plans, planner=replace(planner, model=portable(planner.model)))
        example = self.example()
        if self.guidance is not None:
            return traced_once(_Plan(plans, self).eval(), example)
        axis = {0: torch.export.Dim("batch", min=1)}
        shapes = (axis, tuple(axis for _ in example[1:])) if example[1:] else (axis,)
        try:
            with torch.no_grad():
                return torch.export.export(_Plan(plans, self).eval(), example, dynamic_shapes=shapes, strict=False)
        except Exception as error:
            raise ExportError(f"PyTorch {torch.__version__} cannot trace a plan of this policy: {error}") from error

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the traced plan."""
        return self.inputs_of(TRACED if self.guidance is None else self.guidance.batch, seed=0)[0]

    def inputs_of(self, batch: int, *, seed: int) -> tuple[tuple[Tensor, ...], PrimitiveControllers]:
        """Inputs of a number of windows, and what the policy itself plans from them."""
        window = windows(self.plans, batch, seed=seed)
        held = () if self.guidance is None else self.guidance.example(self.plans.planner, batch, seed=seed)
        prefix = None if self.guidance is None else self.guidance.prefix(self.plans.planner, held)
        controllers, draws = noted_plan(self.plans, window, seed=seed, prefix=prefix)
        pictures = (window.images[camera] for camera in self.cameras)
        return (window.state, *pictures, *held, *self.noise.pack(draws)), controllers

    def values(self, controllers: PrimitiveControllers) -> dict[str, Tensor]:
        """Outputs by name."""
        parts = (controllers.actions, controllers.states, controllers.gains)
        return dict(zip(self.outputs, parts, strict=False))


class _Plan(nn.Module):
    """The traced function."""

    def __init__(self, plans: Smoothed, graph: Graph) -> None:
        super().__init__()
        self.model = plans.planner.model
        self.plans, self.cameras, self.noise, self.guidance = plans, graph.cameras, graph.noise, graph.guidance

    def forward(self, observation: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        images, others = dict(zip(self.cameras, others, strict=False)), others[len(self.cameras) :]
        count = 0 if self.guidance is None else len(self.guidance.inputs)
        given = Given.of(self.noise.unpack(others[count:]))
        prefix = None if self.guidance is None else self.guidance.prefix(self.plans.planner, others[:count])
        found = self.plans.plan(Observation(state=observation, images=images), rng=given, prefix=prefix)
        if not feeds_back(self.plans.planner.spec.codec):
            return (found.actions,)
        return found.actions, found.states, found.gains


def noted_plan(
    plans: Smoothed, window: Observation, *, seed: int, prefix: Prefix | None = None
) -> tuple[PrimitiveControllers, Any]:
    """The policy's own plan of windows, and what it drew."""
    noted = Noted.of(stream(seed, "export", "noise"))
    return plans.plan(window, rng=noted, prefix=prefix), noted.draws


def _named(plans: Smoothed) -> tuple[str, ...]:
    """The noise inputs of the policy around the model, in the order in which a plan draws them."""
    readings = plans.sigma > 0 and not isinstance(plans.law, MeanShift)
    features = plans.planner.spec.vision is not None and plans.sigma_features > 0
    return (OBSERVATION_NOISE,) * readings + (FEATURE_NOISE,) * features


def _check(policy: Policy) -> None:
    model = policy.planner.model
    spec = policy.spec
    if reason := reason_against(spec.model, tokenizer=model.tokenizer, spec=spec):
        raise ExportError(
            f"a policy of the family {type(spec.model).__name__} cannot be exported like this: {reason}. "
            f"Families that can be exported: {exportable()}."
        )
    if spec.language is not None:
        raise ExportError(
            "the policy follows instructions, which are texts, but the inputs of a graph are arrays. Serve it with "
            "holdfast serve, or export a policy that was trained on one instruction (train --task TEXT)."
        )
    if spec.execution.filter is not None:
        raise ExportError(
            "the policy has a safety filter, which needs the state of every step, but a graph is one plan. Export the "
            "policy without a filter, and filter at the robot."
        )
    if policy.realtime is not None and not isinstance(policy.realtime.way, Guided):
        raise ExportError(
            f"the policy is executed under a delay in the way {type(policy.realtime.way).__name__}, but a graph is one "
            "plan by itself, or one that is guided by the running one. Export the policy without realtime"
            f"{', or with --realtime guided' if guidable(policy) else ''}."
        )
    if any(value.device.type != "cpu" for value in model.parameters()):
        raise ExportError("the policy is not on the CPU. Load it with device='cpu'; the graph runs on any device.")
