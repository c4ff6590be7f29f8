"""Scores of quadrotor episodes, their rows over training seeds, and paired comparisons.

A cell is one policy in one way of deployment, scored start by start; a row summarises a cell over its training seeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor

from ...evaluation import Comparison, Estimate, over_seeds
from ..engine import Preset
from ..engine.jobs import Job, run_jobs
from ..engine.options import Stage
from ..engine.statistics import flat, geometric_mean, paired_difference, paired_ratio, share, side_of, table_of
from .world import QuadrotorWorld, digest_of_world, make_world, read_world

J = TypeVar("J", bound=Job)
R = TypeVar("R")

QUICK_WORLD, FULL_WORLD = (20, 32), (50, 64)
"""Number of demonstrations to choose from, and of held-out starts."""


@dataclass(frozen=True)
class Scored:
    """Episodes compared with the expert's, start by start (see `evaluation.Comparison`)."""

    score: list[float]
    distance: list[float]
    diverged: list[bool]


def scored(comparison: Comparison) -> Scored:
    """A comparison as plain lists."""
    return Scored(
        score=[float(value) for value in comparison.score],
        distance=[float(value) for value in comparison.distance],
        diverged=[bool(value) for value in comparison.diverged],
    )


def shared_world(folder: Path, preset: Preset, size: tuple[int, int] | None = None) -> QuadrotorWorld:
    """The demonstrations and starts in a study's folder, made if they are missing; fewer in `quick`."""
    demonstrations, starts = size or (QUICK_WORLD if preset == "quick" else FULL_WORLD)
    return make_world(folder / "world", demonstrations=demonstrations, starts=starts)


@cache
def world_of(folder: Path) -> QuadrotorWorld:
    """The demonstrations and starts in a study's folder, read once per process."""
    return read_world(folder / "world")


def world_digest(folder: Path) -> str:
    """Digest of the demonstrations and starts in a study's folder."""
    return digest_of_world(folder / "world")


def run_in_world(
    jobs: Sequence[J],
    work: Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]],
    folder: Path,
    read: Callable[..., R],
    stage: Stage,
    *,
    alike: Callable[[J], str] = lambda job: "",
    size: int = 1,
    workers: int | None = None,
) -> list[list[R]]:
    """Work the training runs of a study on the world in its folder (see `run_jobs`)."""
    common: dict[str, Any] = {
        "tag": world_digest(folder),
        "workers": workers,
        "on_done": stage("training runs", len(jobs)),
    }
    return run_jobs(jobs, work, folder, read, alike=alike, size=size, **common)


def row_of(
    group: Sequence[Scored],
    *,
    mean: Callable[[Float[Tensor, " seeds"]], Estimate] = geometric_mean,
    rate: Callable[[Bool[Tensor, "seeds starts"]], Estimate] = share,
) -> dict[str, Any]:
    """Summary of a cell over its seeds.

    `score`: mean over starts, then over seeds, with Student's interval over seeds. `distance`: median over starts, then
    `mean` over seeds; by default geometric, since distances of a diverging policy differ by factors. `diverged`: share
    of episodes.
    """
    return {
        **flat("score", over_seeds(table_of([one.score for one in group]).mean(dim=1))),
        **flat("distance", mean(table_of([one.distance for one in group]).quantile(0.5, dim=1))),
        **flat("diverged", rate(table_of([one.diverged for one in group]) > 0)),
        "seeds": len(group),
        "episodes": len(group[0].score),
    }


def comparison_of(group: Sequence[Scored], base: Sequence[Scored]) -> dict[str, Any]:
    """Comparison of two cells, paired by seed and start: difference of scores, geometric mean ratio of distances."""
    one, other = [table_of([each.score for each in cell]) for cell in (group, base)]
    score = paired_difference(one - other)
    distance = paired_ratio(*(table_of([each.distance for each in cell]) for cell in (group, base)))
    return {
        **flat("score_difference", score),
        "score_side": side_of(score, 0.0),
        **flat("distance_ratio", distance),
        "distance_side": side_of(distance, 1.0),
    }
