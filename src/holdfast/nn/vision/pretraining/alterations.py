"""Random changes of a picture's light and colours (Chen et al. 2020, arXiv 2002.05709, appendix A, without hue).

    x ← x · a      brightness          x ← m + (x − m) · a    contrast, m: mean of the picture
    x ← g + (x − g) · a   saturation   x ← g                  grey, g: luminance of the pixel

for pixels x in [0, 1] and a uniform in [1 − strength, 1 + strength], in this order.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Pixels

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
PARTS = ("brightness", "contrast", "saturation", "grey")


def drawn_alterations(count: int, *, rng: torch.Generator) -> dict[str, Float[Tensor, " count"]]:
    """Uniform numbers for the changes of a number of pictures, by what they change."""
    return dict(zip(PARTS, torch.rand(len(PARTS), count, generator=rng, device=rng.device), strict=True))


def altered(pixels: Pixels, draws: dict[str, Tensor], *, strength: float, grey: float) -> Pixels:
    """Pictures in [-1, 1] with other brightness, contrast and saturation; those of one channel keep their saturation.

    Args:
        pixels: Pictures.
        draws: Uniform numbers of `drawn_alterations`.
        strength: Largest relative change.
        grey: Probability that a picture of three channels becomes grey.
    """
    factors = {name: (1 + strength * (2 * draws[name] - 1))[:, None, None, None] for name in PARTS[:3]}
    found = ((pixels + 1) / 2 * factors["brightness"]).clamp(0, 1)
    mean = _luminance(found).mean(dim=(1, 2, 3), keepdim=True)
    found = (mean + (found - mean) * factors["contrast"]).clamp(0, 1)
    if pixels.shape[1] == 3:
        light = _luminance(found)
        found = (light + (found - light) * factors["saturation"]).clamp(0, 1)
        found = torch.where((draws["grey"] < grey)[:, None, None, None], _luminance(found), found)
    return 2 * found - 1


def _luminance(pixels: Pixels) -> Float[Tensor, "b 1 height width"]:
    if pixels.shape[1] != 3:
        return pixels.mean(dim=1, keepdim=True)
    weights = torch.tensor(LUMINANCE, device=pixels.device, dtype=pixels.dtype)
    return (pixels * weights[:, None, None]).sum(dim=1, keepdim=True)
