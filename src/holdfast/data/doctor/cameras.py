"""Cameras: whether their pictures exist and can be read."""

from collections.abc import Iterator

import torch

from ...errors import HoldfastError
from ...types import Episodes, Pictures
from .findings import DataFinding, error, note


def check_cameras(episodes: Episodes) -> Iterator[DataFinding]:
    """Read three pictures of each camera, and name cameras without their video files."""
    for camera, pictures in episodes.cameras.items():
        if (damage := _damage(pictures)) is not None:
            yield error(
                "cameras",
                f"Pictures of the camera {camera} cannot be read: {damage}",
                effect="Its pictures cannot be used for training, and the data set cannot be converted; the "
                "low-dimensional data are not affected.",
                remedy="Copy or record the data set again.",
                values={"camera": camera},
            )
    if missing := episodes.meta.get("cameras_missing"):
        yield note(
            "cameras",
            f"The video files of these cameras are missing: {', '.join(map(str, missing))}.",
            effect="The data set is read without them, and converted data sets lack them.",
            remedy="Download the folder videos too if you need the pictures.",
            values={"cameras": [str(camera) for camera in missing]},
        )


def _damage(pictures: Pictures) -> str | None:
    """The error when reading the first, middle and last picture, if there is one."""
    last = len(pictures) - 1
    try:
        if last >= 0:
            pictures.read(torch.tensor([0, last // 2, last]))
    except HoldfastError as problem:
        return str(problem)
