"""Cells of study theorems: rollouts, the bound that applies to them, and what is measured.

    system              theorem                  smoothed   flaws
    scalar, stable      talk: TVC, contractive   yes        biased actions
    double integrator   Theorem 1                no         biased plans
    scalar, unstable    Theorem 2                yes        biased plans, slips
    double integrator   Theorem 2                yes        biased plans, slips
    quadrotor           Theorem 2, to 1st order  yes        slips

Bounds: `analysis.bounds`, `analysis.chunk_bounds`, docs/theory.md. Measured: L_marg,ε by exact matching of rollouts
of expert and policy (`analysis.couplings`), with the interval of `population_intervals`. Matching has a positive
bias, so the interval's lower end must be below the bound; the expert against itself (`floor`) shows by how much, from
half as many rollouts. Where laws have a closed form, an exact lower bound on the loss (`exact`) must be below the bound
too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from ...analysis.couplings import expert_floor, imitation_losses
from ...analysis.imitation_intervals import population_intervals
from ..engine.jobs import key_of
from ..engine.statistics import flat
from .cell import Cell, Flaw
from .linear import consistent_cell, contractive_cell, plain_cell
from .quadrotor import CONSTANTS, quadrotor_cell

Setting = Literal["contractive", "plain", "scalar", "double integrator", "quadrotor", "quadrotor, short chunks"]

EPSILONS = (0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class TheoremJob:
    """One system, policy, σ and H; all ε are measured on its rollouts."""

    setting: Setting
    flaw: Flaw
    sigma: float
    chunks: int
    count: int
    seed: int
    epsilons: tuple[float, ...] = EPSILONS

    @property
    def key(self) -> str:
        return key_of(f"{self.setting.replace(', ', '-').replace(' ', '-')}-h{self.chunks}", self, CONSTANTS)


# Flaws, noise levels and numbers of decisions of each setting; σ of `plain` is the spread of plans. Theorem 2 is
# informative where ε is the scale of the flaw and σ a fraction of it; elsewhere it is vacuous, which is shown as well.
GRID: dict[Setting, tuple[tuple[Flaw, ...], tuple[float, ...], tuple[int, ...]]] = {
    "contractive": ((Flaw(bias=0.03), Flaw(bias=0.1)), (0.3, 1.0, 3.0), (2, 5, 20)),
    "plain": ((Flaw(bias=0.01), Flaw(bias=0.1)), (0.05, 0.3, 1.0), (1, 3, 10)),
    "scalar": ((Flaw(bias=0.001), Flaw(slip=0.03)), (0.003, 0.01, 0.03, 0.1), (1, 3, 10)),
    "double integrator": ((Flaw(bias=0.0003), Flaw(slip=0.03)), (0.001, 0.003, 0.01, 0.03), (1, 3)),
    "quadrotor": ((Flaw(slip=0.05, far=3.0),), (0.0001, 0.0003, 0.001, 0.01), (1, 2, 3)),
    "quadrotor, short chunks": ((Flaw(slip=0.05, far=3.0),), (0.0003,), (3,)),
}


def cell_of(job: TheoremJob) -> Cell:
    """Rollouts of a job and the bound that applies to them."""
    match job.setting:
        case "contractive":
            return contractive_cell(job.flaw, job.sigma, job.chunks, count=job.count, seed=job.seed)
        case "plain":
            return plain_cell(job.flaw, job.sigma, job.chunks, count=job.count, seed=job.seed)
        case "scalar" | "double integrator":
            return consistent_cell(job.setting, job.flaw, job.sigma, job.chunks, count=job.count, seed=job.seed)
        case "quadrotor":
            chunk, longest = 200, 600
        case "quadrotor, short chunks":
            chunk, longest = 8, 200
        case _:
            assert_never(job.setting)
    return quadrotor_cell(job.flaw, job.sigma, job.chunks, chunk=chunk, longest=longest, count=job.count, seed=job.seed)


def measure(job: TheoremJob) -> list[dict[str, Any]]:
    """One wide row per ε: bound, measured loss with its interval, floor and ratio.

    `bound` is `None` where an assumption is known to fail, which `broken` names; `ratio` is bound over measured, and
    missing without a bound or where the interval of the measured loss includes 0.
    """
    return list(_measured(job))


def _measured(job: TheoremJob) -> Iterable[dict[str, Any]]:
    cell = cell_of(job)
    losses = imitation_losses(cell.rollouts, job.epsilons)
    intervals = population_intervals(cell.rollouts, losses, seed=job.seed).worst
    floors = expert_floor(cell.rollouts, job.epsilons).worst
    for eps, measured, floor in zip(job.epsilons, intervals, floors, strict=True):
        bound = cell.bound(eps, measured)
        exact = None if cell.exact is None else cell.exact(eps)
        # below, the measured loss may be the bias of matching alone
        surely = not bound.violated and measured.low > 0
        yield {
            "system": cell.system,
            "theorem": cell.theorem,
            "flaw": cell.flaw,
            "eps": eps,
            "sigma": cell.sigma,
            "chunks": cell.chunks,
            "bound": None if bound.violated else bound.value,
            **flat("measured", measured),
            "floor": float(floor),
            "exact": exact,
            "ratio": bound.ratio if surely else None,
            "ratio_low": bound.value / measured.high if surely else None,
            "ratio_high": bound.value / measured.low if surely else None,
            "vacuous": bound.vacuous,
            "holds": bool(bound.holds) and (exact is None or exact <= bound.value),
            "broken": "; ".join(bound.violated),
            "episodes": job.count,
        }
