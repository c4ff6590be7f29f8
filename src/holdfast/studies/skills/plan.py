"""Rows of study skills: success of each level of actions, and paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...envs.courier import SKILLS
from ...evaluation import over_seeds
from ..engine.jobs import grouped
from ..engine.statistics import flat, geometric_mean, paired_difference, seeds_in_favour, share, table_of
from .job import Cell, SkillsJob

Groups = Mapping[str, Sequence[tuple[SkillsJob, Cell]]]
"""Arm → seeds in order."""

PAIRS = (
    ("middle", "low"),
    ("high", "low"),
    ("high", "middle"),
    ("high", "high, perfect selector"),
    ("high", "high, perfect skills"),
    ("high", "high, naive switch"),
)
"""Arms whose success is compared."""


def groups_of(jobs: Sequence[SkillsJob], found: Sequence[Sequence[Cell]]) -> Groups:
    """All cells by arm."""
    pairs = [(job, cell) for job, cells in zip(jobs, found, strict=True) for cell in cells]
    pairs.sort(key=lambda pair: pair[0].seed)
    return grouped((cell.arm, (job, cell)) for job, cell in pairs)


def rows_of(groups: Groups) -> list[dict[str, Any]]:
    """One wide row per arm."""
    return [_row(arm, group) for arm, group in groups.items()]


def _row(arm: str, group: Sequence[tuple[SkillsJob, Cell]]) -> dict[str, Any]:
    solved, stages = _solved(group), table_of([cell.stage for _, cell in group])
    row = {
        "arm": arm,
        **flat("success", share(solved)),
        **flat("parts", over_seeds(stages.mean(dim=1))),
        "each": [float(value) for value in solved.double().mean(dim=1)],
        "train_seconds": sum(cell.train_seconds for _, cell in group) / len(group),
        "seeds": [job.seed for job, _ in group],
        "episodes": solved.shape[1],
        "demos": group[0][0].demos,
        "updates": group[0][0].updates,
    }
    jumps = [mean for _, cell in group if (mean := _mean_jump(cell)) is not None]
    if len(jumps) == len(group):
        row |= flat("jump", over_seeds(torch.tensor(jumps, dtype=torch.float64)))
        elsewhere = torch.tensor([cell.elsewhere for _, cell in group], dtype=torch.float64)
        row |= flat("change_elsewhere", over_seeds(elsewhere))
    if arm == "high":
        shares = [_accuracy(counts) for _, cell in group if (counts := cell.confusion) is not None]
        row |= flat("selector_accuracy", over_seeds(torch.tensor(shares, dtype=torch.float64)))
    return row


def comparisons_of(groups: Groups) -> list[dict[str, Any]]:
    """Differences of success, paired by seed and start, and the ratio of jumps of two ways of switching."""
    found = list[dict[str, Any]]()
    for arm, against in PAIRS:
        if arm not in groups or against not in groups:
            continue
        table = _solved(groups[arm]).double() - _solved(groups[against]).double()
        row: dict[str, Any] = {"arm": arm, "against": against, **flat("difference", paired_difference(table))}
        row |= {"seeds_in_favour": seeds_in_favour(table), "seeds": table.shape[0]}
        if against == "high, naive switch" and (ratios := _jump_ratios(groups[arm], groups[against])) is not None:
            row |= flat("jump_ratio", geometric_mean(ratios))
        found.append(row)
    return found


def confusion_rows(groups: Groups) -> list[dict[str, Any]]:
    """The confusion matrix of all selectors together: one row for each label, with the share of each choice."""
    known = [cell.confusion for _, cell in groups.get("high", ()) if cell.confusion is not None]
    if not known:
        return []
    counts: Float[Tensor, "k k"] = torch.tensor(known, dtype=torch.float64).sum(dim=0)
    return [
        {
            "label": name,
            "steps": int(counts[place].sum()),
            **{f"chosen_{other}": float(counts[place, at] / counts[place].sum()) for at, other in enumerate(SKILLS)},
        }
        for place, name in enumerate(SKILLS)
    ]


def _solved(group: Sequence[tuple[SkillsJob, Cell]]) -> Bool[Tensor, "seeds starts"]:
    return table_of([cell.success for _, cell in group]) > 0


def _mean_jump(cell: Cell) -> float | None:
    """Mean over the episodes with switches."""
    known = [jump for jump in cell.jump if jump is not None]
    return sum(known) / len(known) if known else None


def _jump_ratios(
    group: Sequence[tuple[SkillsJob, Cell]], base: Sequence[tuple[SkillsJob, Cell]]
) -> Float[Tensor, " seeds"] | None:
    """Mean jump of each seed over that of the base; `None` where a seed has no switches."""
    pairs = [(_mean_jump(one), _mean_jump(other)) for (_, one), (_, other) in zip(group, base, strict=True)]
    known = [one / other for one, other in pairs if one is not None and other]
    return torch.tensor(known, dtype=torch.float64) if len(known) == len(pairs) else None


def _accuracy(counts: Sequence[Sequence[int]]) -> float:
    matrix = torch.tensor(counts, dtype=torch.float64)
    return float(matrix.diagonal().sum() / matrix.sum())
