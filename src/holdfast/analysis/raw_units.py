"""A modulus of continuity in the norm and units in which Theorem 1 needs it.

`modulus` and smoothing by noise measure a distance of *normalised, stacked* observations, Theorem 1 (`theorem1_bound`)
takes a modulus of the largest *raw* distance of a step, the norm and units of its ε:

    d_traj(o, o') = max_k |o_k − o'_k|,     |z − z'| ≤ √w · d_traj(o, o') / min_j half_j

for windows of w steps and coordinates that are normalised by z_j = (o_j − centre_j) / half_j. Hence

    γ_raw(r) = γ_normalised(√w · r / min_j half_j).
"""

import math

from ..data import MinMax
from ..errors import RecipeError
from .bounds import Curve


def in_raw_units(modulus: Curve, *, scale: MinMax, n_obs_steps: int) -> Curve:
    """A modulus of raw observations from one of normalised, stacked windows.

    Args:
        modulus: Non-decreasing function of the Euclidean distance of normalised windows, for example
            2Φ(r/2σ) − 1 for a policy that is smoothed by σ.
        scale: Scale of the observations. Constant coordinates are only shifted, so their unit is kept.
        n_obs_steps: Number of observations in a window, w.

    Returns:
        Function of d_traj, in the units of the observations.

    Raises:
        RecipeError: The window has no steps.

    >>> import torch
    >>> scale = MinMax(low=torch.tensor([0.0, 0.0]), high=torch.tensor([4.0, 10.0]))
    >>> raw = in_raw_units(lambda r: min(1.0, r), scale=scale, n_obs_steps=4)
    >>> raw(0.5)  # √4 · 0.5 / 2
    0.5
    """
    if n_obs_steps < 1:
        raise RecipeError(f"expected a window of at least 1 observation, got {n_obs_steps}.")
    factor = math.sqrt(n_obs_steps) / float(scale.half.min())
    return lambda radius: modulus(factor * radius)
