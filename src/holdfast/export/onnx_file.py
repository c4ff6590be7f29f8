"""ONNX files: written from a traced program, checked, and run by onnxruntime."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ExportError, MissingExtraError
from .graph import Graph

OPSET = 18
"""Version of the operators that a file uses: the one that PyTorch's exporter is written for, read by onnxruntime from
version 1.14 on."""


def write_onnx(graph: Graph, program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program as an ONNX file.

    Raises:
        ExportError: PyTorch cannot translate it, or ONNX's checker refuses the result.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    checker: Any = _package("onnx")
    _package("onnxscript")
    untyped: Any = torch.onnx
    names = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
    try:
        with _quiet():
            translated = untyped.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)
        _strip(translated.model)
        translated.save(str(path))
        checker.checker.check_model(str(path), full_check=True)
    except Exception as error:
        raise ExportError(f"PyTorch {torch.__version__} cannot write this policy as ONNX: {error}") from error


def onnx_runner(path: Path) -> Any:
    """A function of input tensors, in order, that runs an ONNX file."""
    runtime: Any = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = (
        3  # its warnings tell of optimizations that it leaves out; the comparison says the rest
    )
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return [torch.as_tensor(value) for value in session.run(None, given)]

    return run


def versions() -> dict[str, str | int]:
    """Versions of the packages that a file was written and checked with."""
    named = {name: str(_package(name).__version__) for name in ("onnx", "onnxscript", "onnxruntime")}
    return {**named, "opset": OPSET}


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingExtraError(name, extra="export") from error


def _strip(model: Any) -> None:
    """Remove what describes the program that made the graph: its source code and where that lay."""
    model.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Context without the notes of PyTorch's exporter on its own progress."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
