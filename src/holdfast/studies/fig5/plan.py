"""Rows, comparisons and references of study fig5 (Block et al. 2023, arXiv 2307.14619, Figure 5)."""

from collections.abc import Sequence
from typing import Any

import torch

from ...control import Dare, MpcExpert, Receding, Tvlqr
from ...control.synthesis import Synthesis
from ...data import MinMax
from ...evaluation import mean_over_starts, over_seeds, rate
from ...learn import attach_controllers, choose_episodes
from ...policy import ChunkExecutor, EmpiricalDeconvolution
from ..engine.jobs import grouped
from ..engine.statistics import flat, paired_difference, seeds_in_favour, table_of
from ..quadrotor.arms import Arm, Gains, Setting, recipe_of
from ..quadrotor.cells import row_of
from ..quadrotor.run_arms import ArmResult
from ..quadrotor.world import HoverRegulator, QuadrotorWorld

FULL_SIGMAS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.3, 0.5)


def _against_demos(gains: bool, sigma: float, scores: Sequence[float]) -> dict[tuple[int, bool, float], float]:
    return {(n, gains, sigma): score for n, score in zip((1, 2, 3, 4, 5, 10), scores, strict=True)}


def _against_noise(gains: bool, n_demos: int, scores: Sequence[float]) -> dict[tuple[int, bool, float], float]:
    sigmas = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.3)
    return {(n_demos, gains, sigma): score for sigma, score in zip(sigmas, scores, strict=False)}


_DIGITISED = {
    **_against_demos(True, 0.0, (0.31, 0.61, 0.71, 0.84, 0.88, 0.97)),
    **_against_demos(True, 0.02, (0.46, 0.71, 0.83, 0.90, 0.90, 0.98)),
    **_against_demos(True, 0.1, (0.68, 0.85, 0.85, 0.92, 0.95, 0.96)),
    **_against_demos(True, 0.3, (0.93, 0.93, 0.93, 0.93, 0.93, 0.92)),
    **_against_demos(False, 0.0, (0.006, 0.04, 0.085, 0.32, 0.31, 0.714)),
    **_against_demos(False, 0.3, (0.0,) * 6),
    **_against_noise(True, 1, (0.31, 0.32, 0.35, 0.46, 0.54, 0.59, 0.66, 0.68, 0.93)),
    **_against_noise(True, 3, (0.71, 0.76, 0.77, 0.83, 0.84, 0.85, 0.84, 0.85, 0.93)),
    **_against_noise(True, 5, (0.88, 0.89, 0.88, 0.90, 0.91, 0.92, 0.94, 0.95, 0.93)),
    **_against_noise(True, 10, (0.97, 0.98, 0.98, 0.98, 0.97, 0.97, 0.97, 0.96, 0.92)),
    **_against_noise(False, 3, (0.085, 0.065, 0.03)),
    **_against_noise(False, 5, (0.31, 0.19, 0.054, 0.018)),
    **_against_noise(False, 10, (0.714, 0.57, 0.38, 0.11, 0.06, 0.02)),
}

PUBLISHED_POINTS: list[dict[str, Any]] = [
    {"n_demos": n_demos, "gains": gains, "sigma": sigma, "score": score}
    for (n_demos, gains, sigma), score in _DIGITISED.items()
]
"""Means of the paper's figure, digitised from the authors' notebook to ± 0.01."""


def _groups(results: Sequence[ArmResult]) -> dict[tuple[Any, ...], list[ArmResult]]:
    def cell(result: ArmResult) -> tuple[Any, ...]:
        arm = result.arm
        return arm.setting, arm.n_demos, arm.gains, arm.sigma, result.noise, arm.film_defect, arm.range_defect

    return grouped((cell(result), result) for result in results)


