"""Figure 5 of Block et al. 2023 (arXiv 2307.14619): cloning gains against cloning raw actions on the 2-D quadrotor.

For N demonstrations, noise σ and several training seeds: the score (see `evaluate.score`) of policies from the same
held-out starts, and beside it what the score does not see, the distance to the expert.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

import torch

from ...control import Dare, MpcExpert, Receding, Tvlqr
from ...control.synthesis import Synthesis
from ...data import MinMax
from ...evaluation import Estimate, bootstrap, crossed, over_seeds, rate
from ...learn import attach_controllers, choose_episodes
from ...policy import ChunkExecutor, EmpiricalDeconvolution
from ..quadrotor.arms import Arm, Gains, Setting, recipe_of
from ..quadrotor.run_arms import ArmResult, run_arms
from ..quadrotor.world import HoverRegulator, QuadrotorWorld, make_world

__all__ = ["PUBLISHED_POINTS", "Fig5", "Preset", "fig5", "plan"]

Preset = Literal["quick", "full"]

FULL_DEMOS = (1, 2, 3, 4, 5, 10, 20, 30)
FULL_SIGMAS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.3, 0.5)
QUICK_DEMOS = (1, 3, 10)
QUICK_SIGMAS = (0.0, 0.1, 0.3)


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


@dataclass(frozen=True)
class Fig5:
    """The study's values.

    Attributes:
        rows: One flat object an arm and way of deployment, over its seeds.
        comparisons: Paired differences that the text speaks of.
        references: The expert, hover regulators, and the law that a perfect learner would draw from.
        seconds: Time spent in training, summed over arms.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    references: list[dict[str, Any]]
    seconds: float


def fig5(
    arms: Sequence[Arm],
    folder: Path,
    *,
    demonstrations: int = 50,
    starts: int = 64,
    workers: int | None = None,
    device: str = "cpu",
    on_done: Callable[[int], None] = lambda done: None,
) -> Fig5:
    """Run the study.

    Args:
        arms: The trainings, from `plan`.
        folder: Where finished arms are kept; a stopped study goes on from there.
        demonstrations: Expert episodes to choose from.
        starts: Held-out initial states.
        workers: Processes; all cores if nothing is said.
        device: Where to train and to fly; on a graphics card everything of a shape is one program.
        on_done: Called with the number of arms done.
    """
    world = make_world(folder / "world", demonstrations=demonstrations, starts=starts)
    results = run_arms(arms, folder, workers=workers, device=device, on_done=on_done)
    seconds = sum({result.arm: result.train_seconds for result in results}.values())
    seeds = len({arm.seed for arm in arms})
    return Fig5(_rows(results), _comparisons(results), references(world, arms[0].setting, seeds), seconds)


def plan(
    preset: Preset,
    setting: Setting,
    *,
    seeds: int = 5,
    demos: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    film_defect: bool = False,
    range_defect: bool = False,
) -> list[Arm]:
    """All trainings of a preset.

    Args:
        preset: `quick` or the paper's whole grid.
        setting: Our best choices, or the published ones.
        seeds: Training seeds; each also chooses its demonstrations.
        demos: Numbers of demonstrations, in place of the preset's.
        sigmas: Noise levels, in place of the preset's.
        film_defect: With the published defect of the FiLM bias.
        range_defect: With the published defect of the gains' range.
    """
    match preset:
        case "quick":
            grid = (demos or QUICK_DEMOS, sigmas or QUICK_SIGMAS)
        case "full":
            grid = (demos or FULL_DEMOS, sigmas or FULL_SIGMAS)
        case _:
            assert_never(preset)
    kinds: tuple[Gains, ...] = ("none", "tvlqr", "receding") if setting == "holdfast" else ("none", "dare")
    return [
        Arm(setting, n, kind, sigma, seed, film_defect=film_defect, range_defect=range_defect)
        for seed, n, kind, sigma in itertools.product(range(seeds), grid[0], kinds, grid[1])
    ]


