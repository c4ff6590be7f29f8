"""Models of error over time, fitted on a logarithmic scale to many curves at once.

    flat          m_t = a
    linear        m_t = a + c t                              a, c ≥ 0
    exponential   m_t = a ρ^t
    recursion     m_t = a ρ^t + c (ρ^t − 1) / (ρ − 1)        of m_{t+1} = ρ m_t + c; the others are special cases

The recursion describes a closed loop with a policy error of about c per step: for ρ > 1 the error grows without bound,
for ρ < 1 it converges to c / (1 − ρ) from above or below. For each ρ of a grid, which is refined about the best, a and
c are fitted by least squares of relative deviations, weighted by the previous fit; residuals are those of logarithms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import NDArray

NOISE = 1e-3
"""Relative deviations below this do not distinguish models; otherwise exact curves would exclude all but one."""
MAX_LOG_GROWTH = 60.0
"""Largest logarithm of the growth factor over the window in the grid."""
REFINEMENTS = 4
PASSES = 3


@dataclass(frozen=True)
class Fit:
    """One model fitted to each of `r` curves of `t` steps.

    Attributes:
        factor: ρ per step; 1 for flat and linear models.
        start: a.
        drift: c per step.
        residual: Sum of squared deviations of logarithms.
        curve: Fitted curves.
        parameters: Number of free parameters of the model, including the variance.
    """

    factor: Float64[ndarray, " r"]
    start: Float64[ndarray, " r"]
    drift: Float64[ndarray, " r"]
    residual: Float64[ndarray, " r"]
    curve: Float64[ndarray, "r t"]
    parameters: int


def fit_laws(curves: Float64[ndarray, "r t"]) -> Mapping[str, Fit]:
    """All models, fitted to curves of positive values."""
    one = np.ones((len(curves), 1))
    flat = _best(curves, one, parameters=2, drifting=False)
    linear = _best(curves, one, parameters=3, drifting=True)
    slope = _log_slope(curves)
    exponential = _best(curves, np.exp(slope)[:, None], parameters=3, drifting=False)
    return {"flat": flat, "linear": linear, "exponential": exponential, "recursion": _recursion(curves, slope)}


def effective_steps(curve: Float64[ndarray, " t"], fitted: Float64[ndarray, " t"]) -> float:
    """Effective number of independent deviations of a curve: T (1 − φ) / (1 + φ).

    φ is their autocorrelation at lag 1. Deviations of a median over episodes are autocorrelated; a criterion that
    counted every step would overfit them.
    """
    rest = np.log(curve) - np.log(fitted)
    power = float(rest @ rest)
    if power <= NOISE**2 * len(rest):
        return float(len(rest))
    phi = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), 0.95)
    return max(len(rest) * (1 - phi) / (1 + phi), 6.0)


def criterion(fit: Fit, steps: int, effective: float) -> Float64[ndarray, " r"]:
    """Akaike's criterion with small-sample correction (Hurvich and Tsai 1989) for the effective number of steps."""
    spread = np.maximum(fit.residual / steps, NOISE**2)
    k = fit.parameters
    return effective * np.log(spread) + 2 * k * effective / max(effective - k - 1, 1.0)


def _recursion(curves: Float64[ndarray, "r t"], slope: Float64[ndarray, " r"]) -> Fit:
    steps = curves.shape[1]
    reach = math.asinh(MAX_LOG_GROWTH)
    grid: NDArray[np.float64] = np.sinh(np.linspace(-reach, reach, 49)) / steps
    # the grid contains the exponential's rate, so that the recursion never fits worse
    logs = np.concatenate([np.broadcast_to(grid, (len(curves), 49)), slope[:, None]], 1)
    logs.sort(1)
    best = _best(curves, np.exp(logs), parameters=4, drifting=True)
    # distance to the nearest neighbours on the grid, which is dense about 0
    row, place = np.arange(len(curves)), np.abs(logs - np.log(best.factor)[:, None]).argmin(1)
    below, above = logs[row, np.maximum(place - 1, 0)], logs[row, np.minimum(place + 1, logs.shape[1] - 1)]
    gap = np.maximum(above - logs[row, place], logs[row, place] - below)
    for _ in range(REFINEMENTS):
        finer = np.log(best.factor)[:, None] + gap[:, None] * np.linspace(-1, 1, 11)
        best = _best(curves, np.exp(finer), parameters=4, drifting=True)
        gap = gap / 5
    return best


