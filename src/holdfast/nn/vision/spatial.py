"""Spatial softmax: where the maps of a convolutional network are active.

    p = softmax(map / temperature),     point = Σ p · (x, y)

Each map gives the expected position of one learned point. Levine, Finn, Darrell and Abbeel 2016 (arXiv 1504.00702),
section 5.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Maps `[b, points, h, w]` → positions `[b, 2 · points]`, all x before all y, in float32 also under autocast.

    Args:
        size: Height and width of the picture.
        stride: Pixels between two cells of a map; the first cell lies on the first pixel, as with odd kernels padded by
            half of their size.
        learned: Learn the temperature, which starts at 1; otherwise it stays 1.
    """

    def __init__(self, size: tuple[int, int], *, stride: int, learned: bool = False) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        self.sharpness = nn.Parameter(torch.zeros(())) if learned else None

    def forward(self, maps: Float[Tensor, "b points h w"]) -> Float[Tensor, "b twice_points"]:
        """The expected position of each map."""
        with torch.autocast(maps.device.type, enabled=False):
            # half precision would move positions by pixels
            logits = maps.float() if self.sharpness is None else maps.float() * self.sharpness.exp()
            weights = logits.flatten(2).softmax(-1).view(maps.shape)
            rows, columns = (self._places(maps.shape[axis], axis - 2, like=weights) for axis in (2, 3))
            return torch.cat([(weights.sum(2) * columns).sum(-1), (weights.sum(3) * rows).sum(-1)], dim=-1)

    def _places(self, count: int, axis: int, *, like: Tensor) -> Float[Tensor, " count"]:
        """Positions of the cells along an axis, from −1 to 1 in the picture."""
        pixels = torch.arange(count, device=like.device, dtype=like.dtype) * self.stride
        return pixels * (2 / max(self.size[axis] - 1, 1)) - 1
