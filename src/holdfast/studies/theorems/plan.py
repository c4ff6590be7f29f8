"""Cells of study theorems: rollouts, the bound that applies to them, and what is measured.

    system              theorem                  smoothed   flaws
    scalar, stable      talk: TVC, contractive   yes        biased actions
    double integrator   Theorem 1                no         biased plans
    scalar, unstable    Theorem 2                yes        biased plans, slips
    double integrator   Theorem 2                yes        biased plans, slips
    quadrotor           Theorem 2, to 1st order  yes        slips

Bounds: `analysis.bounds`, `analysis.chunk_bounds`, docs/theory.md. Measured: L_marg,ε by exact matching of rollouts
of expert and policy (`analysis.couplings`), with the interval of `population_intervals`. Matching has a positive bias,
which hides small losses; the expert against itself (`floor`) shows how much, from half as many rollouts. Every cell
therefore also has a lower bound on the loss without matching (`laws`), and the larger of both lower ends (`surely`)
must be below the bound. A row *tells* if the bound is below 1 and the loss surely above 0: only there could the bound
be seen to fail. Flaws, σ and ε are chosen so that most rows tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypedDict, assert_never

from ...analysis.couplings import expert_floor, imitation_losses
from ...analysis.imitation_intervals import population_intervals
from ..engine.jobs import key_of
from ..engine.statistics import flat
from .cell import Cell, Flaw
from .linear import consistent_cell, contractive_cell, plain_cell
from .quadrotor import CONSTANTS, quadrotor_cell

Setting = Literal["contractive", "plain", "scalar", "double integrator", "quadrotor", "quadrotor, short chunks"]
Name = Literal["contractive", "plain", "scalar", "double-integrator", "quadrotor", "quadrotor-short-chunks"]

SETTINGS: dict[Name, Setting] = {
    "contractive": "contractive",
    "plain": "plain",
    "scalar": "scalar",
    "double-integrator": "double integrator",
    "quadrotor": "quadrotor",
    "quadrotor-short-chunks": "quadrotor, short chunks",
}
"""Names on the command line, and the settings, whose names are part of the keys of stored measurements."""

EPSILONS: dict[Setting, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "contractive": ((0.1, 0.3, 0.9, 3.0), (0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 3.0)),
    "plain": ((0.1, 0.3, 0.9, 3.0), (0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 3.0)),
    "scalar": ((0.1, 0.3, 1.0), (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)),
    "double integrator": ((0.1, 0.2, 0.3), (0.1, 0.15, 0.2, 0.25, 0.3, 1.0)),
    "quadrotor": ((0.1, 0.3, 1.0), (0.03, 0.1, 0.2, 0.3, 0.6, 1.0)),
    "quadrotor, short chunks": ((0.1, 0.3, 1.0), (0.03, 0.1, 0.2, 0.3, 0.6, 1.0)),
}
"""Tolerances of the presets quick and full; in the first two settings in units of the bias, above which nothing is lost
in one decision."""
BIASED: tuple[Setting, ...] = ("contractive", "plain")


@dataclass(frozen=True)
class TheoremJob:
    """One system, policy, σ and H; all ε are measured on its rollouts."""

    setting: Setting
    flaw: Flaw
    sigma: float
    chunks: int
    count: int
    seed: int
    epsilons: tuple[float, ...]

    @property
    def key(self) -> str:
        return key_of(f"{self.setting.replace(', ', '-').replace(' ', '-')}-h{self.chunks}", self, CONSTANTS)


# Flaws, noise levels and numbers of decisions of each setting; σ of `plain` is the spread of plans. Theorem 2 is
# informative where ε is well above σ, and then a bias within σ loses nothing: such rows are shown, but only slips tell.
GRID: dict[Setting, tuple[tuple[Flaw, ...], tuple[float, ...], tuple[int, ...]]] = {
    "contractive": ((Flaw(bias=0.03), Flaw(bias=0.1)), (1.0, 3.0, 10.0), (2, 5, 20)),
    "plain": ((Flaw(bias=0.01), Flaw(bias=0.1)), (0.1, 0.3, 1.0), (1, 3, 10)),
    "scalar": ((Flaw(bias=0.001), Flaw(slip=0.03), Flaw(slip=0.1)), (0.003, 0.01, 0.03), (1, 3, 5)),
    "double integrator": ((Flaw(bias=0.0003), Flaw(slip=0.03), Flaw(slip=0.1)), (0.001, 0.003), (1, 3)),
    "quadrotor": ((Flaw(slip=0.05, far=3.0),), (0.0001, 0.0003, 0.001), (1, 2, 3)),
    "quadrotor, short chunks": ((Flaw(slip=0.05, far=3.0),), (0.0003,), (3,)),
}


def jobs_of(setting: Setting, *, quick: bool, count: int, seed: int) -> list[TheoremJob]:
    """All cells of a setting."""
    levels = EPSILONS[setting][0 if quick else 1]

    def tolerances(flaw: Flaw) -> tuple[float, ...]:
        return tuple(round(level * flaw.bias, 9) for level in levels) if setting in BIASED else levels

    return [
        TheoremJob(setting, flaw, sigma, chunks, count, seed, tolerances(flaw))
        for flaw, sigma, chunks in product(*GRID[setting])
    ]


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


class TheoremRow(TypedDict):
    """Fields of a row of `measure`."""

    system: str
    theorem: str
    flaw: str
    eps: float
    sigma: float
    chunks: int
    bound: float | None
    measured: float
    measured_low: float
    measured_high: float
    floor: float
    surely: float
    tells: bool
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    vacuous: bool
    holds: bool
    broken: str
    episodes: int


def measure(job: TheoremJob) -> list[dict[str, Any]]:
    """One wide row per ε: bound, measured loss with its interval, floor, sure loss and ratio.

    `bound` is `None` where an assumption is known to fail, which `broken` names. `ratio` is the bound over `surely`, a
    lower bound on the loss, and so at least the bound over the loss; it is missing unless the row `tells`.
    """
    return list(_measured(job))


TOLD = 1e-9
"""Loss that counts as surely above 0; smaller ones are rounding."""


def _measured(job: TheoremJob) -> Iterable[dict[str, Any]]:
    cell = cell_of(job)
    losses = imitation_losses(cell.rollouts, job.epsilons)
    intervals = population_intervals(cell.rollouts, losses, seed=job.seed).worst
    floors = expert_floor(cell.rollouts, job.epsilons).worst
    for eps, measured, floor in zip(job.epsilons, intervals, floors, strict=True):
        bound = cell.bound(eps, measured)
        surely = max(measured.low, cell.surely(eps))
        tells = not bound.violated and not bound.vacuous and surely > TOLD
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
            "surely": surely,
            "tells": tells,
            "ratio": bound.value / surely if tells else None,
            "ratio_low": bound.value / max(measured.high, surely) if tells else None,
            "ratio_high": bound.value / surely if tells else None,
            "vacuous": bound.vacuous,
            "holds": surely <= bound.value,
            "broken": "; ".join(bound.violated),
            "episodes": job.count,
        }
