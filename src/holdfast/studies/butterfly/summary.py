"""From the checkpoints of study butterfly to its rows, comparisons and curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.loss_against_behavior import oscillation, oscillation_ratio, rank_correlation, roughness
from ...evaluation import Estimate, over_seeds
from ...learn.tracing import LIVE
from ..engine.statistics import flat, geometric_mean, side_of, table_of
from .plan import ButterflyJob, Cell, Traced

_COMPARED = ("score", "distance")
LOSSES = ("training_loss", "held_out_loss", "unexplained")


def rows_of(cells: Mapping[Cell, Sequence[Traced]], memories: Mapping[str, float]) -> list[dict[str, Any]]:
    """One wide row per cell and kind of weights, over its seeds.

    `score`, `unexplained`: mean over checkpoints, then seeds; `distance`: geometric mean. `worst`: the lowest score of
    any checkpoint, mean over seeds. `…_oscillation`: geometric mean over seeds of the std about a straight trend; of
    the natural logarithm for the distance and for `loss`, the held-out one. `…_ratio`: that oscillation over the live
    weights'. `<loss>_tells`: Spearman's ρ of the loss and the distance over the checkpoints, mean over seeds, where 1
    is a loss that ranks the checkpoints; `…_tells_changes`: the same for their changes. `<loss>_score`: Spearman's ρ of
    the loss and the score.
    """
    return [
        {**vars(cell), "weights": weights, "memory": memories[weights], "seeds": len(group), **_row(group, weights)}
        for cell, group in cells.items()
        for weights in group[0].seen
    ]


def base_of(cells: Sequence[Cell], like: Cell) -> Cell:
    """The cell with the smallest batch at a held rate, of the same gains and family."""
    own = [cell for cell in cells if (cell.gains, cell.family, cell.schedule) == (like.gains, like.family, "held")]
    return min(own, key=lambda cell: cell.batch)


def comparisons_of(cells: Mapping[Cell, Sequence[Traced]]) -> list[dict[str, Any]]:
    """Oscillation of the live weights relative to other cells', paired by seed: ratios below 1 are steadier."""
    found = list[dict[str, Any]]()
    for cell, group in cells.items():
        base = base_of(list(cells), cell)
        if cell != base:
            found.append(
                {
                    **vars(cell),
                    "against": f"batches of {base.batch}, held",
                    **_ratios(group, LIVE, cells[base], _COMPARED),
                }
            )
        raw = next((one for one in cells if one == Cell("none", cell.family, cell.batch, cell.schedule)), None)
        if cell.gains != "none" and raw is not None:
            found.append({**vars(cell), "against": "raw actions", **_ratios(group, LIVE, cells[raw], _COMPARED)})
    return found


def landscapes_of(cells: Mapping[Cell, Sequence[Traced]]) -> list[dict[str, Any]]:
    """Loss and score along one update, for the trainings that have such a line."""
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
    row: dict[str, Any] = {
        **flat("score", over_seeds(score.mean(1))),
        **flat("worst", over_seeds(score.min(1).values)),
        **flat("distance", geometric_mean(distance.mean(1).exp())),
        **flat("unexplained", over_seeds(missed.mean(1))),
        **flat("score_oscillation", geometric_mean(oscillation(score))),
        **flat("distance_oscillation", geometric_mean(oscillation(distance))),
        **flat("loss_oscillation", geometric_mean(oscillation(_log(_table(group, weights, "held_out_loss"))))),
        **flat("unexplained_oscillation", geometric_mean(oscillation(missed))),
        "diverged": float(_table(group, weights, "diverged").mean()),
    }
    for loss in LOSSES:
        curves = _table(group, weights, loss)
        row |= flat(f"{loss}_tells", _correlated(curves, distance))
        row |= flat(f"{loss}_tells_changes", _correlated(curves.diff(dim=1), distance.diff(dim=1)))
        row |= flat(f"{loss}_score", _correlated(curves, score))
    return row if weights == LIVE else row | _ratios(group, weights, group)


def _ratios(
    group: Sequence[Traced],
    weights: str,
    base: Sequence[Traced],
    names: Sequence[str] = ("score", "distance", "unexplained"),
) -> dict[str, Any]:
    """Oscillations relative to those of the live weights of `base`."""
    found = dict[str, Any]()
    for name in names:
        ratio = oscillation_ratio(_measure(group, weights, name), _measure(base, LIVE, name))
        found |= {**flat(f"{name}_ratio", ratio), f"{name}_side": side_of(ratio, 1.0)}
    return found


def _correlated(x: Float[Tensor, "runs t"], y: Float[Tensor, "runs t"]) -> Estimate:
    """Mean rank correlation over trainings within [−1, 1]: Student's interval, or a single training's own.

    Trainings in which one of the two is constant have no correlation and are omitted.
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
    return table_of([one.seen[weights][name] for one in group])


def _log(values: Tensor) -> Tensor:
    # distances below rounding have no logarithm
    return values.clamp(min=1e-9).log()


def traces_of(traced: Mapping[ButterflyJob, Traced]) -> list[dict[str, Any]]:
    """Curves over the checkpoints, one per training and kind of weights."""
    return [
        {**vars(job.cell), "seed": job.arm.seed, "weights": weights, "step": list(job.at), **curves}
        for job, one in traced.items()
        for weights, curves in one.seen.items()
    ]