def _groups(results: Sequence[ArmResult]) -> dict[tuple[Any, ...], list[ArmResult]]:
    groups: dict[tuple[Any, ...], list[ArmResult]] = {}
    for result in results:
        arm = result.arm
        key = (arm.setting, arm.n_demos, arm.gains, arm.sigma, result.noise, arm.film_defect, arm.range_defect)
        groups.setdefault(key, []).append(result)
    return groups


def _rows(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    return [_row(group) for group in _groups(results).values()]


def _row(group: Sequence[ArmResult]) -> dict[str, Any]:
    arm = group[0].arm
    score = over_seeds(torch.tensor([result.score for result in group], dtype=torch.float64).mean(dim=1))
    distance = over_seeds(torch.tensor([result.distance for result in group], dtype=torch.float64).quantile(0.5, dim=1))
    diverged = rate(torch.tensor([event for result in group for event in result.diverged]))
    return {
        "setting": arm.setting,
        "n_demos": arm.n_demos,
        "gains": arm.gains != "none",
        "synthesis": arm.gains,
        "sigma": arm.sigma,
        "noise": group[0].noise,
        "film_defect": arm.film_defect,
        "range_defect": arm.range_defect,
        "seeds": [result.arm.seed for result in group],
        "score": score.mean,
        "low": score.low,
        "high": score.high,
        "distance": distance.mean,
        "distance_low": distance.low,
        "distance_high": distance.high,
        "diverged": diverged.mean,
        "diverged_low": diverged.low,
        "diverged_high": diverged.high,
    }


def _comparisons(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """Every arm with one demonstration and gains minus the best of raw actions with ten, paired by seed and start."""
    groups = _groups(results)
    raw = [group for (_, n, kind, *_), group in groups.items() if n == 10 and kind == "none"]
    one = [group for (_, n, kind, *_), group in groups.items() if n == 1 and kind != "none"]
    if not raw or not one:
        return []
    best = max(raw, key=lambda group: _table(group).mean().item())
    return [_difference(group, best) for group in one]


def _table(group: Sequence[ArmResult]) -> torch.Tensor:
    return torch.tensor([result.score for result in group], dtype=torch.float64)


def _difference(group: Sequence[ArmResult], base: Sequence[ArmResult]) -> dict[str, Any]:
    table = _table(group) - _table(base)
    paired: Estimate = crossed(table)
    seeds: Estimate = over_seeds(table.mean(dim=1))
    one, ten = group[0], base[0]
    return {
        "what": "one demonstration with gains minus ten without",
        "synthesis": one.arm.gains,
        "sigma": one.arm.sigma,
        "noise": one.noise,
        "base_sigma": ten.arm.sigma,
        "base_noise": ten.noise,
        "difference": paired.mean,
        "low": min(paired.low, seeds.low),
        "high": max(paired.high, seeds.high),
        "seeds_in_favour": int((table.mean(dim=1) > 0).sum()),
        "seeds": table.shape[0],
    }


def references(world: QuadrotorWorld, setting: Setting, seeds: int) -> list[dict[str, Any]]:
    """What the arms are to be read against."""
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
    score = bootstrap(comparison.score)
    return {
        "name": name,
        "score": score.mean,
        "low": score.low,
        "high": score.high,
        "distance": float(comparison.distance.median()),
    }


def _empirical(world: QuadrotorWorld, setting: Setting, kind: Gains, n_demos: int, seeds: int) -> dict[str, Any]:
    """The exact law of the noised demonstrations (σ = 0.1), averaged over the seeds' choices of demonstrations."""
    judged = list[dict[str, Any]]()
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
        judged.append(_judged("", world, policy))
    values = {key: sum(item[key] for item in judged) / len(judged) for key in ("score", "distance")}
    return {"name": f"exact law of {n_demos} demonstration{'s' * (n_demos > 1)}, {kind}, σ = 0.1", **values}
