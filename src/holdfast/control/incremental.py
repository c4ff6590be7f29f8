"""Local incremental stability of primitive controllers along a trajectory.

    |x_i(0, ξ) − x_i(δu, ξ')|  ≤  c_β e^{−(i−1) L_β} |ξ − ξ'|  +  c_γ max_{s<i} |δu_s|,        x_1(·, ξ) = ξ

is time-varying incremental input-to-state stability with moduli β(u, k) = c_β e^{−(k−1) L_β} u and γ(u) = c_γ u (Block
et al. 2023, arXiv 2307.14619, Definition 3.1 and Assumption 3.1). The constants are those of the linearised closed
loop: exact for linear systems, first-order accurate otherwise. `holdfast.analysis.incremental` measures how far from
the trajectory they hold.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError
from ..types import PrimitiveControllers, Trajectory
from .contraction_rates import Metric, common_metric
from .linearization import linearize
from .stability import closed_loop, operator_norm
from .systems.base import System


@dataclass(frozen=True, eq=False)
class IncrementalStability:
    """Constants of the stability envelope around trajectories of primitive controllers.

    Attributes:
        c_beta: Overshoot: largest factor by which an initial deviation can grow, at least 1.
        L_beta: Decay rate of deviations per step, at most 1. If it is not positive, the loop was **not** found to
            contract within the given steps, and the envelope grows.
        c_gamma: Input gain: largest deviation per unit of input perturbation over the given steps.
        steps: Number of steps for which the constants hold.
        metric: Norm of the states; `None` for the Euclidean norm. Inputs are measured in the Euclidean norm.

    >>> one = torch.ones(())
    >>> bounds = IncrementalStability(c_beta=2 * one, L_beta=0.5 * one, c_gamma=3 * one, steps=2)
    >>> bounds.envelope(torch.tensor(1.0), torch.tensor(0.1))
    tensor([2.0000, 1.5131, 1.0358])
    """

    c_beta: Float[Tensor, "*b"]
    L_beta: Float[Tensor, "*b"]
    c_gamma: Float[Tensor, "*b"]
    steps: int
    metric: Metric | None = None

    @property
    def stable(self) -> Bool[Tensor, "*b"]:
        return self.L_beta > 0

    @property
    def warning(self) -> str | None:
        """Warning for a reader if some loop was not found to contract, else `None`."""
        count = int((~self.stable).sum())
        if not count:
            return None
        return (
            f"{count} of {self.stable.numel()} loops are not stable: within {self.steps} steps there is no length at "
            "which all products of their closed loops contract. Check the gains, or use longer trajectories."
        )

    def envelope(self, start: Float[Tensor, "*b"], inputs: Float[Tensor, "*b"]) -> Float[Tensor, "*b states"]:
        """Largest deviation at each of the states `1 … steps + 1`; no input has acted at the first.

        Args:
            start: `|ξ − ξ'|`, in the metric.
            inputs: `max_s |δu_s|`.
        """
        k = torch.arange(self.steps + 1).to(self.c_beta)
        decay = self.c_beta[..., None] * (-k * self.L_beta[..., None]).exp()
        return decay * start[..., None] + torch.where(k > 0, self.c_gamma[..., None] * inputs[..., None], 0)

    def worst(self) -> "IncrementalStability":
        """One envelope that holds for the whole batch: largest `c_beta` and `c_gamma`, smallest `L_beta`."""
        return replace(
            self, c_beta=self.c_beta.amax().clone(), L_beta=self.L_beta.amin(), c_gamma=self.c_gamma.amax().clone()
        )

    def widened(self, slack: float) -> "IncrementalStability":
        """Constants `c_beta` and `c_gamma` times `1 + slack`, as a margin for the linearisation error."""
        if not slack >= 0:
            raise RecipeError(f"expected slack >= 0, got {slack}.")
        return replace(self, c_beta=self.c_beta * (1 + slack), c_gamma=self.c_gamma * (1 + slack))


def incremental_stability(
    loops: Float[Tensor, "*b t n n"],
    inputs: Float[Tensor, "*b t n m"],
    *,
    rate: float | None = None,
    metric: Metric | None = None,
) -> IncrementalStability:
    """Smallest constants of the envelope, from all products Φ_{k,j} = M_{k−1} ⋯ M_j of closed loops.

        g_k = max_j |Φ_{j+k,j}|,     c_β = max_k g_k e^{k L_β},     c_γ = max_i Σ_j |Φ_{i,j+1} B_j|

    The deviation may start at any step. By default `L_β = max_k −log(g_k) / k`, at most 1. Since `g_{k+l} ≤ g_k g_l`,
    this is the fastest rate that the products certify; slower rates have smaller `c_β`. c_γ is the exact gain for one
    input and one state; otherwise it is a sum of norms, an upper bound that can be somewhat larger.

    Args:
        loops: `M_t = A_t + B_t K_t` of each step.
        inputs: `B_t` of each step.
        rate: `L_beta`, in (0, 1].
        metric: Norm of the states. Default: Euclidean.

    Raises:
        RecipeError: `rate` is outside (0, 1].
        DataError: A loop contains NaN or infinity.
        ShapeError: There are no steps.

    >>> found = incremental_stability(torch.full((30, 1, 1), 0.5), torch.ones(30, 1, 1))
    >>> [round(float(value), 4) for value in (found.c_beta, found.L_beta, found.c_gamma)]  # 1, log 2, 1 + 1/2 + 1/4 + …
    [1.0, 0.6931, 2.0]
    """
    if rate is not None and not 0 < rate <= 1:
        raise RecipeError(f"expected L_beta in (0, 1], got {rate}.")
    if not loops.shape[-3]:
        raise ShapeError("expected at least one step, got none.")
    if not (loops.isfinite().all() and inputs.isfinite().all()):
        raise DataError("expected finite closed loops, got NaN or infinity. Look for them in the trajectory.")
    M, B = (
        (loops.double(), inputs.double())
        if metric is None
        else (metric.transform_loops(loops), metric.transform_inputs(inputs))
    )
    growth, reach = _norms(M, B)
    k = torch.arange(growth.shape[-1]).to(growth)
    fastest = (-growth.log() / k)[..., 1:].amax(-1).clamp(max=1)
    L_beta = fastest if rate is None else torch.full_like(fastest, rate)
    c_beta = (growth * (k * L_beta[..., None]).exp()).amax(-1)
    return IncrementalStability(c_beta, L_beta, reach, loops.shape[-3], metric)


def incremental_stability_along(
    system: System, controllers: PrimitiveControllers, trajectory: Trajectory, *, rate: float | None = None
) -> IncrementalStability:
    """Constants of primitive controllers along their reference trajectories, `[*b, t]`.

    Raises:
        ShapeError: The number of controllers differs from the number of steps.
    """
    loops, inputs = _loops(system, controllers, trajectory)
    return incremental_stability(loops, inputs, rate=rate)


def stability_in_metric(
    system: System, controllers: PrimitiveControllers, trajectory: Trajectory
) -> IncrementalStability | None:
    """Constants in one quadratic metric in which every step of every trajectory contracts; `None` if none was found.

    In this metric `c_β = 1` and `L_β = −log α`: no deviation ever grows. At that rate `c_β` in the Euclidean norm is at
    most `metric.distortion`.
    """
    loops, inputs = _loops(system, controllers, trajectory)
    found = common_metric(loops)
    if found is None:
        return None
    metric, alpha = found
    return incremental_stability(loops, inputs, metric=metric, rate=min(1.0, -math.log(max(alpha, 1e-300))))


def _loops(system: System, controllers: PrimitiveControllers, trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    if controllers.gains.shape[:-2] != trajectory.actions.shape[:-1]:
        raise ShapeError(
            f"expected one controller per step, {list(trajectory.actions.shape[:-1])}, got "
            f"{list(controllers.gains.shape[:-2])}. Synthesize them on this trajectory."
        )
    along = linearize(system, trajectory.states[..., :-1, :].double(), trajectory.actions.double())
    return closed_loop(along.A, along.B, controllers.gains.double()), along.B


def _norms(M: Float[Tensor, "*b t n n"], B: Float[Tensor, "*b t n m"]) -> tuple[Tensor, Tensor]:
    """`g_0 … g_t` and the largest `Σ_j |Φ_{i,j+1} B_j|`; the products are extended one step at a time."""
    steps = M.shape[-3]
    growth = [M.new_ones(M.shape[:-3])]
    sums, product, pushed = M.new_zeros(M.shape[:-2]), None, B
    for k in range(steps):
        # `pushed[j]` is Φ_{j+1+k, j+1} B_j, which reaches the state after step j + k
        sums[..., k:] += operator_norm(pushed)
        later = M[..., k:, :, :]
        product = later if product is None else later @ product[..., :-1, :, :]
        growth.append(operator_norm(product).amax(-1))
        pushed = M[..., k + 1 :, :, :] @ pushed[..., :-1, :, :]
    return torch.stack(growth, -1), sums.amax(-1)
