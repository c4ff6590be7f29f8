"""Pictures: are they there, and can they be read?"""

import torch

from ...errors import HoldfastError
from ...types import Episodes, Pictures
from .findings import Finding

__all__ = ["check_cameras"]


def check_cameras(episodes: Episodes) -> list[Finding]:
    """Three pictures of each camera are read; cameras whose films are not there are named."""
    found = list[Finding]()
    for camera, pictures in episodes.cameras.items():
        if (damage := _damage(pictures)) is not None:
            found.append(
                Finding(
                    check="cameras",
                    severity="error",
                    what=f"Pictures of the camera {camera} cannot be read: {damage}",
                    effect="Nothing can be trained on its pictures, nor can the set be converted; the numbers are "
                    "not concerned.",
                    remedy="Copy the set again, or record it again.",
                    values={"camera": camera},
                )
            )
    if missing := episodes.meta.get("cameras_missing"):
        found.append(
            Finding(
                check="cameras",
                severity="note",
                what=f"The films of these cameras are not there: {', '.join(map(str, missing))}.",
                effect="The set is read without them, and converted sets lack them.",
                remedy="Download the folder videos too, where pictures are wanted.",
                values={"cameras": [str(camera) for camera in missing]},
            )
        )
    return found


def _damage(pictures: Pictures) -> str | None:
    """What reading the first, the middle and the last picture says, if anything is wrong."""
    last = len(pictures) - 1
    if last < 0:
        return None
    try:
        pictures.read(torch.tensor([0, last // 2, last]))
    except HoldfastError as error:
        return str(error)
    return None
