"""Linear probe: which share of the variance of recorded numbers a linear function of an encoder's features explains.

    W, b minimise Σ ‖y − W f − b‖² + λ ‖W‖²  on training rows;      R² = 1 − Σ (y − W f − b)² / Σ (y − ȳ)²  held out

for each coordinate y of the observation that varies. Features f and coordinates are standardised on the training rows;
λ = 10⁻³ n of n rows. Alain and Bengio 2017 (arXiv 1610.01644) judge features so.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ...data import split
from ...nn import PictureEncoder, Vision
from ...nn.vision.cameras import cropped_pixels, features_in_whole
from ...seeding import stream
from ...types import Episodes
from ..pictures import ready_pictures
from .recipe import Pretraining

RIDGE = 1e-3
AT_ONCE = 64
MOST = 2000
"""Largest number of rows of each part."""


@dataclass(frozen=True)
class Probe:
    """Result of a linear probe on held-out episodes.

    Attributes:
        r2: R² of each coordinate.
        error: Root mean square error of each coordinate, in the data's units.
        rows: Number of held-out rows.
    """

    r2: Float[Tensor, " k"]
    error: Float[Tensor, " k"]
    rows: int

    @property
    def mean(self) -> float:
        """Mean R² over the coordinates."""
        return float(self.r2.mean())


def probe_features(recipe: Pretraining, episodes: Episodes, encoder: PictureEncoder) -> Probe | None:
    """Linear probe of an encoder's features of all cameras; `None` if nothing varies, or nothing is held out.

    Args:
        recipe: Recipe of the pre-training, by which episodes are held out.
        episodes: Its data, with the coordinates that are probed in the observation.
        encoder: The encoder, pre-trained or not.
    """
    parts = split(episodes, held_out=recipe.held_out, rng=stream(recipe.seed, "episodes"))
    if not all(len(part) for part in parts):
        return None
    train, test = (_rows(part, recipe.vision, encoder) for part in parts)
    varied = (train[1].std(dim=0) > 0) & (test[1].std(dim=0) > 0)
    if not bool(varied.any()):
        return None
    return ridge_probe(train[0], train[1][:, varied], test[0], test[1][:, varied])


def ridge_probe(
    features: Float[Tensor, "n f"],
    targets: Float[Tensor, "n k"],
    other_features: Float[Tensor, "m f"],
    other_targets: Float[Tensor, "m k"],
) -> Probe:
    """Ridge regression on the first rows, judged on the others."""
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-8)
    x, centre, scale = (features - mean) / std, targets.mean(dim=0), targets.std(dim=0)
    gram = x.mT @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    moments = x.mT @ ((targets - centre) / scale)
    weights = torch.cholesky_solve(moments, cast(Tensor, cast(Any, torch.linalg).cholesky(gram)))
    error = other_targets - ((other_features - mean) / std @ weights * scale + centre)
    spread = (other_targets - other_targets.mean(dim=0)).square().sum(dim=0)
    return Probe(1 - error.square().sum(dim=0) / spread, error.square().mean(dim=0).sqrt(), len(error))


@torch.no_grad()
def _rows(episodes: Episodes, vision: Vision, encoder: PictureEncoder) -> tuple[Tensor, Tensor]:
    """Features of all cameras and coordinates of evenly spaced rows, in double precision."""
    rows = torch.arange(0, len(episodes.actions), -(-len(episodes.actions) // MOST))
    found = list[Tensor]()
    ready = ready_pictures(episodes, vision)
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first : first + AT_ONCE]
        each = list[Tensor]()
        for view in vision.views:
            pixels, corners = cropped_pixels(view, ready[view.camera].read(part)[:, None], None)
            each.append(features_in_whole(encoder, view, pixels, corners))
        found.append(torch.cat(each, dim=-1))
    return torch.cat(found).double(), episodes.observed.vector[rows].double()
