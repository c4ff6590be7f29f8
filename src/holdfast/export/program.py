"""Programs of `torch.export` (`.pt2`), loaded by `torch.export.load`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .graph import Graph


def write_program(graph: Graph, program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program as a .pt2 file, without its example inputs, which would be pickled, and without source code."""
    untyped: Any = program
    untyped._example_inputs = None
    for node in untyped.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def program_runner(path: Path) -> Any:
    """A function of input tensors, in order, that runs a .pt2 file."""
    module = torch.export.load(path).module()

    def run(*inputs: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return list(module(*inputs))

    return run