def _best(curves: Float64[ndarray, "r t"], factors: Float64[ndarray, "r g"], *, parameters: int, drifting: bool) -> Fit:
    """For each curve the best of its factors, with its start and drift."""
    t: NDArray[np.float64] = np.arange(curves.shape[1], dtype=np.float64)
    power: NDArray[np.float64] = factors[..., None] ** t
    with np.errstate(divide="ignore", invalid="ignore"):
        summed: NDArray[np.float64] = np.where(
            np.abs(factors[..., None] - 1) < 1e-9, t, (power - 1) / (factors[..., None] - 1)
        )
    y = curves[:, None]
    floor = 0.01 * y.min(axis=-1, keepdims=True)
    weights = 1 / y**2
    start, drift, m = _solve(y, power, summed, weights, drifting)
    for _ in range(PASSES - 1):
        start, drift, m = _solve(y, power, summed, 1 / np.maximum(m, floor) ** 2, drifting)
    logs = np.log(np.maximum(m, floor))
    shift = (np.log(y) - logs).mean(-1, keepdims=True)
    residual = np.square(np.log(y) - logs - shift).sum(-1)
    residual = np.where(np.isfinite(residual), residual, np.inf)
    row, chosen = np.arange(len(curves)), residual.argmin(-1)
    scale = np.exp(shift[..., 0])[row, chosen]
    return Fit(
        factor=factors[row, chosen],
        start=start[row, chosen] * scale,
        drift=drift[row, chosen] * scale,
        residual=residual[row, chosen],
        curve=np.exp(logs + shift)[row, chosen],
        parameters=parameters,
    )


def _solve(
    y: Float64[ndarray, "r 1 t"],
    power: Float64[ndarray, "r g t"],
    summed: Float64[ndarray, "r g t"],
    weights: Float64[ndarray, "r h t"],
    drifting: bool,
) -> tuple[Float64[ndarray, "r g"], Float64[ndarray, "r g"], Float64[ndarray, "r g t"]]:
    """a, c ≥ 0 of the weighted least squares fit y ≈ a · power + c · summed, and the fitted curve."""
    aa, ay = (weights * power**2).sum(-1), (weights * power * y).sum(-1)
    alone = ay / aa
    if not drifting:
        return alone, np.zeros_like(alone), alone[..., None] * power
    cc, cy = (weights * summed**2).sum(-1), (weights * summed * y).sum(-1)
    ac = (weights * power * summed).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = aa * cc - ac**2
        a, c = (cc * ay - ac * cy) / determinant, (aa * cy - ac * ay) / determinant
        drift_only = cy / cc
    # if the optimum is negative, the solution is at the boundary (no drift or no start); likewise if degenerate
    drifts: NDArray[np.bool_] = (c > 0) & (determinant > 1e-12 * aa * cc)
    c = np.where(drifts, c, 0.0)
    a: NDArray[np.float64] = np.where(drifts, a, alone)
    a, c = np.where(a > 0, a, 0.0), np.where(a > 0, c, drift_only)
    return a, c, a[..., None] * power + c[..., None] * summed


def _log_slope(curves: Float64[ndarray, "r t"]) -> Float64[ndarray, " r"]:
    t: NDArray[np.float64] = np.arange(curves.shape[1], dtype=np.float64) - (curves.shape[1] - 1) / 2
    return np.log(curves) @ t / (t @ t)
