"""What a policy was trained on of a camera, compared with the first picture that it is given.

The order of colours cannot be seen in the shape of a picture. What can be compared is their balance b, the mean of the
first channel minus the mean of the last, which changes its sign when the order is reversed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..errors import RunError
from ..types import Pictures

SAMPLE = 64
"""Number of pictures of which the balance is taken."""
NEAR, FAR = 3.0, 6.0
"""Standard deviations within which a balance is usual, and beyond which it is not."""
LEAST = 0.05
"""Smallest standard deviation of the balance, in steps of a byte: pictures hardly differ in a simulator."""


@dataclass(frozen=True, kw_only=True)
class CameraInterface:
    """Pictures of a camera in the training data.

    Attributes:
        name: Name of the camera.
        shape: Height, width and channels.
        balance: Mean of the first channel minus mean of the last one, averaged over pictures.
        balance_std: Its standard deviation over pictures.

    Raises:
        RunError: No shape of a picture.
    """

    name: str
    shape: tuple[int, ...]
    balance: float = 0.0
    balance_std: float = 0.0

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1 or self.balance_std < 0:
            raise RunError(f"expected height, width and channels of camera {self.name!r:.80}, got {self.shape}")

    @staticmethod
    def of(name: str, pictures: Pictures, *, shape: tuple[int, int, int]) -> "CameraInterface":
        """The interface of a camera with recorded pictures of a shape, from evenly spaced ones in any size."""
        rows = torch.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures))).long()
        found = balance_of(pictures.read(rows))
        std = float(found.std(correction=0))
        return CameraInterface(name=name, shape=shape, balance=float(found.mean()), balance_std=std)

    def reversed(self, pictures: UInt8[Tensor, "b height width channels"]) -> bool:
        """Whether all pictures have an unusual balance that would be usual with their channels in reverse order."""
        if self.shape[-1] < 3 or pictures.shape[-1] < 3:
            return False
        found, std = balance_of(pictures), max(self.balance_std, LEAST)
        as_given, turned = (found - self.balance).abs() / std, (-found - self.balance).abs() / std
        return bool(((as_given > FAR) & (turned < NEAR)).all())


def balance_of(pictures: UInt8[Tensor, "b height width channels"]) -> Float[Tensor, " b"]:
    """Mean of the first channel minus mean of the last one, of each picture."""
    means = pictures.double().mean(dim=(1, 2))
    return means[:, 0] - means[:, -1]


def reversed_cameras(cameras: Sequence[CameraInterface], images: Mapping[str, Any]) -> list[str]:
    """Cameras whose first pictures `[b, height, width, channels]` seem to have their channels in reverse order."""
    return [one.name for one in cameras if one.name in images and one.reversed(images[one.name])]
