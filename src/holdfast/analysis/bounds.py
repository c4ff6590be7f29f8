"""What the theorems promise, from measured ingredients, beside what was measured.

    bound                      of                                          theory.md
    contractive_bound          the talk's lemma on contractive systems     1
    tvc_bound                  the talk's theorem: TVC and contraction     2
    chunk_bounds.py            Theorems 1 and 2 of arXiv 2307.14619        3, 4
    regret_bound               costs, from an imitation loss               5

The papers hide constants; those here are derived for affine closed loops in docs/theory.md. Every bound lists what it
assumes; one whose assumptions are known to fail has the value infinity and says which.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RecipeError
from ..evaluation.intervals import Estimate

__all__ = ["Bound", "Curve", "check_positive", "contractive_bound", "regret_bound", "tvc_bound", "tvc_tolerance"]

Curve = Callable[[float], float]
"""A number for each tolerance: a modulus of continuity, or the summed error of a policy on the expert's path."""


@dataclass(frozen=True)
class Bound:
    """A right-hand side, what it was made of, and the left-hand side where that was measured.

    Attributes:
        value: The bound; infinity where an assumption is known to fail.
        ingredients: Named numbers that it was computed from.
        assumptions: What must be true for it to hold.
        broken: Those among them that the ingredients themselves contradict.
        trivial: What the left-hand side cannot exceed anyway: 1 for probabilities.
        measured: The left-hand side.

    >>> bound = Bound(0.5, {}, (), measured=0.1)
    >>> bound.holds, bound.ratio, bound.vacuous
    (True, 5.0, False)
    """

    value: float
    ingredients: dict[str, float]
    assumptions: tuple[str, ...]
    broken: tuple[str, ...] = ()
    trivial: float = 1.0
    measured: Estimate | float | None = None

    @property
    def vacuous(self) -> bool:
        """Whether the bound says nothing: it is not below what cannot be exceeded anyway."""
        return not self.value < self.trivial

    @property
    def holds(self) -> bool | None:
        """Whether what was measured lies under the bound; of an interval, its lower end. `None` without a measurement.

        An estimate by optimal matching of finite samples is too large on average, so that a violation within its bias
        is none.
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
        """Bound over measured; infinite where nothing was measured to differ."""
        match self.measured:
            case None:
                return None
            case Estimate(mean=number):
                pass
            case number:
                pass
        return self.value / number if number else math.inf

    def __str__(self) -> str:
        if self.broken:
            return f"no statement: {'; '.join(self.broken)}"
        return f"{self.value:.3g}, which says nothing" if self.vacuous else f"at most {self.value:.3g}"


def contractive_bound(
    alpha: float, beta: float, action_gap: float, *, steps: int | None = None, measured: float | None = None
) -> Bound:
    """`max_t |x*_t − x̂_t| ≤ β Σ_{k<steps} αᵏ max_t |u*_t − û_t|`, at most `β/(1 − α)` times the gap (theory.md 1).

    Args:
        alpha: Of the contraction.
        beta: Of the contraction.
        action_gap: `max_t |u*_t − û_t|`.
        steps: Control steps; without end if nothing is said, which needs `α < 1`.
        measured: `max_t |x*_t − x̂_t|`.

    >>> round(contractive_bound(0.9, 1.0, 0.1).value, 9)
    1.0
    """
    check_positive(beta=beta)
    broken = () if steps is not None or alpha < 1 else (f"α < 1, but α = {alpha:.4g}",)
    gain = math.inf if broken else _geometric(alpha, beta, steps)
    return Bound(
        gain * action_gap if gain < math.inf else math.inf,
        {"alpha": alpha, "beta": beta, "action_gap": action_gap, "gain": gain},
        ("both runs start in one state", "every step of both is (α, β)-contractive, without noise of its own"),
        broken,
        trivial=math.inf,
        measured=measured,
    )


def tvc_tolerance(eps: float, alpha: float, beta: float) -> float:
    """The tolerance on actions under which states stay within `eps`: `ε / max(1, β/(1 − α))`; 0 where `α ≥ 1`."""
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
        alpha: Of the contraction.
        beta: Of the contraction.
        steps: `T`, one decision each.
        modulus: `γ_TVC` of the learned policy, non-decreasing: `TV(π̂(x), π̂(x')) ≤ γ_TVC(|x − x'|)`.
        policy_error: `ε' ↦ Σ_t E TV_{ε'}`, the sum over the steps of the error on the expert's states.
        measured: `L_marg,ε`.

    Raises:
        RecipeError: `eps` or `steps` is not positive.
    """
    check_positive(eps=eps, steps=steps)
    broken = () if alpha < 1 else (f"α < 1, but α = {alpha:.4g}",)
    tolerance = tvc_tolerance(eps, alpha, beta)
    parts = {"continuity": (steps - 1) * modulus(eps), "policy_error": 0.0 if broken else policy_error(tolerance)}
    return Bound(
        math.inf if broken else sum(parts.values()),
        {"eps": eps, "alpha": alpha, "beta": beta, "steps": steps, "tolerance": tolerance} | parts,
        (
            "the system is (α, β)-contractive, under noise shared by both runs or under none",
            "the learned policy is total-variation continuous with this modulus",
            "the expert is Markovian in what the policy sees",
            "the policy's error is that on the expert's own states",
        ),
        broken,
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
        ("the cost of a step is Lipschitz and bounded", "costs add up over steps"),
        trivial=steps * span,
        measured=measured,
    )


def _geometric(alpha: float, beta: float, steps: int | None) -> float:
    if steps is None:
        return beta / (1 - alpha)
    return beta * (float(steps) if alpha == 1 else (1 - alpha**steps) / (1 - alpha))


def check_positive(**values: float | int) -> None:
    """Raise `RecipeError` for the first of the named values that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise RecipeError(f"expected {name} > 0, got {value}.")