def rows_of(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """One wide row per arm and way of deployment, over its seeds."""
    return [_row(group) for group in _groups(results).values()]


def _row(group: Sequence[ArmResult]) -> dict[str, Any]:
    arm = group[0].arm
    return {
        **{key: value for key, value in vars(arm).items() if key not in ("seed", "steps")},
        "noise": group[0].noise,
        **row_of(group, mean=over_seeds, rate=lambda events: rate(events.flatten())),
        "seeds": [one.arm.seed for one in group],
    }


def comparisons_of(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """Every arm with one demonstration and gains minus the best of raw actions with ten, paired by seed and start."""
    groups = _groups(results)
    raw = [group for (_, n, gains, *_), group in groups.items() if n == 10 and gains == "none"]
    one = [group for (_, n, gains, *_), group in groups.items() if n == 1 and gains != "none"]
    if not raw or not one:
        return []
    best = max(raw, key=lambda group: _scores(group).mean().item())
    return [_difference(group, best) for group in one]


def _scores(group: Sequence[ArmResult]) -> torch.Tensor:
    return table_of([one.score for one in group])


def _difference(group: Sequence[ArmResult], base: Sequence[ArmResult]) -> dict[str, Any]:
    table = _scores(group) - _scores(base)
    return {
        "gains": group[0].arm.gains,
        "n_demos": 1,
        "sigma": group[0].arm.sigma,
        "noise": group[0].noise,
        "against": "raw actions, 10 demonstrations",
        "base_sigma": base[0].arm.sigma,
        "base_noise": base[0].noise,
        **flat("difference", paired_difference(table)),
        "seeds_in_favour": seeds_in_favour(table),
        "seeds": table.shape[0],
    }


def references(world: QuadrotorWorld, setting: Setting, seeds: int) -> list[dict[str, Any]]:
    """Wide rows of what needs no training: the expert, hover regulators, and the law a perfect learner would sample."""
    own = tuple(float(value) for value in world.task.weights()[1].diagonal())
    regulators: dict[str, Synthesis] = {
        "hover + Kx, Q = R = I": Dare(),
        "hover + Kx, the expert's cost": Tvlqr(action_weight=own),
        "hover + Kx, the expert's own feedback": Receding(action_weight=own, horizon=MpcExpert(world.task).horizon),
    }
    found = [{"name": "expert", "score": 1.0, "distance": 0.0}]
    found += [_judged(name, world, HoverRegulator(world.task, method).policy()) for name, method in regulators.items()]
    kinds: tuple[Gains, ...] = ("tvlqr", "receding") if setting == "holdfast" else ("dare",)
    return found + [_empirical(world, setting, kind, n, seeds) for kind in kinds for n in (1, 10)]


def _judged(name: str, world: QuadrotorWorld, policy: ChunkExecutor) -> dict[str, Any]:
    comparison = world.judge(world.fly(policy))
    score = mean_over_starts(comparison.score)
    return {"name": name, **flat("score", score), "distance": float(comparison.distance.median())}


def _empirical(world: QuadrotorWorld, setting: Setting, kind: Gains, n_demos: int, seeds: int) -> dict[str, Any]:
    """Exact law of the noised demonstrations (σ = 0.1), averaged over the seeds' choices of demonstrations."""
    found = list[dict[str, Any]]()
    for seed in range(seeds):
        arm = Arm(setting, n_demos, kind, 0.1, seed)
        recipe = recipe_of(arm)
        chosen, _ = choose_episodes(recipe, world.pool)
        law = EmpiricalDeconvolution(
            chosen,
            attach_controllers(recipe, chosen),
            MinMax.fit(chosen.observed.vector),
            sigma=arm.sigma,
            horizon=recipe.policy.horizon,
            n_obs_steps=recipe.policy.n_obs_steps,
            clip=recipe.policy.execution.clip_observation,
        )
        policy = ChunkExecutor(
            law, n_obs_steps=law.n_obs_steps, n_action_steps=recipe.policy.execution.n_action_steps, seed=seed
        )
        found.append(_judged("", world, policy))
    values = {key: sum(item[key] for item in found) / len(found) for key in ("score", "distance")}
    return {"name": f"exact law of {n_demos} demonstration{'s' * (n_demos > 1)}, {kind}, σ = 0.1", **values}
