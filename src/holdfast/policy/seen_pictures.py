"""Pictures in what a robot's program has at hand, or a sentence why they are not those that a policy was trained on.

    {"observation.images.top": uint8 [height, width, channels] or [b, height, width, channels]}

Numbers tell little about a picture, so nothing is guessed: bytes, channels last, and the size of training are expected.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ..data.resizing import resized
from ..errors import DataError, InterfaceError, ShapeError
from ..nn import View, Vision
from ..types import Observation

PREFIX = "observation.images."


def pictures_in(value: Any, vision: Vision | None) -> dict[str, Tensor]:
    """A copy of the pictures `[height, width, channels]` or `[b, …]` that a policy sees, by camera.

    Args:
        value: An `Observation`, or a mapping with keys `observation.images.<camera>` or `<camera>`.
        vision: What the policy sees of its cameras; `None` sees nothing.

    Raises:
        InterfaceError: A camera is missing.
        ShapeError: Pictures of another size or order than in training.
        DataError: Pictures of other numbers than bytes.
    """
    if vision is None:
        return {}
    held: Any = value.images if isinstance(value, Observation) else value
    if not isinstance(held, Mapping):
        raise InterfaceError(
            f"the policy sees pictures of {_listed(vision.cameras)}, but was given {type(value).__name__}. Give a "
            f"mapping with {_listed(PREFIX + camera for camera in vision.cameras)}."
        )
    named = cast("Mapping[Any, Any]", held)
    return {view.camera: _picture(_given(named, view, vision), view) for view in vision.views}


def check_pictures(observation: Observation, vision: Vision | None) -> None:
    """Refuse a batch of observations without the pictures that a policy sees.

    Raises:
        InterfaceError: A camera is missing.
        ShapeError: Pictures of another size, order or number than in training.
        DataError: Pictures of other numbers than bytes.
    """
    for view in vision.views if vision else ():
        picture = _given(observation.images, view, vision)
        _check(picture, view)
        if picture.shape[:-3] != observation.state.shape[:-1]:
            raise ShapeError(
                f"expected a picture of camera {view.camera!r} for each of {list(observation.state.shape[:-1])} "
                f"observations, got {list(picture.shape[:-3])}."
            )


def resized_pictures(observation: Observation, vision: Vision) -> dict[str, Tensor]:
    """The pictures that a policy sees, in the size in which they are encoded."""
    return {view.camera: resized(observation.images[view.camera], view.size) for view in vision.views}


def _given(held: Mapping[Any, Any], view: View, vision: Vision | None) -> Any:
    for key in (PREFIX + view.camera, view.camera):
        if key in held:
            return held[key]
    cameras = vision.cameras if vision else ()
    raise InterfaceError(
        f"the observation has no picture of camera {view.camera!r}; it holds {_listed(held) or 'none'}. The policy was "
        f"trained on the cameras {_listed(cameras)}: give {PREFIX}{view.camera}."
    )


def _picture(given: Any, view: View) -> UInt8[Tensor, "*b height width channels"]:
    """A copy: a program may read its next picture into the same array."""
    if isinstance(given, Tensor):
        picture = given.detach().clone()
    else:
        array = np.asarray(given)
        if array.dtype.kind not in "uifb":
            raise DataError(f"expected a picture of camera {view.camera!r} as bytes, got an array of {array.dtype}.")
        picture = torch.tensor(array)
    _check(picture, view)
    return picture


def _check(picture: Tensor, view: View) -> None:
    """Refuse other sizes, orders of axes and numbers than those of training."""
    expected, found = list(view.shape), list(picture.shape)
    if picture.dim() not in (3, 4) or found[-3:] != expected:
        turned = [expected[2], expected[0], expected[1]]
        way_out = "Resize it as the training data were; no size is guessed."
        if found[-3:] == turned:
            way_out = "Its channels come first: put them last, with permute(1, 2, 0) or np.moveaxis(picture, 0, -1)."
        elif found[-2:] == expected[:2] and picture.dim() == 2:
            way_out = "Its channels are missing."
        raise ShapeError(
            f"expected a picture of camera {view.camera!r} of shape {expected} (height, width, channels) or a batch of "
            f"them, as in training, got {found}. {way_out}"
        )
    if picture.dtype != torch.uint8:
        raise DataError(_other_numbers(picture, view))


def _other_numbers(picture: Tensor, view: View) -> str:
    low, high = (float(bound) for bound in picture.aminmax()) if picture.numel() else (0.0, 0.0)
    begin = f"expected a picture of camera {view.camera!r} of bytes (uint8, 0 to 255), as in training, got"
    kind = str(picture.dtype).removeprefix("torch.")
    if picture.is_floating_point() and high <= 1:
        return (
            f"{begin} {kind} numbers from {low:.3g} to {high:.3g}. If they are fractions from 0 to 1, multiply them by "
            "255, round, and convert them to uint8."
        )
    return f"{begin} {kind} numbers from {low:.4g} to {high:.4g}. Convert them to uint8."


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(f"{name!s:.80}" for name in names)
