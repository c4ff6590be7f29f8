"""From trials to rows, one per task and family; the criterion of the fork."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import Any

import torch

from ...evaluation import Estimate, mode_entropy, over_both, over_starts, rate
from ..engine.jobs import grouped
from ..engine.statistics import flat, table_of
from ..engine.trials import TrialResult
from .plan import ARMS, TASKS, TOKEN_ARMS

N_MODES = {"obstacle": 2, "avoid": 24}
_PLACES = (*ARMS, *(arm for arm in TOKEN_ARMS if arm not in ARMS))
KEEPS_BOTH = (0.9, 0.25)
"""Smallest share of solved episodes, and of the rarer way among them, with which a family passes the fork."""

PUBLISHED = {
    ("pusht", "diffusion"): (0.95, "Chi et al. 2023, state, best checkpoint"),
    ("pusht", "lstm-gmm"): (0.67, "Chi et al. 2023, state, best checkpoint"),
    ("pusht", "energy"): (0.90, "Chi et al. 2023, state, best checkpoint"),
    ("pusht", "bet"): (0.79, "Chi et al. 2023, state, best checkpoint"),
    ("pusht", "vq-bet"): (0.78, "Lee et al. 2024, final overlap"),
}
"""Published scores on the same task, with their source; networks, observations and budgets differ."""


def family_rows(results: Sequence[TrialResult]) -> list[dict[str, Any]]:
    """One wide row per task and family, in the order of the study."""
    groups = grouped(((result.trial.recipe.environment or "", result.deployment), result) for result in results)
    order = sorted(groups, key=lambda key: (TASKS.index(key[0]), _PLACES.index(key[1])))
    return [_row(task, family, groups[task, family]) for task, family in order]


def keeps_both_ways(row: Mapping[str, Any]) -> bool:
    """Whether a family passes the fork: see `KEEPS_BOTH`."""
    solved, rarer = KEEPS_BOTH
    return row["success"] >= solved and row["rarer_way"] >= rarer


def _row(task: str, family: str, group: Sequence[TrialResult]) -> dict[str, Any]:
    score, success = (_over([getattr(one, name) for one in group]) for name in ("score", "success"))
    row: dict[str, Any] = {
        "task": task,
        "family": family,
        "seeds": len(group),
        "episodes": len(group[0].score),
        **flat("score", score),
        **flat("success", success),
        "parameters": group[0].parameters,
        "updates": group[0].trial.recipe.training.steps,
        "train_seconds": mean(one.train_seconds for one in group),
        "network_calls": round(median(one.network_calls for one in group)),
        "plan_ms": median(one.plan_ms for one in group),
    }
    if task in N_MODES:
        row |= _ways(task, group)
    if (task, family) in PUBLISHED:
        row["published"], row["published_in"] = PUBLISHED[task, family]
    return row


def _ways(task: str, group: Sequence[TrialResult]) -> dict[str, Any]:
    """Entropy of the ways of solved episodes, share of the rarer of two, share of episodes with a collision."""
    modes = torch.tensor([mode for one in group for mode in _solved_modes(one)], dtype=torch.float64)
    entropy = mode_entropy(modes, N_MODES[task])
    touched = rate(torch.tensor([value > 0 for one in group for value in one.extra["collided"]]))
    found = {**flat("entropy", entropy), "collided": touched.mean}
    if N_MODES[task] == 2:
        known = modes[~modes.isnan()]
        right = float(known.mean()) if len(known) else 0.0
        found["rarer_way"] = min(right, 1 - right)
    return found


def _solved_modes(result: TrialResult) -> Iterable[float]:
    pairs = zip(result.extra["mode"], result.success, strict=True)
    return [mode if solved else float("nan") for mode, solved in pairs]


def _over(values: Sequence[Sequence[float]]) -> Estimate:
    """Mean over seeds and starts, with the wider of the two intervals; of a single training over its starts."""
    table = table_of(values)
    return over_both(table) if len(table) > 1 else over_starts(table[0])
