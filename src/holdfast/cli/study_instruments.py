"""The studies of the theory: each plans its jobs from the common options and runs them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UnknownNameError
from ..studies.butterfly.plan import plan_butterfly
from ..studies.imperfect_oracle.plan import plan_imperfect_oracle
from ..studies.long_horizon.plan import plan_long_horizon
from ..studies.noise_grid.plan import plan_noise_grid
from ..studies.pitfalls.plan import plan_pitfalls
from ..studies.theorems.plan import plan_theorems
from ..studies.toy.plan import plan_toy
from .study_butterfly import run_butterfly
from .study_imperfect_oracle import run_imperfect_oracle
from .study_long_horizon import run_long_horizon
from .study_noise_grid import run_noise_grid
from .study_pitfalls import run_pitfalls
from .study_theorems import run_theorems
from .study_toy import run_toy

__all__ = ["INSTRUMENT_STUDIES", "PARTS", "StudyOptions", "run_instrument_study"]

INSTRUMENT_STUDIES = ("butterfly", "imperfect-oracle", "long-horizon", "noise-grid", "pitfalls", "theorems", "toy")
PARTS = ("world", "flights", "traces", "trainings", "cells")
"""Folders that a stopped one of them leaves behind."""


@dataclass(frozen=True)
class StudyOptions:
    """What they have in common; `None` leaves the preset's own."""

    preset: Literal["quick", "full"]
    seeds: int | None
    demos: tuple[int, ...] | None
    sigmas: tuple[float, ...] | None
    updates: int | None
    workers: int | None


def run_instrument_study(name: str, out: Path, options: StudyOptions) -> None:
    """Plan and run one of `INSTRUMENT_STUDIES`.

    Raises:
        UnknownNameError: No such study.
    """
    preset, workers, updates, demos = options.preset, options.workers, options.updates, options.demos
    seeds = options.seeds or 3
    match name:
        case "noise-grid":
            jobs = plan_noise_grid(preset, seeds=seeds, demos=demos, sigmas=options.sigmas, updates=updates)
            run_noise_grid(out, jobs, preset=preset, workers=workers)
        case "long-horizon":
            flights = plan_long_horizon(preset, seeds=seeds, demos=demos, sigmas=options.sigmas, updates=updates)
            run_long_horizon(out, flights, preset=preset, workers=workers)
        case "imperfect-oracle":
            oracles = plan_imperfect_oracle(preset, seeds=seeds, demos=demos, updates=updates)
            run_imperfect_oracle(out, oracles, preset=preset, workers=workers)
        case "butterfly":
            trainings = plan_butterfly(preset, seeds=options.seeds, updates=updates)
            run_butterfly(out, trainings, preset=preset, workers=workers)
        case "pitfalls":
            run_pitfalls(
                out, plan_pitfalls(preset, seeds=options.seeds, updates=updates), preset=preset, workers=workers
            )
        case "theorems":
            run_theorems(out, plan_theorems(preset), preset=preset, workers=workers)
        case "toy":
            run_toy(out, plan_toy(preset), preset=preset)
        case _:
            raise UnknownNameError("study", name, INSTRUMENT_STUDIES)
