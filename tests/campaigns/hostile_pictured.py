"""Run folders made by hand to do harm through what a policy sees, what corrects it, and what it estimates."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .hostile_runs import BIG, DEEP, INF, NAN
from .run_builders import content, fill, first, folder_in_place, link, pipe, policy, seal, stored

CORRECTION = "residual.safetensors"


def changed(place: str, value: Any) -> Callable[[Path], None]:
    """Set a field of the recipe beside the policy, at a dotted place."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "recipe.json").read_text())
        *outer, last = place.split(".")
        part = plain
        for key in outer:
            part = part[key]
        part[last] = value
        (folder / "recipe.json").write_text(json.dumps(plain))

    return build


def view(**fields: Any) -> Callable[[Path], None]:
    """Set fields of the first view."""

    def build(folder: Path) -> None:
        views = json.loads((folder / "recipe.json").read_text())["policy"]["vision"]["views"]
        policy("vision.views", [views[0] | fields, *views[1:]])(folder)

    return build


def views(count: int) -> Callable[[Path], None]:
    """The first view several times."""

    def build(folder: Path) -> None:
        found = json.loads((folder / "recipe.json").read_text())["policy"]["vision"]["views"]
        policy("vision.views", found[:1] * count)(folder)

    return build


def camera(**fields: Any) -> Callable[[Path], None]:
    """Set fields of the first camera of the interface."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "interface.json").read_text())
        plain["cameras"][0].update(fields)
        (folder / "interface.json").write_text(json.dumps(plain))
        seal(folder)

    return build


def cut(folder: Path) -> None:
    """A correction without its second half."""
    os.truncate(folder / CORRECTION, (folder / CORRECTION).stat().st_size // 2)


VISION: dict[str, Callable[[Path], None]] = {
    **{
        f"{name} of {value}"[:60]: view(**{name: value})
        for name, value in [
            ("resize", [BIG, BIG]),
            ("resize", [0, 0]),
            ("resize", [-24, 24]),
            ("resize", [24]),
            ("resize", [NAN, 24]),
            ("resize", "24"),
            ("resize", {}),
            ("crop", [BIG, BIG]),
            ("crop", [0, 20]),
            ("crop", [-5, 20]),
            ("crop", [25, 24]),
            ("crop", [20, 20, 20]),
            ("crop", [True, True]),
            ("crop", [1, 1]),
            ("height", BIG),
            ("height", 0),
            ("height", 10**90),
            ("width", -24),
            ("width", 24.0),
            ("channels", 0),
            ("channels", BIG),
            ("channels", 1),
            ("camera", 3),
            ("camera", None),
            ("depth", True),
        ]
    },
    **{
        f"{name} of {value}"[:60]: policy(f"vision.{name}", value)
        for name, value in [
            ("views", []),
            ("views", {}),
            ("views", "top"),
            ("views", [None]),
            ("encoder", None),
            ("encoder", "small"),
            ("encoder", {"kind": "os.system"}),
            ("encoder", {"kind": "SmallCnn", "channels": BIG, "strides": [1, 2]}),
            ("encoder", {"kind": "SmallCnn", "channels": 10**90, "strides": [1, 2]}),
            ("encoder", {"kind": "SmallCnn", "channels": 4, "strides": [1] * 100_000}),
            ("encoder", {"kind": "SmallCnn", "channels": 4, "strides": [BIG, BIG]}),
            ("encoder", {"kind": "SmallCnn", "channels": 4, "strides": [0, 2]}),
            ("encoder", {"kind": "SmallCnn", "channels": 4, "strides": []}),
            ("encoder", {"kind": "SmallCnn", "channels": 4, "strides": [1, 2], "weights": "/etc/passwd"}),
            ("shared", "yes"),
            ("readings", "everything"),
            ("readings", "none"),
            ("noises", 0),
            ("noises", -1),
            ("noises", 1.5),
            ("sigma_train", NAN),
            ("sigma_train", INF),
            ("sigma_train", -0.1),
        ]
    },
    "a camera twice": views(2),
    "a camera without end": views(10_000),
    "vision of nothing": policy("vision", {}),
    "vision of a text": policy("vision", "top"),
    "no vision": policy("vision", None),
    "deep vision": policy("vision", json.loads(DEEP[:900] + DEEP[-900:])),
    "noise on features of NaN": policy("execution.sigma_features", NAN),
    "noise on features below 0": policy("execution.sigma_features", -1.0),
    "camera of the interface without a shape": camera(shape=[]),
    "camera of the interface of words": camera(shape="24"),
    "camera of the interface of no size": camera(shape=[0, 24, 3]),
    "camera of the interface of NaN": camera(balance=NAN),
    "camera of the interface of a negative deviation": camera(balance_std=-1.0),
    "camera of the interface without a name": camera(name=None),
    "camera of the interface with more": camera(run="id"),
    "estimate of a number": changed("selection.estimate", 5),
    "estimate of numbers": changed("selection.estimate", [5]),
    "estimate of a text": changed("selection.estimate", "square_x"),
    "estimate of nothing": changed("selection.estimate", [None]),
}

NAMES: dict[str, Callable[[Path], None]] = {
    "escape codes": view(camera="\x1b[31mtop\x1b]0;x\x07"),
    "markup": view(camera="top[/red]"),
    "another folder": view(camera="../../top"),
    "a long name": view(camera="t" * 100_000),
    "no name": view(camera=""),
    "lines": view(camera="top\n\nholdfast: all is well"),
    "a long name in the interface": camera(name="t" * 100_000),
    "escape codes in the interface": camera(name="\x1b[31mtop"),
}

CORRECTIONS: dict[str, Callable[[Path], None]] = {
    **{
        f"{name} of {value}"[:60]: stored(CORRECTION, {name: value})
        for name, value in [
            ("version", 99),
            ("run", "another"),
            ("run", None),
            ("recipe", None),
            ("recipe", {"kind": "CorrectionRecipe", "widths": [2**20, 2**20]}),
            ("recipe", {"kind": "CorrectionRecipe", "widths": [8] * 100_000}),
            ("recipe", {"kind": "CorrectionRecipe", "widths": []}),
            ("recipe", {"kind": "CorrectionRecipe", "widths": [BIG]}),
            ("recipe", {"kind": "os.system"}),
            ("sizes", {"n_observed": BIG, "n_actions": 2, "horizon": 4}),
            ("sizes", {"n_observed": 2**20, "n_actions": 2**20, "horizon": 4}),
            ("sizes", {"n_observed": -1, "n_actions": 2, "horizon": 4}),
            ("sizes", "small"),
        ]
    },
    "NaN": stored(CORRECTION, {}, lambda tensors: fill(first(tensors), NAN)(tensors)),
    "infinite": stored(CORRECTION, {}, lambda tensors: fill(first(tensors), INF)(tensors)),
    "doubles": stored(CORRECTION, {}, lambda tensors: tensors.update({k: v.double() for k, v in tensors.items()})),
    "a tensor less": stored(CORRECTION, {}, lambda tensors: tensors.pop(first(tensors))),
    "a tensor more": stored(CORRECTION, {}, lambda tensors: tensors.update(extra=torch.zeros(3))),
    "a pipe": pipe(CORRECTION),
    "a folder": folder_in_place(CORRECTION),
    "a device": link(CORRECTION, "/dev/zero"),
    "nothing": content(CORRECTION, b""),
    "a header without end": content(CORRECTION, b"\xff" * 7 + b"\x0f{}"),
    "a half": cut,
}
