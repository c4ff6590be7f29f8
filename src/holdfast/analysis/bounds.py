"""Bounds of theorems, evaluated with measured quantities and compared with the measured loss.

    bound                      source                                      theory.md
    contractive_bound          the talk's lemma on contractive systems     1
    tvc_bound                  the talk's theorem: TVC and contraction     2
    chunk_bounds.py            Theorems 1 and 2 of arXiv 2307.14619        3, 4
    regret_bound               cost difference from an imitation loss      5

Constants that the papers leave implicit are derived for affine closed loops in docs/theory.md. Every bound lists its
assumptions; if an assumption is known to be violated, its value is infinite and the assumption is named.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RecipeError
from ..evaluation.intervals import Estimate

Curve = Callable[[float], float]
"""Function of the tolerance: a modulus of continuity, or the summed error of a policy on the expert's trajectory."""


@dataclass(frozen=True)
class Bound:
    """A bound with its ingredients, and the measured quantity that it bounds.

    Attributes:
        value: Value of the bound; infinite if an assumption is known to be violated.
        ingredients: Quantities from which it was computed, by name.
        assumptions: Conditions under which it holds.
        violated: Assumptions that the ingredients contradict.
        trivial: Trivial upper bound of the measured quantity: 1 for probabilities.
        measured: Measured quantity.

    >>> bound = Bound(0.5, {}, (), measured=0.1)
    >>> bound.holds, bound.ratio, bound.vacuous
    (True, 5.0, False)
    """

    value: float
    ingredients: dict[str, float]
    assumptions: tuple[str, ...]
    violated: tuple[str, ...] = ()
    trivial: float = 1.0
    measured: Estimate | float | None = None

    @property
    def vacuous(self) -> bool:
        """Whether the bound is not below the trivial one."""
        return not self.value < self.trivial

    @property
    def holds(self) -> bool | None:
        """Whether the measured value, or the lower end of its interval, is below the bound; `None` if not measured.

        Estimates by optimal matching of finite samples are biased upwards, so a violation within this bias does not
        refute the bound.
        """
        match self.measured:
            case None:
                return None
            case Estimate(low=low):
                return bool(low <= self.value)
            case number:
                return bool(number <= self.value)

    @property
    def ratio(self) -> float | None:
        """Ratio of bound to measured value; infinite for a measured value of 0."""
        match self.measured:
            case None:
                return None
            case Estimate(mean=number):
                pass
            case number:
                pass
        return self.value / number if number else math.inf

    def __str__(self) -> str:
        if self.violated:
            return f"does not apply: {'; '.join(self.violated)}"
        return f"{self.value:.3g} (vacuous)" if self.vacuous else f"at most {self.value:.3g}"


def contractive_bound(
    alpha: float, beta: float, action_gap: float, *, steps: int | None = None, measured: float | None = None
) -> Bound:
    """`max_t |x*_t − x̂_t| ≤ β Σ_{k<steps} αᵏ max_t |u*_t − û_t|`, at most `β/(1 − α)` times the gap (theory.md 1).

    Args:
        alpha: Contraction factor of the states.
        beta: Gain of the actions.
        action_gap: `max_t |u*_t − û_t|`.
        steps: Control steps. Default: infinite, which needs `α < 1`.
        measured: `max_t |x*_t − x̂_t|`.

    >>> round(contractive_bound(0.9, 1.0, 0.1).value, 9)
    1.0
    """
    check_positive(beta=beta)
    violated = () if steps is not None or alpha < 1 else (f"α < 1, but α = {alpha:.4g}",)
    gain = math.inf if violated else _geometric(alpha, beta, steps)
    return Bound(
        gain * action_gap if gain < math.inf else math.inf,
        {"alpha": alpha, "beta": beta, "action_gap": action_gap, "gain": gain},
        ("both rollouts have the same initial state", "every step is (α, β)-contractive, without independent noise"),
        violated,
        trivial=math.inf,
        measured=measured,
    )


def tvc_tolerance(eps: float, alpha: float, beta: float) -> float:
    """Tolerance on actions for which states stay within `eps`: `ε / max(1, β/(1 − α))`; 0 if `α ≥ 1`."""
    return eps / max(1.0, beta / (1 - alpha)) if alpha < 1 else 0.0


def tvc_bound(
    eps: float,
    *,
    alpha: float,
    beta: float,
    steps: int,
    modulus: Curve,
    policy_error: Curve,
    measured: Estimate | float | None = None,
) -> Bound:
    """`L_marg,ε ≤ (T − 1) γ_TVC(ε) + Σ_t E TV_{ε'}(π*(x*_t), π̂(x*_t))`, `ε' = tvc_tolerance(ε)` (theory.md 2).

    Args:
        eps: Tolerance on states and actions.
        alpha: Contraction factor of the states.
        beta: Gain of the actions.
        steps: `T`, one decision each.
        modulus: `γ_TVC` of the learned policy, non-decreasing: `TV(π̂(x), π̂(x')) ≤ γ_TVC(|x − x'|)`.
        policy_error: `ε' ↦ Σ_t E TV_{ε'}`, the error on the expert's states summed over the steps.
        measured: `L_marg,ε`.

    Raises:
        RecipeError: `eps` or `steps` is not positive.
    """
    check_positive(eps=eps, steps=steps)
    violated = () if alpha < 1 else (f"α < 1, but α = {alpha:.4g}",)
    tolerance = tvc_tolerance(eps, alpha, beta)
    parts = {"continuity": (steps - 1) * modulus(eps), "policy_error": 0.0 if violated else policy_error(tolerance)}
    return Bound(
        math.inf if violated else sum(parts.values()),
        {"eps": eps, "alpha": alpha, "beta": beta, "steps": steps, "tolerance": tolerance} | parts,
        (
            "the system is (α, β)-contractive, without noise or with noise shared by both rollouts",
            "the learned policy is total-variation continuous with this modulus",
            "the expert is Markovian in the policy's observation",
            "the policy's error is measured on the expert's states",
        ),
        violated,
        measured=measured,
    )


def regret_bound(
    eps: float, imitation_loss: float, *, steps: int, slope: float, span: float, measured: float | None = None
) -> Bound:
    """`|J(π*) − J(π̂)| ≤ T (2 ℓ ε + R L_marg,ε)` for costs `Σ_t c_t(x_{t+1}, u_t)` (theory.md 5).

    Args:
        eps: Tolerance on states and actions.
        imitation_loss: `L_marg,ε`, or a bound on it.
        steps: `T`.
        slope: `ℓ`: `|c(x, u) − c(x', u')| ≤ ℓ (|x − x'| + |u − u'|)`.
        span: `R`: the largest difference of two values of `c`.
        measured: `|J(π*) − J(π̂)|`.

    >>> regret_bound(0.1, 0.5, steps=10, slope=1.0, span=2.0).value
    12.0
    """
    check_positive(eps=eps, steps=steps)
    return Bound(
        steps * (2 * slope * eps + span * imitation_loss),
        {"eps": eps, "imitation_loss": imitation_loss, "steps": steps, "slope": slope, "span": span},
        ("the cost of a step is Lipschitz and bounded", "costs are summed over steps"),
        trivial=steps * span,
        measured=measured,
    )


def _geometric(alpha: float, beta: float, steps: int | None) -> float:
    if steps is None:
        return beta / (1 - alpha)
    return beta * (float(steps) if alpha == 1 else (1 - alpha**steps) / (1 - alpha))


def check_positive(**values: float | int) -> None:
    """Raise `RecipeError` for the first of the named values that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise RecipeError(f"expected {name} > 0, got {value}.")
