"""Changes to a run folder that somebody could make by hand, each a function of the folder.

Where numbers are changed, the folder is sealed again, so that no digest refuses what a check must.
"""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from holdfast.sealed import digest_of, header_of, sealed

WEIGHTS, TOKENIZER, STATE = "model.safetensors", "tokenizer.safetensors", "train_state/state.safetensors"


def seal(folder: Path, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write the weights with the digests of what the folder holds now."""
    import hashlib

    about = {
        "policy": digest_of(json.loads((folder / "recipe.json").read_text())["policy"]),
        "scale": digest_of(json.loads((folder / "scale.json").read_text())),
        "interface": digest_of(json.loads((folder / "interface.json").read_text())),
    }
    if (folder / TOKENIZER).is_file():
        about["tokenizer"] = hashlib.sha256((folder / TOKENIZER).read_bytes()).hexdigest()
    weights = load_file(folder / WEIGHTS) if tensors is None else tensors
    (folder / WEIGHTS).write_bytes(sealed(weights, about))


def policy(place: str, value: Any) -> Callable[[Path], None]:
    """Set a field of the policy, at a dotted place; `...` removes it."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "recipe.json").read_text())
        *outer, last = place.split(".")
        part = plain["policy"]
        for key in outer:
            part = part[key]
        if value is ...:
            del part[last]
        else:
            part[last] = value
        (folder / "recipe.json").write_text(json.dumps(plain))
        seal(folder)

    return build


def scale(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the scales."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "scale.json").read_text())
        change(plain)
        (folder / "scale.json").write_text(json.dumps(plain))
        seal(folder)

    return build


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Change the weights."""

    def build(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        changed = change(tensors)
        seal(folder, changed if isinstance(changed, dict) else tensors)

    return build


def stored(name: str, about: dict[str, Any], change: Callable[[dict[str, torch.Tensor]], Any] = len) -> Any:
    """Change header and tensors of the tokenizer or the training state."""

    def build(folder: Path) -> None:
        header, tensors = header_of(folder / name), load_file(folder / name)
        header.pop("digest")
        change(tensors)
        (folder / name).write_bytes(sealed(tensors, header | about))
        seal(folder)

    return build


def content(name: str, made: bytes | str) -> Callable[[Path], None]:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(made if isinstance(made, bytes) else made.encode()) and None


def pipe(name: str) -> Callable[[Path], None]:
    """Put a pipe, on which reading would wait forever, in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return build


def link(name: str, target: str) -> Callable[[Path], None]:
    """Put a link in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return build


def folder_in_place(name: str) -> Callable[[Path], None]:
    """Put a folder in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return build


def text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Change the text of a file."""
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


def without_digest(folder: Path) -> None:
    """Weights as older versions wrote them, in a run of this version."""
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS)


def sparse(folder: Path) -> None:
    """Weights of a terabyte that take no space on the disk."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**40)


def fill(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    """Set one number of a tensor."""
    return lambda tensors: tensors[name].view(-1)[:1].fill_(value) and None


def first(tensors: dict[str, torch.Tensor]) -> str:
    """The first of the names."""
    return sorted(tensors)[0]


class Bomb:
    """A pickle that would write a file."""

    def __reduce__(self):
        return os.system, ("touch /tmp/holdfast_was_run",)
