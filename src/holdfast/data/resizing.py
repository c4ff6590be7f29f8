"""Pictures of another size, the same in training and at deployment."""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


def resized(
    pictures: UInt8[Tensor, "*b height width channels"], size: tuple[int, int], *, nearest: bool = False
) -> UInt8[Tensor, "*b new_height new_width channels"]:
    """Pictures of another height and width, interpolated linearly between the means of what each new pixel covers.

    Measurements take the `nearest` pixel to the centre of the new one instead, so that no depth between two objects is
    invented.

    >>> resized(torch.tensor([[[0], [10]], [[20], [30]]], dtype=torch.uint8), (1, 1)).tolist()
    [[[15]]]
    >>> resized(torch.tensor([[[0], [10], [20]]], dtype=torch.uint8), (1, 1), nearest=True).tolist()
    [[[10]]]
    """
    if tuple(pictures.shape[-3:-1]) == size:
        return pictures
    if nearest:
        rows, columns = (_nearest(old, new) for old, new in zip(pictures.shape[-3:-1], size, strict=True))
        return pictures[..., rows, :, :][..., columns, :].contiguous()
    flat = pictures.reshape(-1, *pictures.shape[-3:]).movedim(-1, 1)
    # bytes are rounded as well as floats, in a fraction of the time
    found = torch.nn.functional.interpolate(flat, size=size, mode="bilinear", antialias=True)
    return found.movedim(1, -1).reshape(*pictures.shape[:-3], *size, pictures.shape[-1])


def _nearest(old: int, new: int) -> Int64[Tensor, " new"]:
    """The pixel that holds the centre of each new one."""
    return (2 * torch.arange(new) + 1) * old // (2 * new)
