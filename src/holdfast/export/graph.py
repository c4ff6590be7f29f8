"""A plan as one module: observation window and noise → composite action.

    normalise → clip → deployment noise → sampling loop → denormalise → decode

It is the policy's own plan (`Smoothed.plan`), whose random numbers are its inputs. Loops are unrolled.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data import Actions, MeanShift
from ..errors import ExportError
from ..nn import portable
from ..policy import Policy, Smoothed
from ..seeding import Given, Noted, stream
from ..types import Observation, PrimitiveControllers
from .families import exportable, reason_against
from .noise import NoiseLayout

TRACED = 3
"""Windows of the plan that is traced; not 1, which PyTorch would take for a constant."""


@dataclass(frozen=True)
class Graph:
    """A plan that can be traced.

    Attributes:
        plans: The policy's planner, with the noise on its observations.
        noise: Noise inputs.
        outputs: Names of the outputs.
    """

    plans: Smoothed
    noise: NoiseLayout
    outputs: tuple[str, ...]

    @staticmethod
    def of(policy: Policy) -> "Graph":
        """The graph of a policy.

        Raises:
            ExportError: The policy cannot be exported.
        """
        _check(policy)
        plans = cast(Smoothed, policy.executor.plans)
        _, draws = noted_plan(plans, windows(plans, TRACED), seed=0)
        noised = plans.sigma > 0 and not isinstance(plans.law, MeanShift)
        names = ("action",) if isinstance(policy.spec.codec, Actions) else ("action", "state", "gain")
        return Graph(plans, NoiseLayout.of(draws, batch=TRACED, noised=noised), names)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return ("observation", *(one.name for one in self.noise.inputs))

    def traced(self) -> torch.export.ExportedProgram:
        """The program of `torch.export`, for any number of windows.

        Raises:
            ExportError: PyTorch cannot trace the plan.
        """
        planner = self.plans.planner
        plans = replace(self.plans, planner=replace(planner, model=portable(planner.model)))
        example = self.example()
        axis = {0: torch.export.Dim("batch", min=1)}
        shapes = (axis, tuple(axis for _ in example[1:])) if example[1:] else (axis,)
        try:
            with torch.no_grad():
                return torch.export.export(
                    _Plan(plans, self.noise).eval(), example, dynamic_shapes=shapes, strict=False
                )
        except Exception as error:
            raise ExportError(f"PyTorch {torch.__version__} cannot trace a plan of this policy: {error}") from error

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the traced plan."""
        window = windows(self.plans, TRACED)
        return window, *self.noise.pack(noted_plan(self.plans, window, seed=0)[1])

    def values(self, controllers: PrimitiveControllers) -> dict[str, Tensor]:
        """Outputs by name."""
        parts = (controllers.actions, controllers.states, controllers.gains)
        return dict(zip(self.outputs, parts, strict=False))


class _Plan(nn.Module):
    """The traced function."""

    def __init__(self, plans: Smoothed, noise: NoiseLayout) -> None:
        super().__init__()
        self.model = plans.planner.model
        self.plans, self.noise = plans, noise

    def forward(self, observation: Tensor, *noise: Tensor) -> tuple[Tensor, ...]:
        given = Given.of(self.noise.unpack(noise))
        found = self.plans.plan(Observation(state=observation), rng=given)
        if isinstance(self.plans.planner.spec.codec, Actions):
            return (found.actions,)
        return found.actions, found.states, found.gains


def noted_plan(plans: Smoothed, window: Float[Tensor, "b o d"], *, seed: int) -> tuple[PrimitiveControllers, Any]:
    """The policy's own plan of windows, and what it drew."""
    noted = Noted.of(stream(seed, "export", "noise"))
    return plans.plan(Observation(state=window), rng=noted), noted.draws


def windows(plans: Smoothed, count: int, *, seed: int = 0) -> Float[Tensor, "b o d"]:
    """Observation windows within the range of the training data, in single precision."""
    spec, rng = plans.planner.spec, stream(seed, "export", "windows")
    unit = 2 * torch.rand(count, spec.n_obs_steps, spec.n_observed, generator=rng, dtype=torch.float64) - 1
    return plans.planner.observation_scale.denormalize(unit).float()


def _check(policy: Policy) -> None:
    model = policy.planner.model
    spec = policy.spec
    if reason := reason_against(spec.model, tokenizer=model.tokenizer, spec=spec):
        raise ExportError(
            f"a policy of the family {type(spec.model).__name__} cannot be exported like this: {reason}. "
            f"Families that can be exported: {exportable()}."
        )
    if policy.realtime is not None:
        raise ExportError(
            "the policy is executed under a delay, but a graph is one plan without known first steps. Export the "
            "policy without realtime."
        )
    if any(value.device.type != "cpu" for value in model.parameters()):
        raise ExportError("the policy is not on the CPU. Load it with device='cpu'; the graph runs on any device.")
