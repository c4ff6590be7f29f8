"""Graph and policy on the same observation windows and the same noise.

    largest |graph − policy| / largest magnitude of the coordinate in the training data      ≤ 1e-5

The policy plans as it always does, with a random generator; the numbers that it draws are noted and given to the graph.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..data import decode
from ..errors import ExportError
from ..policy import Smoothed
from .graph import Graph

BATCHES = (1, 3, 7)
"""Numbers of windows with which a graph is compared."""
TOLERANCE = 1e-5
"""Largest relative difference."""


def compare(graph: Graph, run: Callable[..., Sequence[Tensor]]) -> float:
    """The largest relative difference between a graph and its policy.

    Raises:
        ExportError: It is above the tolerance, or an output has another shape.
    """
    found = max(_difference(graph, run, batch, seed) for batch, seed in batches_of(graph))
    if not found <= TOLERANCE:
        raise ExportError(
            f"expected the graph to plan what the policy plans, within {TOLERANCE:g} of each coordinate's magnitude, "
            f"got a difference of {found:.2g}. Nothing was written. A policy that amplifies rounding this much answers "
            "to noise in its observations as well; fewer sampling steps, or smaller outputs, may help."
        )
    return found


def batches_of(graph: Graph) -> list[tuple[int, int]]:
    """Numbers of windows with which a graph is compared, and a seed for each; a guided plan has one number only."""
    return [(batch if graph.guidance is None else graph.guidance.batch, batch) for batch in BATCHES]


def _difference(graph: Graph, run: Callable[..., Sequence[Tensor]], batch: int, seed: int) -> float:
    inputs, controllers = graph.inputs_of(batch, seed=seed)
    outputs = run(*inputs)
    expected, sizes = graph.values(controllers), _magnitudes(graph, graph.plans)
    if [tuple(value.shape) for value in outputs] != [tuple(value.shape) for value in expected.values()]:
        raise ExportError(f"the graph's outputs have other shapes than the policy's for {batch} windows.")
    ratios = [
        ((value - policy).abs() / sizes[name]).max()
        for value, (name, policy) in zip(outputs, expected.items(), strict=True)
    ]
    # a maximum of Python's own would lose NaN
    return float(torch.stack(ratios).max())


def _magnitudes(graph: Graph, plans: Smoothed) -> dict[str, Tensor]:
    """Largest magnitude of each coordinate of the outputs in the training data; 1 where all of it is 0."""
    scale, spec = plans.planner.code_scale, plans.planner.spec
    largest = torch.maximum(scale.low.abs(), scale.high.abs())
    largest = torch.where(largest > 0, largest, 1.0).float()
    return graph.values(decode(spec.codec, largest, n_states=spec.n_states, n_actions=spec.n_actions))
