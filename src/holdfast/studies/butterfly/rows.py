"""What study butterfly computes from its traces: oscillations, ratios, rank correlations, roughness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.loss_against_behavior import oscillation, oscillation_ratio, rank_correlation, roughness
from ...evaluation import Estimate, over_seeds
from ...learn.tracing import LIVE
from ..quadrotor.arms import Gains
from ..quadrotor.cells import geometric, verdict

__all__ = ["Cell", "Traced", "base_of", "comparisons_of", "landscapes_of", "rows_of"]

LOSSES = ("training_loss", "held_out_loss", "unexplained")


@dataclass(frozen=True)
class Cell:
    """What the seeds of a training have in common.

    Attributes:
        gains: What is cloned.
        family: "regression" or "diffusion".
        batch: Windows an update.
        schedule: Of the learning rate: "held" or "cosine".
    """

    gains: Gains
    family: str
    batch: int
    schedule: str


@dataclass(frozen=True)
class Traced:
    """What came of one training.

    Attributes:
        seen: Kind of weights → measure → its values at the checkpoints.
        line: Measure → its values along one update; empty where there is no line.
        seconds: Of training and flying.
    """

    seen: dict[str, dict[str, list[float]]]
    line: dict[str, list[float]]
    seconds: float


def rows_of(cells: Mapping[Cell, Sequence[Traced]], memories: Mapping[str, float]) -> list[dict[str, Any]]:
    """One flat object a cell and kind of weights, over its seeds.

    `score`, `unexplained`: mean over checkpoints, then seeds; `distance`: geometric mean. `worst`: the lowest score of
    any checkpoint, mean over seeds. `…_oscillation`: geometric mean over seeds of the std about a straight trend; of
    the distance and of `loss`, the held-out one, it is that of the natural logarithm. `…_ratio`: that oscillation over
    the live weights'. `<loss>_tells`: Spearman's ρ of the loss and the distance over the checkpoints, mean over seeds,
    where 1 is a loss that ranks the checkpoints; `…_tells_changes`: of their changes. `<loss>_score`: of the loss and
    the score.

    Args:
        cells: Trainings, one a seed.
        memories: Kind of weights → updates that its average remembers, 1 for live weights.
    """
    return [
        {**vars(cell), "weights": weights, "memory": memories[weights], "runs": len(group), **_row(group, weights)}
        for cell, group in cells.items()
        for weights in group[0].seen
    ]


def base_of(cells: Sequence[Cell], like: Cell) -> Cell:
    """The smallest batch at a held rate, of the same kind of cloning and family."""
    own = [cell for cell in cells if (cell.gains, cell.family, cell.schedule) == (like.gains, like.family, "held")]
    return min(own, key=lambda cell: cell.batch)


def comparisons_of(cells: Mapping[Cell, Sequence[Traced]]) -> list[dict[str, Any]]:
    """Oscillation of the live weights beside other cells', paired by seed: ratios below 1 are steadier."""
    found = list[dict[str, Any]]()
    for cell, group in cells.items():
        base = base_of(list(cells), cell)
        if cell != base:
            found.append({**vars(cell), "against": f"batches of {base.batch}, held", **_beside(group, cells[base])})
        raw = next((one for one in cells if one == Cell("none", cell.family, cell.batch, cell.schedule)), None)
        if cell.gains != "none" and raw is not None:
            found.append({**vars(cell), "against": "raw actions", **_beside(group, cells[raw])})
    return found


def landscapes_of(cells: Mapping[Cell, Sequence[Traced]]) -> list[dict[str, Any]]:
    """Loss and score along one update, of the trainings that have such a line."""
    return [
        {
            **vars(cell),
            **one.line,
            "score_roughness": roughness(torch.tensor(one.line["score"])),
            "distance_roughness": roughness(_log(torch.tensor(one.line["distance"]))),
            "loss_roughness": roughness(torch.tensor(one.line["held_out_loss"])),
        }
        for cell, group in cells.items()
        for one in group
        if one.line
    ]


def _row(group: Sequence[Traced], weights: str) -> dict[str, Any]:
    score, distance = _table(group, weights, "score"), _log(_table(group, weights, "distance"))
    missed = _table(group, weights, "unexplained")
    row = {
        **_flat("score", over_seeds(score.mean(1))),
        **_flat("worst", over_seeds(score.min(1).values)),
        **_flat("distance", geometric(distance.mean(1).exp())),
        **_flat("unexplained", over_seeds(missed.mean(1))),
        **_flat("score_oscillation", geometric(oscillation(score))),
        **_flat("distance_oscillation", geometric(oscillation(distance))),
        **_flat("loss_oscillation", geometric(oscillation(_log(_table(group, weights, "held_out_loss"))))),
        **_flat("unexplained_oscillation", geometric(oscillation(missed))),
        "diverged": float(_table(group, weights, "diverged").mean()),
    }
    for loss in LOSSES:
        curves = _table(group, weights, loss)
        row |= _flat(f"{loss}_tells", _correlated(curves, distance))
        row |= _flat(f"{loss}_tells_changes", _correlated(curves.diff(dim=1), distance.diff(dim=1)))
        row |= _flat(f"{loss}_score", _correlated(curves, score))
    return row if weights == LIVE else row | _ratios(group, weights)


def _ratios(group: Sequence[Traced], weights: str) -> dict[str, Any]:
    found = dict[str, Any]()
    for name in ("score", "distance", "unexplained"):
        ratio = oscillation_ratio(_measure(group, weights, name), _measure(group, LIVE, name))
        found |= {**_flat(f"{name}_ratio", ratio), f"{name}_verdict": verdict(ratio, 1.0)}
    return found


def _beside(group: Sequence[Traced], base: Sequence[Traced]) -> dict[str, Any]:
    found = dict[str, Any]()
    for name in ("score", "distance"):
        ratio = oscillation_ratio(_measure(group, LIVE, name), _measure(base, LIVE, name))
        found |= {**_flat(f"{name}_ratio", ratio), f"{name}_verdict": verdict(ratio, 1.0)}
    return found


def _correlated(x: Float[Tensor, "runs t"], y: Float[Tensor, "runs t"]) -> Estimate:
    """Mean rank correlation over trainings: Student's interval, or of one training its own, within [−1, 1].

    Trainings in which one of the two does not move have none, and are left out.
    """
    each = [rank_correlation(one, other) for one, other in zip(x, y, strict=True)]
    known = [one for one in each if one.mean == one.mean]
    if len(known) < 2:
        return known[0] if known else each[0]
    found = over_seeds(torch.tensor([one.mean for one in known], dtype=torch.float64))
    return Estimate(found.mean, max(-1.0, found.low), min(1.0, found.high))


def _measure(group: Sequence[Traced], weights: str, name: str) -> Float[Tensor, "runs t"]:
    values = _table(group, weights, name)
    return _log(values) if name == "distance" else values


def _table(group: Sequence[Traced], weights: str, name: str) -> Float[Tensor, "runs t"]:
    return torch.tensor([one.seen[weights][name] for one in group], dtype=torch.float64)


def _log(values: Tensor) -> Tensor:
    # flights are never nearer than rounding
    return values.clamp(min=1e-9).log()


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
