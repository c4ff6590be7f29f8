"""Pictures of another size, the same in training and at deployment."""

import torch
from jaxtyping import UInt8
from torch import Tensor


def resized(
    pictures: UInt8[Tensor, "*b height width channels"], size: tuple[int, int]
) -> UInt8[Tensor, "*b new_height new_width channels"]:
    """Pictures of another height and width, interpolated linearly between the means of what each new pixel covers.

    >>> resized(torch.tensor([[[0], [10]], [[20], [30]]], dtype=torch.uint8), (1, 1)).tolist()
    [[[15]]]
    """
    if tuple(pictures.shape[-3:-1]) == size:
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-3:]).movedim(-1, 1)
    # bytes are rounded as well as floats, in a fraction of the time
    found = torch.nn.functional.interpolate(flat, size=size, mode="bilinear", antialias=True)
    return found.movedim(1, -1).reshape(*pictures.shape[:-3], *size, pictures.shape[-1])
