"""Lower bounds on imitation losses that need no matching: from laws in closed form, or from shares of a half-space.

For every half-space A, L_marg,ε ≥ P[policy in A] − P[expert in A^ε] at each step (Strassen 1965), since A^ε is the set
of points within ε of A. Matching finite samples hides small losses under its bias; these bounds do not.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ...evaluation.intervals import rate

_normal = cast(Any, stats).norm  # scipy ships no types
_linalg = cast(Any, torch.linalg)  # its functions carry no types
# added to covariances, of which those of the first steps are singular; any direction is valid
_RIDGE = 1e-12


def shifted(gap: float, eps: float, spread: float) -> float:
    """TV_ε of two Gaussians of one spread whose means are `gap` apart: `(2Φ((gap − ε)/2s) − 1)₊`; exact.

    >>> shifted(0.2, 0.5, 1.0), round(shifted(2.0, 0.0, 1.0), 4)
    (0.0, 0.6827)
    """
    if spread == 0:
        return float(gap > eps)
    return max(0.0, 2 * float(_normal.cdf((gap - eps) / (2 * spread))) - 1)


def plain_gaps(
    A: Tensor, B: Tensor, K: Tensor, N: Tensor, off: Tensor, sigma: float, chunk: int, chunks: int
) -> list[tuple[float, float]]:
    """Gap of means and common spread of policy and expert along directions of each state and action.

    Both act by `u = ū + K x`, `ū = N x + σ z` drawn at the start of each chunk, on `x' = A x + B u` from one state;
    `off` is added to the policy's ū. With `(x, ū)` as the state, a step is linear and the laws are Gaussian.
    """
    n, m = B.shape
    step = torch.cat([torch.cat([A + B @ K, B], 1), torch.eye(n + m, dtype=A.dtype)[n:]])
    plan = torch.eye(n + m, dtype=A.dtype)
    plan[n:] = torch.cat([N, torch.zeros(m, m, dtype=A.dtype)], 1)
    fresh, added = torch.zeros(n + m, n + m, dtype=A.dtype), torch.zeros(n + m, dtype=A.dtype)
    fresh[n:, n:], added[n:] = sigma**2 * torch.eye(m, dtype=A.dtype), off
    act, see = torch.cat([K, torch.eye(m, dtype=A.dtype)], 1), torch.eye(n + m, dtype=A.dtype)[:n]
    gap, cov, found = torch.zeros_like(added), torch.zeros_like(fresh), list[tuple[float, float]]()
    for index in range(chunks * chunk):
        if index % chunk == 0:
            gap, cov = plan @ gap + added, plan @ cov @ plan.mT + fresh
        found += _directions(act @ gap, act @ cov @ act.mT)
        gap, cov = step @ gap, step @ cov @ step.mT
        found += _directions(see @ gap, see @ cov @ see.mT)
    return found


def _directions(gap: Tensor, cov: Tensor) -> Iterator[tuple[float, float]]:
    """Gap and spread along the gap itself, and along the direction in which it is largest in units of the spread."""
    steepest: Tensor = _linalg.solve(cov + _RIDGE * torch.eye(len(gap), dtype=gap.dtype), gap)
    for way in (gap, steepest):
        length = float(way.square().sum()) ** 0.5
        if length > 0:
            unit = way / length
            yield abs(float(unit @ gap)), math.sqrt(max(float(unit @ cov @ unit), 0.0))


def largest_shift(gaps: list[tuple[float, float]]) -> Callable[[float], float]:
    """The lower bound on the loss at ε: the largest TV_ε among directions."""
    return lambda eps: max(shifted(gap, eps, spread) for gap, spread in gaps)


def beyond(places: Float[Tensor, " b"], spread: float, threshold: float, eps: float) -> float:
    """Lower bound on the loss from the policy's share beyond a threshold, which was chosen without its samples.

    Args:
        places: Coordinates of the policy's samples along a direction, relative to the expert's mean.
        spread: Std of the expert there, whose law is normal; 0 is a point.
        threshold: End of the half-space.
        eps: Tolerance.

    Returns:
        Lower end of the 95 % interval of Clopper and Pearson for the share, less the expert's exact share within `eps`.
    """
    room = threshold - eps
    expert = float(room < 0) if spread == 0 else float(_normal.sf(room / spread))
    return max(0.0, rate(places > threshold).low - expert)


def away(apart: Bool[Tensor, " b"]) -> float:
    """Lower bound on the loss where the expert is a single point, from which samples of the policy are or are not."""
    return rate(apart).low
