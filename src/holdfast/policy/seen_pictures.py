"""Pictures in what a robot's program has at hand, or a sentence why they are not those that a policy was trained on.

    {"observation.images.top": uint8 [height, width, channels] or [b, height, width, channels]}

Numbers tell little about a picture, so nothing is guessed: bytes, channels last, and the size of training are expected.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..data.resizing import resized
from ..errors import DataError, InterfaceError, ShapeError
from ..nn import View, Vision
from ..types import Observation
from .measured_pictures import measured_picture
from .real_numbers import as_numbers, check_plain, check_unmasked

PREFIX = "observation.images."


def pictures_in(value: Any, vision: Vision | None, *, episodes: Sequence[int] | None = None) -> dict[str, Tensor]:
    """A copy of the pictures `[height, width, channels]` or `[b, …]` that a policy sees, by camera.

    Measurements, such as those of a depth camera, become bytes with the range of the training. In an `Observation`,
    which holds bytes, they may be bytes already.

    Args:
        value: An `Observation`, or a mapping with keys `observation.images.<camera>` or `<camera>`.
        vision: What the policy sees of its cameras; `None` sees nothing.
        episodes: Number of episodes `(b,)`, or `()` without a first axis. Default: as of the first camera.

    Raises:
        InterfaceError: A camera is missing.
        ShapeError: Pictures of another size, order or number than in training.
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
    found = dict[str, Tensor]()
    for view in vision.views:
        given = _given(named, view, vision)
        if view.depth is not None and not (isinstance(value, Observation) and _is_bytes(given)):
            found[view.camera] = measured_picture(given, view)
        else:
            found[view.camera] = _picture(given, view)
        episodes = found[view.camera].shape[:-3] if episodes is None else episodes
        _check_number(found[view.camera], episodes, view)
    return found


def check_pictures(observation: Observation, vision: Vision | None) -> None:
    """Refuse a batch of observations without the pictures that a policy sees.

    Raises:
        InterfaceError: A camera is missing.
        ShapeError: Pictures of another size, order or number than in training.
        DataError: Pictures of other numbers than bytes.
    """
    for view in vision.views if vision else ():
        picture = _given(observation.images, view, vision)
        if not isinstance(picture, Tensor):
            raise DataError(_expected(view) + f", got {_kind_of(picture)}. Give a torch.Tensor in an Observation.")
        _check(picture, view)
        _check_number(picture, observation.state.shape[:-1], view)


def _check_number(picture: Tensor, episodes: Sequence[int], view: View) -> None:
    """Refuse another number of pictures than of observations."""
    pictures, shape = picture.shape[:-3], [*episodes, *view.shape]
    if tuple(pictures) == tuple(episodes):
        return
    raise ShapeError(
        f"expected {_count(episodes, 'picture')} of camera {view.camera!r} for {_count(episodes, 'observation')}, as "
        f"an array of shape {shape}, got {_count(pictures, 'picture')}, of shape {list(picture.shape)}."
    )


def _count(batch: Sequence[int], what: str) -> str:
    """A number of pictures or observations: without an axis, or as a batch."""
    return f"a batch of {batch[0]} {what}{'s' * (batch[0] != 1)}" if batch else f"one {what}"


def resized_pictures(observation: Observation, vision: Vision) -> dict[str, Tensor]:
    """The pictures that a policy sees, in the size in which they are encoded."""
    return {
        view.camera: resized(observation.images[view.camera], view.size, nearest=view.depth is not None)
        for view in vision.views
    }


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
        check_plain(given, f"the picture of camera {view.camera!r}")
        _check(given, view)
        return given.detach().clone()
    check_unmasked(given, f"the picture of camera {view.camera!r}")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{_expected(view)}, got {_kind_of(given)} that is no array ({error}).") from error
    _check(array, view)
    # a copy in order: PyTorch reads no reversed axes, which picture[..., ::-1] has
    return torch.from_numpy(np.array(array, order="C"))  # pyright: ignore[reportUnknownMemberType]


def _check(picture: Tensor | NDArray[Any], view: View) -> None:
    """Refuse other sizes, orders of axes and numbers than those of training."""
    expected, found = list(view.shape), list(picture.shape)
    kind = str(picture.dtype).removeprefix("torch.")
    if not kind.startswith(("uint", "int", "float", "bfloat", "bool", ">", "<")) or kind.startswith("<U"):
        raise DataError(f"{_expected(view)}, got an array of {kind}.")
    if len(found) not in (3, 4) or found[-3:] != expected:
        turned = [expected[2], expected[0], expected[1]]
        way_out = "Resize it as the training data were; no size is guessed."
        if found[-3:] == turned:
            way_out = "Its channels come first: put them last, with permute(1, 2, 0) or np.moveaxis(picture, 0, -1)."
        elif found == expected[:2]:
            way_out = "Its channels are missing."
        raise ShapeError(
            f"expected a picture of camera {view.camera!r} of shape {expected} (height, width, channels) or a batch of "
            f"them, as in training, got {found}. {way_out}"
        )
    if kind != "uint8":
        raise DataError(_other_numbers(picture, view, kind))


def _is_bytes(given: Any) -> bool:
    return isinstance(given, Tensor) and given.dtype == torch.uint8


def _other_numbers(picture: Tensor | NDArray[Any], view: View, kind: str) -> str:
    if view.depth is not None:
        return (
            f"expected bytes of camera {view.camera!r} in an Observation, got {kind}. Convert measurements with "
            f"holdfast.data.Depth({view.depth[0]:g}, {view.depth[1]:g}).bytes_of(...), or give select_action a mapping."
        )
    numbers = as_numbers(picture, "pictures")
    low, high = (float(bound) for bound in numbers.aminmax()) if numbers.numel() else (0.0, 0.0)
    if "float" in kind and high <= 1:
        return (
            f"{_expected(view)}, got {kind} numbers from {low:.3g} to {high:.3g}. If they are fractions from 0 to 1, "
            "multiply them by 255, round, and convert them to uint8."
        )
    way_out = "Convert them to uint8." if low >= 0 and 1 < high <= 255 else "Scale them to bytes, as in training."
    return f"{_expected(view)}, got {kind} numbers from {low:.5g} to {high:.5g}. {way_out}"


def _expected(view: View) -> str:
    return f"expected a picture of camera {view.camera!r} of bytes (uint8, 0 to 255), as in training"


def _kind_of(given: Any) -> str:
    return f"a value of type {type(given).__name__}"


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(f"{name!s:.80}" for name in names)
