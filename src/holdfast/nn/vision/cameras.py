"""Pictures of all cameras of an observation window as features.

A crop moves what it shows. Positions among the features are therefore stated in the frame of the whole picture, from
−1 to 1, so that the random crops of training leave them where they are.
"""

from collections.abc import Mapping
from itertools import chain
from typing import cast

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ...errors import ShapeError
from .encoder import PictureEncoder, Pixels
from .vision import View, Vision

Images = UInt8[Tensor, "b o height width channels"]
Places = Float[Tensor, "b views 2"]
"""Places of the crops from 0 (first row or column) to 1."""


class Cameras(nn.Module):
    """Pictures of cameras → features `[b, o, n_features]`."""

    def __init__(self, vision: Vision) -> None:
        super().__init__()
        self.vision = vision
        views = vision.views[:1] if vision.shared else vision.views
        self.encoders = nn.ModuleList(vision.encoder.build(view.channels, view.encoded) for view in views)

    def forward(self, images: Mapping[str, Tensor], places: Places | None = None) -> Float[Tensor, "b o n_features"]:
        """Features of windows of pictures.

        Args:
            images: Pictures by camera, resized as the views say.
            places: Place of each window's crops. Default: the centre.

        Raises:
            ShapeError: A camera is missing, or has pictures of another size.
        """
        found = list[Tensor]()
        for index, view in enumerate(self.vision.views):
            encoder = cast(PictureEncoder, self.encoders[0 if self.vision.shared else index])
            pictures = _pictures(images, view)
            place = None if places is None else places[:, index]
            found.append(_features(encoder, view, pictures, place))
        return torch.cat(found, dim=-1)


def blank_cameras(vision: Vision) -> Cameras:
    """Encoders whose weights hold anything, for weights that replace all of them; no global generator is changed."""
    before = torch.get_rng_state()
    try:
        return Cameras(vision)
    finally:
        torch.set_rng_state(before)


def centre_features(cameras: Cameras, index: int, pictures: Images) -> Float[Tensor, "b o f"]:
    """Features of the centres of windows of pictures of the camera with an index."""
    vision = cameras.vision
    encoder = cast(PictureEncoder, cameras.encoders[0 if vision.shared else index])
    return _features(encoder, vision.views[index], pictures, None)


def _pictures(images: Mapping[str, Tensor], view: View) -> Images:
    found, expected = images.get(view.camera), (*view.size, view.channels)
    if found is None:
        raise ShapeError(f"expected pictures of camera {view.camera!r}, got {', '.join(images) or 'none'}.")
    if tuple(found.shape[-3:]) != expected or found.dtype != torch.uint8:
        raise ShapeError(
            f"expected pictures {list(expected)} of bytes of camera {view.camera!r}, got {list(found.shape[-3:])} of "
            f"{found.dtype}."
        )
    return found


def _features(encoder: PictureEncoder, view: View, pictures: Images, place: Float[Tensor, "b 2"] | None) -> Tensor:
    steps = pictures.shape[1]
    pixels, corners = cropped_pixels(view, pictures, place, dtype=_dtype(encoder))
    features = features_in_whole(encoder, view, pixels, corners)
    return features.view(-1, steps, features.shape[-1])


def cropped_pixels(
    view: View, pictures: Images, place: Float[Tensor, "b 2"] | None, *, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, "n channels crop_height crop_width"], Int[Tensor, "corners 2"]]:
    """Crops of the pictures of windows in [-1, 1], one picture after another, and the first row and column of each.

    Centres have one corner for all.

    Args:
        view: Sizes of pictures and crops.
        pictures: Pictures, resized as the view says.
        place: Place of each window's crops. Default: the centre.
        dtype: Type of the numbers.
    """
    if place is None:
        corners, crops = _centre_corner(view, pictures), _centre(pictures, view)
    else:
        corners = _corners(view, pictures, place)
        crops, corners = _cropped(pictures, corners, view.encoded), corners.repeat_interleave(pictures.shape[1], dim=0)
    # from bytes to [-1, 1]; channels stay last in memory, which is the fastest order for convolutions
    return crops.flatten(0, 1).to(dtype) / 127.5 - 1, corners


def features_in_whole(
    encoder: PictureEncoder, view: View, pixels: Pixels, corners: Int[Tensor, "corners 2"]
) -> Float[Tensor, "n n_features"]:
    """Features of crops, with positions in the frame of the whole picture."""
    features = cast(Tensor, encoder(pixels))
    return _in_whole(features, encoder.n_points, view, corners) if encoder.n_points else features


def _dtype(encoder: PictureEncoder) -> torch.dtype:
    # a frozen encoder has buffers only
    return next(chain(encoder.parameters(), encoder.buffers())).dtype


def _spare(view: View, like: Tensor) -> Int[Tensor, " 2"]:
    """Rows and columns that a crop leaves out."""
    spare = [whole - part for whole, part in zip(view.size, view.encoded, strict=True)]
    return torch.tensor(spare, device=like.device)


def _corners(view: View, pictures: Images, place: Float[Tensor, "b 2"]) -> Int[Tensor, "b 2"]:
    """First row and column of each window's crop."""
    spare = _spare(view, pictures)
    return (place.to(pictures.device) * (spare + 1)).long().clamp(max=spare)


def _centre_corner(view: View, pictures: Images) -> Int[Tensor, "1 2"]:
    """First row and column of the centre, which is that of all windows."""
    return (_spare(view, pictures) // 2)[None]


def _cropped(
    pictures: Images, corners: Int[Tensor, "b 2"], size: tuple[int, int]
) -> UInt8[Tensor, "b o channels crop_height crop_width"]:
    # views of all crops, of which one of each window is copied, with its channels last in memory
    crops = pictures.unfold(2, size[0], 1).unfold(3, size[1], 1)
    index = torch.arange(len(pictures), device=corners.device)
    return crops[index, :, corners[:, 0], corners[:, 1]]


def _centre(pictures: Images, view: View) -> UInt8[Tensor, "b o channels crop_height crop_width"]:
    """The centres of all pictures, by slices, which a graph can hold for any number of windows."""
    (height, width), (rows, columns) = view.encoded, view.size
    top, left = (rows - height) // 2, (columns - width) // 2
    return pictures[:, :, top : top + height, left : left + width].movedim(-1, 2)


def _in_whole(features: Tensor, points: int, view: View, corners: Int[Tensor, "n 2"]) -> Tensor:
    """Features whose positions are those in the whole picture."""
    placed = list[Tensor]()
    for part, axis in enumerate((1, 0)):
        inside, whole = view.encoded[axis] - 1, max(view.size[axis] - 1, 1)
        within = features[:, part * points : (part + 1) * points]
        pixels = (within + 1) * (inside / 2) + corners[:, axis, None]
        placed.append(pixels * (2 / whole) - 1)
    return torch.cat([*placed, features[:, 2 * points :]], dim=-1)
