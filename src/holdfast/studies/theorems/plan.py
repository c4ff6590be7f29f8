"""What the theorems promise beside what is measured, over ε, σ and H: scalar, linear, quadrotor.

    system              theorem                  smoothed   flaws
    scalar, stable      talk: TVC, contractive   yes        biased actions
    double integrator   Theorem 1                no         biased plans
    scalar, unstable    Theorem 2                yes        biased plans, slips
    double integrator   Theorem 2                yes        biased plans, slips
    quadrotor           Theorem 2, to 1st order  yes        slips

Bounds: `evaluate.bounds`, `evaluate.chunk_bounds`, docs/theory.md. Measured: L_marg,ε by exact matching of rollouts of
the expert and of the policy (`evaluate.couplings`), with the interval of `population_intervals`. Matching errs upwards,
so that what must lie under the bound is the interval's lower end; the expert against itself (`floor`) shows how far
it errs, from half as many rollouts. Where laws have a closed form, a lower bound on the loss without chance stands
beside it (`exact`), and must lie under the bound too.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, assert_never

from ...analysis.couplings import expert_floor, imitation_losses
from ...analysis.imitation_intervals import population_intervals
from ..engine.pool import run_kept
from ..quadrotor.cells import Preset, digest_of
from .linear import Cell, Flaw, consistent_cell, contractive_cell, plain_cell
from .quadrotor import CONSTANTS, quadrotor_cell

__all__ = ["EPSILONS", "TheoremJob", "cell_of", "measure", "plan_theorems", "theorems"]

Setting = Literal["contractive", "plain", "scalar", "double integrator", "quadrotor", "quadrotor, short chunks"]

EPSILONS = (0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class TheoremJob:
    """One system, policy, σ and H; all ε are measured on its rollouts.

    Attributes:
        setting: Which system and theorem.
        flaw: Of the policy.
        sigma: σ.
        chunks: H.
        count: Rollouts of expert and policy each.
        seed: Of the rollouts.
        epsilons: At which.
    """

    setting: Setting
    flaw: Flaw
    sigma: float
    chunks: int
    count: int
    seed: int
    epsilons: tuple[float, ...] = EPSILONS

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.setting.replace(', ', '-').replace(' ', '-')}-h{self.chunks}-{digest_of(self, CONSTANTS)}"


# Flaws and noises of each setting; σ of `plain` is the spread of plans. Where ε is the scale of the flaw and σ a
# fraction of it, Theorem 2 speaks; elsewhere it is vacuous, which is to be seen as well.
_GRID: dict[Setting, tuple[tuple[Flaw, ...], tuple[float, ...], tuple[int, ...]]] = {
    "contractive": ((Flaw(bias=0.03), Flaw(bias=0.1)), (0.3, 1.0, 3.0), (2, 5, 20)),
    "plain": ((Flaw(bias=0.01), Flaw(bias=0.1)), (0.05, 0.3, 1.0), (1, 3, 10)),
    "scalar": ((Flaw(bias=0.001), Flaw(slip=0.03)), (0.003, 0.01, 0.03, 0.1), (1, 3, 10)),
    "double integrator": ((Flaw(bias=0.0003), Flaw(slip=0.03)), (0.001, 0.003, 0.01, 0.03), (1, 3)),
    "quadrotor": ((Flaw(slip=0.05, far=3.0),), (0.0001, 0.0003, 0.001, 0.01), (1, 2, 3)),
    "quadrotor, short chunks": ((Flaw(slip=0.05, far=3.0),), (0.0003,), (3,)),
}


def plan_theorems(
    preset: Preset, *, settings: Sequence[Setting] | None = None, count: int | None = None, seed: int = 0
) -> list[TheoremJob]:
    """All cells of a preset.

    Args:
        preset: `quick`: 600 rollouts of either kind a cell; `full`: 2,000, and twice as many ε.
        settings: Only these.
        count: Rollouts, in place of the preset's.
        seed: Of all rollouts.
    """
    match preset:
        case "quick":
            rollouts, levels = count or 600, EPSILONS
        case "full":
            rollouts, levels = count or 2000, (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.6, 1.0)
        case _:
            assert_never(preset)
    return [
        TheoremJob(setting, flaw, sigma, chunks, rollouts, seed, levels)
        for setting in settings or _GRID
        for flaw, sigma, chunks in itertools.product(*_GRID[setting])
    ]


def theorems(
    jobs: Sequence[TheoremJob],
    folder: Path,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[dict[str, Any]]:
    """Run the study: one flat row a cell and ε (`measure`).

    Args:
        jobs: The cells, from `plan_theorems`.
        folder: Where finished cells are kept; a stopped study goes on from there.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of cells done.
    """
    run_kept(jobs, _run, partial(_path, folder), workers=workers, on_done=on_done)
    return [row for job in jobs for row in json.loads(_path(folder, job).read_text())]


def cell_of(job: TheoremJob) -> Cell:
    """The rollouts of a job and the bound that speaks of them."""
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
    """One row an ε: bound, measured loss with its interval, floor, ratio, and what the bound says of itself.

    `bound` is `None` where an assumption is known to fail (`broken` says which); `ratio` is bound over measured, with
    its interval, and `None` without a bound or where the interval of what was measured reaches down to nothing.
    """
    cell = cell_of(job)
    losses = imitation_losses(cell.rollouts, job.epsilons)
    intervals = population_intervals(cell.rollouts, losses, seed=job.seed).worst
    floors = expert_floor(cell.rollouts, job.epsilons).worst
    found = list[dict[str, Any]]()
    for place, eps in enumerate(job.epsilons):
        measured = intervals[place]
        bound = cell.bound(eps, measured)
        exact = None if cell.exact is None else cell.exact(eps)
        # below, what was measured may be the bias of matching alone
        surely = not bound.broken and measured.low > 0
        found.append(
            {
                "system": cell.system,
                "theorem": cell.theorem,
                "flaw": cell.flaw,
                "eps": eps,
                "sigma": cell.sigma,
                "chunks": cell.chunks,
                "bound": None if bound.broken else bound.value,
                "measured": measured.mean,
                "measured_low": measured.low,
                "measured_high": measured.high,
                "floor": float(floors[place]),
                "exact": exact,
                "ratio": bound.ratio if surely else None,
                "ratio_low": bound.value / measured.high if surely else None,
                "ratio_high": bound.value / measured.low if surely else None,
                "vacuous": bound.vacuous,
                "holds": bool(bound.holds) and (exact is None or exact <= bound.value),
                "broken": "; ".join(bound.broken),
                "rollouts": job.count,
            }
        )
    return found


def _run(job: TheoremJob) -> bytes:
    return json.dumps(measure(job)).encode()


def _path(folder: Path, job: TheoremJob) -> Path:
    return folder / "cells" / f"{job.name}.json"
