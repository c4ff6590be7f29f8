"""Theorems 1 and 2 of Block et al. 2023 (arXiv 2307.14619) with the constants of affine primitive controllers.

Theorem 1 holds for a policy that is total-variation continuous, Theorem 2 for one that observation noise makes
continuous. Derivations: docs/theory.md, sections 3 and 4.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from ..control.incremental import IncrementalStability
from ..errors import RecipeError, ShapeError
from ..evaluation.intervals import Estimate
from .bounds import Bound, Curve, check_positive

_stats = cast(Any, stats)  # scipy ships no types
# Number of radii over which the bound of Theorem 2 is minimised; it holds for each of them.
_RADII = 200


@dataclass(frozen=True)
class AffineLoop:
    """Constants of chunks of affine primitive controllers that enter Theorems 1 and 2.

    Attributes:
        c_beta: Overshoot of the incremental stability of the expert's chunks.
        L_beta: Decay rate of the incremental stability.
        c_gamma: Input gain of the incremental stability.
        chunk: `τ`, control steps of a chunk.
        gain_radius: `R_K ≥ |K|` of the expert's controllers.
        same_gains: Whether the learned gains equal the expert's, so that only `ū` and `x̄` can be wrong.
        offset: `sup |x*_t − x̄*_t|`; 0 if the expert's controllers are consistent with its trajectory.
        c_xi: Radius about the trajectory within which the constants hold; infinite for affine closed loops.
        input_radius: Radius of input perturbations within which the constants hold.

    Raises:
        RecipeError: A constant is out of range.
    """

    c_beta: float
    L_beta: float
    c_gamma: float
    chunk: int
    gain_radius: float
    same_gains: bool = False
    offset: float = 0.0
    c_xi: float = math.inf
    input_radius: float = math.inf

    def __post_init__(self) -> None:
        if self.c_beta < 1 or self.c_gamma < 0 or self.chunk < 1 or self.gain_radius < 0 or self.offset < 0:
            raise RecipeError(
                f"expected c_beta >= 1, c_gamma, gain_radius, offset >= 0 and a chunk of at least 1 step, got {self}."
            )

    @staticmethod
    def of(
        stability: IncrementalStability, *, chunk: int, gain_radius: float, same_gains: bool = False
    ) -> "AffineLoop":
        """Constants of the worst loop of a batch.

        Raises:
            ShapeError: The constants hold for fewer steps than a chunk has.
            RecipeError: The constants are in a metric, but the theorems are stated in the Euclidean norm.
        """
        if stability.steps < chunk:
            raise ShapeError(f"constants over {stability.steps} steps do not cover chunks of {chunk} steps.")
        if stability.metric is not None:
            raise RecipeError("expected constants in the Euclidean norm, got a metric. Compute them without metric.")
        worst = stability.worst()
        constants = float(worst.c_beta), float(worst.L_beta), float(worst.c_gamma)
        return AffineLoop(*constants, chunk=chunk, gain_radius=gain_radius, same_gains=same_gains)

    def decay(self, steps: int) -> float:
        """Factor `c_β e^{−steps L_β}` by which a deviation has decayed."""
        return self.c_beta * math.exp(-steps * self.L_beta)

    def mismatch(self, tolerance: float, eps: float) -> float:
        """`m`: input perturbation per unit error in d_max between composite actions, within `eps` of the expert."""
        if self.same_gains:
            return max(1.0, self.gain_radius)
        return max(1.0, self.gain_radius + tolerance, eps + self.offset)

    def reach(self) -> float:
        """`q`: deviation of states per unit of a persistent input perturbation, over any number of chunks."""
        return self.c_gamma * (1 + self.decay(1) / (1 - self.decay(self.chunk)))

    def c1(self, eps: float) -> float:
        """`c₁` of Theorem 1: errors of composite actions up to `ε/c₁` keep states and actions within `ε`."""
        m, q = self.mismatch(eps, eps), self.reach()
        return m * max(q, 1 + self.gain_radius * q)

    def violations(self, eps: float, tolerance: float, start: float, left: float) -> tuple[str, ...]:
        """Assumptions violated by deviations `start`, with factor `left` per chunk, or input errors m · tolerance."""
        input_error = self.mismatch(tolerance, eps) * tolerance
        facts = {
            f"L_β > 0, but L_β = {self.L_beta:.4g}": self.L_beta > 0,
            f"a chunk contracts deviations, but its factor is {left:.4g}: lengthen it": left < 1,
            f"deviations within c_ξ = {self.c_xi:.4g}, but they reach {start:.4g}": start <= self.c_xi,
            f"input errors of at most {self.input_radius:.4g}, but they may be {input_error:.4g}": (
                input_error <= self.input_radius
            ),
        }
        return tuple(text for text, true in facts.items() if not true)


_LOOP_ASSUMPTIONS = (
    "the system is affine along every trajectory, or the constants hold within the given radii",
    "every chunk of the expert is incrementally stable with these constants",
    "the expert's gains are at most gain_radius, and equal the learned gains if same_gains is set",
    "the expert is a chunking policy: its composite action depends on the past only through the observation",
    "observations are windows of states and actions within one chunk",
)


def theorem1_bound(
    eps: float,
    *,
    loop: AffineLoop,
    chunks: int,
    modulus: Curve,
    policy_error: Curve,
    measured: Estimate | float | None = None,
) -> Bound:
    """`L_marg,ε ≤ (H − 1) γ_TVC(ε) + Σ_h E Δ_{ε/c₁}(π*_h(o_h), π̂_h(o_h))`, with `c₁` of theory.md 3.

    Theorem 1 of Block et al. 2023 (arXiv 2307.14619), with one `γ_TVC` fewer because the first observation is shared.

    Args:
        eps: Tolerance on states and actions.
        loop: Constants of the primitive controllers.
        chunks: `H`.
        modulus: `γ_TVC` of the learned policy on composite actions: `TV(π̂(o), π̂(o')) ≤ γ_TVC(d_traj(o, o'))`, in the
            units of `eps` and in d_traj, the largest distance of a step. For a modulus of normalised, stacked windows,
            as `modulus` and the noise of a smoothed policy give it, see `in_raw_units`.
        policy_error: `δ ↦ Σ_h E Δ_δ(π*_h(o_h), π̂_h(o_h))` over the expert's observations.
        measured: `L_marg,ε`.

    Raises:
        RecipeError: `eps` or `chunks` is not positive.
    """
    check_positive(eps=eps, chunks=chunks)
    left = loop.decay(loop.chunk)
    c1 = loop.c1(eps) if left < 1 else math.inf
    tolerance = eps / c1
    violated = loop.violations(eps, tolerance, eps, left)
    parts = {"continuity": (chunks - 1) * modulus(eps), "policy_error": 0.0 if violated else policy_error(tolerance)}
    return Bound(
        math.inf if violated else sum(parts.values()),
        {"eps": eps, "chunks": chunks, "c1": c1, "tolerance": tolerance} | parts,
        (*_LOOP_ASSUMPTIONS, "the learned policy is total-variation continuous with this modulus"),
        violated,
        measured=measured,
    )


def theorem2_bound(
    eps: float,
    *,
    loop: AffineLoop,
    chunks: int,
    sigma: float,
    n_states: int,
    tolerance: float,
    policy_error: float,
    window: int = 1,
    actions_observed: bool = False,
    measured: Estimate | float | None = None,
) -> Bound:
    """Bound for the smoothed policy by the replica argument, with explicit constants (theory.md 4).

        L_marg,ε ≤ min_r (H − 1) (2Φ(O_r / 2σ) − 1) + 2H P[|w| > r] + Σ_h E Δ_δ(π*_dec,h(õ_h), π̂_h(õ_h))

    `w` is standard normal in `n_states` coordinates. `O_r` is the remaining distance of two observations after a chunk
    has contracted an initial deviation of `2σr` due to the noise. Theorem 2 of Block et al. 2023 (arXiv 2307.14619)
    leaves these constants implicit and takes `δ = ε²`. The bounded coupling does **not** share the initial state
    between expert and policy unless it is a fixed state (see theory.md).

    Args:
        eps: Tolerance on states and actions.
        loop: Constants of the primitive controllers, which must be consistent: `offset` 0.
        chunks: `H`.
        sigma: Std of the observation noise in training and deployment, in the units of the states.
        n_states: Dimension of the state.
        tolerance: `δ` in d_max at which the policy's error was measured.
        policy_error: `Σ_h E Δ_δ(π*_dec,h(õ_h), π̂_h(õ_h))` over the expert's noised observations.
        window: `τ_obs`, states per observation.
        actions_observed: Whether the window also contains the actions between its states, as in the paper.
        measured: `L_marg,ε`.

    Raises:
        RecipeError: An argument that must be positive is not, or the window is longer than the chunk.
    """
    check_positive(eps=eps, chunks=chunks, sigma=sigma, n_states=n_states, window=window)
    if window > loop.chunk or loop.offset or tolerance < 0:
        raise RecipeError(
            f"expected window <= chunk, an offset of 0 and tolerance >= 0, got {window}, {loop.chunk}, {loop.offset} "
            f"and {tolerance}. Theorem 2 assumes windows within a chunk and consistent controllers."
        )
    left = loop.decay(loop.chunk - window + 1)
    input_error = loop.mismatch(tolerance, eps) * tolerance
    largest = _largest_radius(eps, loop, input_error, left, sigma) if left < 1 else 0.0
    violated = loop.violations(eps, tolerance, eps, left)
    if not violated and largest <= 0:
        violated = (f"ε = {eps:.4g} exceeds the effect of the policy's tolerance {tolerance:.4g}: lower the tolerance",)
    numbers = {"eps": eps, "chunks": chunks, "sigma": sigma, "left": left, "tolerance": tolerance}
    if violated:
        return Bound(math.inf, numbers, _THEOREM2_ASSUMPTIONS, violated, measured=measured)
    grid = [largest * (i + 1) / _RADII for i in range(_RADII)]

    def parts(r: float) -> dict[str, float]:
        distance = _observed(loop, input_error, left, sigma, r, window, actions_observed)
        tail = float(_stats.chi.sf(r, n_states))
        continuity = (chunks - 1) * math.erf(distance / sigma / math.sqrt(8))
        return {"radius": r, "distance": distance, "continuity": continuity, "tail": 2 * chunks * tail}

    best = min(map(parts, grid), key=lambda found: found["continuity"] + found["tail"])
    numbers |= best | {"policy_error": policy_error}
    return Bound(best["continuity"] + best["tail"] + policy_error, numbers, _THEOREM2_ASSUMPTIONS, measured=measured)


_THEOREM2_ASSUMPTIONS = (
    *_LOOP_ASSUMPTIONS,
    "the deployed policy adds fresh noise to every observation, with the σ of its training",
    "the policy's error is measured on the expert's noised observations, against the conditional distribution",
    "the expert's controllers are consistent with its trajectory",
    "expert and policy share the initial distribution; they share the initial state only if it is a fixed state",
)


def _largest_radius(eps: float, loop: AffineLoop, input_error: float, left: float, sigma: float) -> float:
    """The largest `r` for which states and actions stay within `eps`."""
    room = min(eps, (eps - input_error) / loop.gain_radius if loop.gain_radius else eps if input_error <= eps else 0.0)
    grown = loop.c_beta / (1 - left)
    return (room - loop.c_gamma * input_error * (1 + grown)) / (2 * sigma * grown)


def _observed(
    loop: AffineLoop, input_error: float, left: float, sigma: float, r: float, window: int, actions_observed: bool
) -> float:
    """`O_r`: Euclidean distance between the two observation windows."""
    states = (2 * left * sigma * r + loop.c_gamma * input_error) / (1 - left)
    actions = loop.gain_radius * states + input_error
    return math.sqrt(window * states**2 + (actions_observed * (window - 1)) * actions**2)
