"""Features of frozen encoders: computed once for each picture, and kept on disk.

Features are kept under the digest of everything that they depend on: the pictures, resize and crop, the encoder's
options, the digest of its weights, and PyTorch's version. They are those of the centres of the pictures, as at
deployment: random crops would change them.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..cache import VARIABLE, cache_folder, keep
from ..data.unpacked import checksum_of
from ..errors import CacheWarning, DataError, RecipeError
from ..nn import Cameras, FromFile, Vision
from ..nn.vision.cameras import centre_features
from ..schema import to_plain
from ..sealed import digest_of, read_sealed, sealed
from ..types import Pictures
from .pictures import OnPictures

MOST_BYTES = 8 * 2**30
"""Limit of all kept files together."""
BATCH = 32
"""Pictures that are encoded together."""


@dataclass(frozen=True)
class Features:
    """Features of all pictures of a training set.

    Attributes:
        content: Features of each row, one camera after another.
        digest: Digest of what they depend on.
    """

    content: Float[Tensor, "rows f"]
    digest: str


def check_encoders(vision: Vision | None, encoders: Cameras | None) -> None:
    """Refuse to train a pre-trained encoder without its weights.

    Raises:
        RecipeError: The weights are missing, or are others than those of the recipe.
    """
    if vision is None or not isinstance(vision.encoder, FromFile):
        return
    kind = type(vision.encoder).__name__
    if encoders is None:
        raise RecipeError(
            f"{kind} needs the weights of a file. Give --encoder-weights FILE, in Python "
            "prepare(…, encoders=encoders_with(vision, weights))."
        )
    if encoders.vision != vision:
        raise RecipeError(
            f"the recipe expects {kind} with the weights {vision.encoder.weights or 'of no file'}, but encoders of "
            "another recipe or other weights were given. Give the file that the recipe was made with."
        )


def features_of(
    encoders: Cameras, ready: Mapping[str, Pictures], *, device: torch.device | str, on_pictures: OnPictures
) -> Features:
    """Features of pictures that are resized already, read from disk where they were computed before."""
    parts, digests = list[Tensor](), list[str]()
    for index, view in enumerate(encoders.vision.views):
        pictures = ready[view.camera]
        key = _key(encoders.vision, index, pictures)
        found = _read(key, (len(pictures), encoders.vision.encoder.n_features))
        if found is None:
            found = _computed(encoders.to(device), index, pictures, on_pictures)
            _keep(key, found)
        parts.append(found)
        digests.append(digest_of(key))
    return Features(torch.cat(parts, dim=-1).to(device), digest_of(digests)[:16])


@torch.no_grad()
def _computed(encoders: Cameras, index: int, pictures: Pictures, on_pictures: OnPictures) -> Tensor:
    view = encoders.vision.views[index]
    device = next(encoders.buffers()).device
    found = list[Tensor]()
    for start in range(0, len(pictures), BATCH):
        rows = torch.arange(start, min(start + BATCH, len(pictures)))
        shown = pictures.read(rows)[:, None].to(device)
        found.append(centre_features(encoders, index, shown)[:, 0].cpu())
        on_pictures(f"{view.camera}, features", int(rows[-1]) + 1, len(pictures))
    return torch.cat(found)


def _key(vision: Vision, index: int, pictures: Pictures) -> dict[str, Any]:
    """All that the features depend on, as JSON values."""
    view = vision.views[index]
    return {
        "kind": "features of pictures, version 1",
        "pictures": [checksum_of(pictures), len(pictures)],
        "size": [*view.size, *view.encoded, view.channels],
        "encoder": to_plain(vision.encoder),
        "torch": torch.__version__,
    }


def _file(key: Mapping[str, Any]) -> Path | None:
    folder = cache_folder("features")
    return None if folder is None else folder / f"{digest_of(key)}.safetensors"


def _read(key: Mapping[str, Any], shape: tuple[int, int]) -> Tensor | None:
    """The kept features; `None`, and a line where there is a reason, if there are none."""
    file = _file(key)
    if file is None or not os.path.lexists(file):
        return None
    try:
        stored = read_sealed(file)
        if stored.about != key or stored.digest is None:
            raise DataError("it describes other features")
        stored.check()
        found = stored.tensors["features"]
        # whoever can write to the folder can also write a right checksum
        if tuple(found.shape) != shape or found.dtype != torch.float32 or not bool(found.isfinite().all()):
            raise DataError("its numbers are of another shape or type, or not finite")
        os.utime(file)
        return found
    except (DataError, OSError, LookupError) as error:
        message = f"kept features of pictures are damaged and are computed again: {file}: {error}"
        warnings.warn(message, CacheWarning, stacklevel=2)
        return None


def _keep(key: Mapping[str, Any], features: Tensor) -> None:
    file = _file(key)
    if file is None or features.numel() * features.element_size() > MOST_BYTES:
        return
    try:
        keep(file, sealed({"features": features}, key), most=MOST_BYTES)
    except OSError as error:
        warnings.warn(
            f"the features of the pictures could not be kept in {file.parent} ({error.strerror or error}), and will be "
            f"computed again next time. Set the variable {VARIABLE} to another folder, or to off.",
            CacheWarning,
            stacklevel=2,
        )
