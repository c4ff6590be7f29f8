"""A folder with an exported policy: the graph and its manifest, both or neither."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..atomic import claimed, leaves, replacing
from ..errors import OutputError, UnknownNameError
from ..policy import Policy
from . import onnx_file, program
from .comparison import compare
from .graph import Graph
from .manifest import MANIFEST, manifest_of

Format = Literal["onnx", "torch"]
FORMATS: tuple[str, ...] = get_args(Format)


class _Kind(NamedTuple):
    file: str
    write: Callable[[Graph, torch.export.ExportedProgram, Path], None]
    runner: Callable[[Path], Callable[..., Sequence[Tensor]]]
    versions: Callable[[], dict[str, Any]]


_KINDS = {
    "onnx": _Kind("policy.onnx", onnx_file.write_onnx, onnx_file.onnx_runner, onnx_file.versions),
    "torch": _Kind("policy.pt2", program.write_program, program.program_runner, dict),
}


@dataclass(frozen=True)
class Exported:
    """An exported policy.

    Attributes:
        file: File of the graph.
        manifest: File of the manifest.
        inputs: Names of the inputs, in order.
        outputs: Names of the outputs.
        difference: Largest relative difference between graph and policy.
    """

    file: Path
    manifest: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float


def export_policy(
    policy: Policy,
    out: Path | str,
    *,
    format: Format = "onnx",
    batch: int = 1,
    run: Path | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a policy as a graph and a manifest, after comparing the graph with the policy.

    Args:
        policy: Policy on the CPU; its execution settings are in the manifest.
        out: Folder to write.
        format: "onnx", or "torch" for a program of `torch.export`.
        batch: Number of windows of a guided plan, which is fixed; other graphs take any number.
        run: Run folder that the policy was loaded from, whose digest the manifest then holds.
        overwrite: Replace the policy that was exported to the folder.

    Raises:
        ExportError: The policy cannot be exported, or the graph plans something else than the policy.
        OutputError: The folder exists and `overwrite` is not set, or it cannot be written.
        MissingExtraError: ONNX's packages are not installed.
    """
    if format not in _KINDS:
        raise UnknownNameError("format", format, _KINDS)
    folder = Path(out)
    # the weights' file holds the digests of the other files
    digest = None if run is None else _sha256(run / "model.safetensors")
    if folder.is_file():
        raise OutputError(f"{folder} is a file. Choose a folder for --out.")
    with claimed(folder, ours=is_export, purpose="exporting to"):
        if folder.is_dir() and any(leaves(folder)) and not overwrite:
            raise OutputError(f"{folder} exists already. Choose another --out, or give --overwrite to replace it.")
        with replacing(folder, ours=is_export, purpose="exporting to") as fresh:
            fresh.mkdir()
            written = _write(Graph.of(policy, batch=batch), policy, fresh, _KINDS[format], format, digest)
    return Exported(folder / written.file.name, folder / MANIFEST, written.inputs, written.outputs, written.difference)


def is_export(relative: str) -> bool:
    """Whether a path below a folder is one of the files of an exported policy."""
    return relative in {MANIFEST, *(f"{kind.file}{end}" for kind in _KINDS.values() for end in ("", ".data"))}


def _write(graph: Graph, policy: Policy, fresh: Path, kind: _Kind, format: str, digest: str | None) -> Exported:
    file = fresh / kind.file
    kind.write(graph, graph.traced(), file)
    difference = compare(graph, kind.runner(file))
    manifest = manifest_of(policy, graph, run=digest, difference=difference)
    manifest["versions"] |= kind.versions()
    # weights beyond the size of an ONNX file lie in a file of their own
    parts = {path.name: _sha256(path) for path in sorted(fresh.iterdir()) if path != file}
    about = {"name": kind.file, "format": format, "sha256": _sha256(file), "parts": parts}
    (fresh / MANIFEST).write_text(json.dumps({**manifest, "file": about}, indent=1, allow_nan=False) + "\n")
    return Exported(file, fresh / MANIFEST, graph.inputs, graph.outputs, difference)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
