"""Changes of the pictures at deployment, by which the robustness of a policy is measured.

none          the pictures of the simulator
brightness    every byte times 0.7
shift         all pixels 3 to the right and 3 down, for a camera that was moved; edges repeat
occlusion     a grey square of a quarter of each side in the upper left quarter, where something hangs into view
blur          mean over 3 × 3 pixels, for a camera out of focus
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from ...envs import Environment, Step, Wrapped

Images = UInt8[Tensor, "b height width channels"]

DARKER, MOVED, GREY = 0.7, 3, 128


def darker(pictures: Images) -> Images:
    """Pictures times 0.7."""
    return (pictures.float() * DARKER).round().to(torch.uint8)


def moved(pictures: Images) -> Images:
    """Pictures of which every pixel is 3 rows and columns further; the first row and column are repeated.

    >>> moved(torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5, 1))[0, 4, :, 0].tolist()
    [5, 5, 5, 5, 6]
    """
    rows, columns = ((torch.arange(side) - MOVED).clamp(min=0) for side in pictures.shape[1:3])
    return pictures[:, rows][:, :, columns]


def occluded(pictures: Images) -> Images:
    """Pictures with a grey square in the middle of their upper left quarter."""
    height, width = pictures.shape[1:3]
    covered = pictures.clone()
    covered[:, height // 8 : height // 8 + height // 4, width // 8 : width // 8 + width // 4] = GREY
    return covered


def blurred(pictures: Images) -> Images:
    """Mean over 3 × 3 pixels; edges repeat."""
    padded = functional.pad(pictures.permute(0, 3, 1, 2).float(), (1, 1, 1, 1), mode="replicate")
    mean = functional.avg_pool2d(padded, 3, stride=1)
    return mean.permute(0, 2, 3, 1).round().to(torch.uint8)


CHANGES: Mapping[str, Callable[[Images], Images]] = {
    "none": lambda pictures: pictures,
    "brightness": darker,
    "shift": moved,
    "occlusion": occluded,
    "blur": blurred,
}
"""Changes by name."""


class Changed(Wrapped):
    """An environment whose pictures are changed.

    Args:
        inner: Environment that shows pictures.
        change: Name of the change.
    """

    def __init__(self, inner: Environment, change: str) -> None:
        super().__init__(inner)
        self._change = CHANGES[change]

    def shown(self, step: Step) -> Step:
        """A step with changed pictures; `render` shows them as the simulator does."""
        images = {camera: self._change(pictures) for camera, pictures in step.observation.images.items()}
        return replace(step, observation=replace(step.observation, images=images))
