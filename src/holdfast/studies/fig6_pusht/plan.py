"""Figure 6 of Block et al. 2023 (arXiv 2307.14619) on Push-T: what observation noise does to cloning of people.

For N human demonstrations and noise σ: the published score of policies trained with noise and run without it
(*train*), with the same noise (*replica*), and of those that know no noise (*none*). The paper's law of noise is
Gaussian; the code behind its figure draws σ U[0, 1), whose mean σ/2 shifts every observation in training and for the
replica, but not for *train*. Here both laws are measured, and with the uniform one a third deployment, *shift*, which
adds σ/2 and no spread: it tells how much of the difference is the shift alone.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, assert_never

import torch

from ...data import Isotropic, MeanShift, NoiseLaw, UniformAsPublished, read
from ...envs.pusht import PUSHT_FIRST_TEST_SEED
from ...errors import DataError
from ...evaluation import Estimate, crossed, over_seeds
from ...learn import default_recipe
from ...models import Diffusion
from ...nn import FilmMlp
from ...policy import Execution
from ...recipe import Recipe, Training
from ..engine.trials import Trial, TrialResult

__all__ = ["Fig6", "Preset", "compare_deployments", "plan_fig6", "summarize_fig6"]

Preset = Literal["quick", "full"]
Law = Literal["gaussian", "uniform"]
LAWS: tuple[Law, ...] = ("gaussian", "uniform")
NOISE: dict[Law, NoiseLaw] = {"gaussian": Isotropic(), "uniform": UniformAsPublished()}

FULL_DEMOS = (10, 20, 40, 90)
FULL_SIGMAS = (0.0, 0.03, 0.05, 0.07, 0.1, 0.3, 0.5, 1.0)
QUICK_DEMOS = (20, 90)
QUICK_SIGMAS = (0.0, 0.05, 0.2)
EPISODES = 50


@dataclass(frozen=True)
class Fig6:
    """The study's values.

    Attributes:
        rows: One flat object a number of demonstrations, σ, law and deployment, over its seeds.
        comparisons: Paired differences between deployments, over seeds and starts.
        seconds: Time spent in training, summed over trainings.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    seconds: float


def plan_fig6(
    preset: Preset,
    data: Path,
    *,
    seeds: int,
    demos: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    steps: int | None = None,
    episodes: int = EPISODES,
) -> list[Trial]:
    """All trainings of a preset; *train* and *replica* share theirs.

    Args:
        preset: `quick`, or the paper's whole grid.
        data: The Push-T demonstrations.
        seeds: Training seeds; each also chooses its demonstrations.
        demos: Numbers of demonstrations, in place of the preset's.
        sigmas: Noise levels, in place of the preset's.
        steps: Updates, in place of the preset's.
        episodes: Test starts, the same for all.

    Raises:
        DataError: The data are not of Push-T.
    """
    recorded = read(data)
    if recorded.system != "pusht":
        raise DataError(f"{data} holds demonstrations of {recorded.system or 'an unnamed task'}, not of Push-T.")
    match preset:
        case "quick":
            numbers, levels, updates = demos or QUICK_DEMOS, sigmas or QUICK_SIGMAS, steps or 3000
        case "full":
            numbers, levels, updates = demos or FULL_DEMOS, sigmas or FULL_SIGMAS, steps or 20_000
        case _:
            assert_never(preset)
    base = replace(_small(default_recipe(recorded), updates), data=str(data.resolve()))
    noises: list[tuple[Law, float]] = [(law, sigma) for sigma in levels for law in (LAWS if sigma > 0 else LAWS[:1])]
    return [
        _trial(base, seed, n_demos, law, sigma, episodes)
        for seed, n_demos, (law, sigma) in itertools.product(range(seeds), numbers, noises)
    ]


def _small(recipe: Recipe, updates: int) -> Recipe:
    """A network and a training of minutes: what is compared are ways of noising, with all else held fixed."""
    network = FilmMlp(widths=(512,) * 3, activation="mish", linear_skip=True, bounded=False)
    training = Training(
        steps=updates,
        batch_size=256,
        warmup_steps=min(500, updates // 4),
        ema_decay=0.999,
        precision=recipe.training.precision,
    )
    execution = replace(recipe.policy.execution, n_action_steps=8, sigma_deploy=0.0)
    # two observations and chunks of 16, as published
    policy = replace(recipe.policy, model=Diffusion(network=network), n_obs_steps=2, horizon=16, execution=execution)
    return replace(recipe, policy=policy, training=training)


def _trial(base: Recipe, seed: int, n_demos: int, law: Law, sigma: float, episodes: int) -> Trial:
    recipe = replace(
        base, seed=seed, n_demos=n_demos, training=replace(base.training, sigma_train=sigma, noise_law=NOISE[law])
    )
    return Trial(
        name=f"{law}-n{n_demos}-sigma{sigma:g}-seed{seed}",
        recipe=recipe,
        deployments=_deployments(base.policy.execution, law, sigma),
        episodes=episodes,
        first_seed=PUSHT_FIRST_TEST_SEED,
    )


def _deployments(quiet: Execution, law: Law, sigma: float) -> dict[str, Execution]:
    if sigma == 0:
        return {"none": quiet}

    def noisy(law: NoiseLaw) -> Execution:
        return replace(quiet, sigma_deploy=sigma, noise_law=law)

    match law:
        case "gaussian":
            return {"train": quiet, "replica": noisy(NOISE[law])}
        case "uniform":
            return {"train": quiet, "replica": noisy(NOISE[law]), "shift": noisy(MeanShift())}
        case _:
            assert_never(law)


def summarize_fig6(results: Sequence[TrialResult]) -> Fig6:
    """Rows over seeds, and the paired differences that the figure is about."""
    trainings = {result.trial.name: result.train_seconds for result in results}
    groups = _groups(results)
    rows = [_row(key, group) for key, group in groups.items()]
    return Fig6(rows, compare_deployments(groups), sum(trainings.values()))


Key = tuple[int, float, str, str]
"""N, σ, law and deployment."""


def _groups(results: Sequence[TrialResult]) -> dict[Key, list[TrialResult]]:
    groups: dict[Key, list[TrialResult]] = {}
    for result in results:
        recipe = result.trial.recipe
        drawn = next(name for name, law in NOISE.items() if law == recipe.training.noise_law)
        law = drawn if recipe.training.sigma_train else "none"
        key = (recipe.n_demos or 0, recipe.training.sigma_train, law, result.deployment)
        groups.setdefault(key, []).append(result)
    return groups


def _row(key: Key, group: Sequence[TrialResult]) -> dict[str, Any]:
    n_demos, sigma, law, deployment = key
    score = over_seeds(_table(group).mean(dim=1))
    success = torch.tensor([result.success for result in group], dtype=torch.float64)
    return {
        "n_demos": n_demos,
        "sigma": sigma,
        "law": law,
        "noise": deployment,
        "seeds": [result.trial.recipe.seed for result in group],
        "score": score.mean,
        "low": score.low,
        "high": score.high,
        "success": float(success.mean()),
    }


def compare_deployments(groups: dict[Key, list[TrialResult]]) -> list[dict[str, Any]]:
    """Replica − train, shift − train, and each noisy arm − none, at the same N, paired over seeds and starts."""
    found = list[dict[str, Any]]()
    for (n_demos, sigma, law, deployment), group in groups.items():
        if sigma == 0:
            continue
        bases = {"train": (n_demos, sigma, law, "train"), "none": (n_demos, 0.0, "none", "none")}
        for name, key in bases.items():
            if deployment != name and key in groups:
                found.append(_difference((n_demos, sigma, law, deployment), name, group, groups[key]))
    return found


def _difference(key: Key, base: str, group: Sequence[TrialResult], of: Sequence[TrialResult]) -> dict[str, Any]:
    table = _table(group) - _table(of)
    paired: Estimate = crossed(table)
    seeds: Estimate = over_seeds(table.mean(dim=1))
    n_demos, sigma, law, deployment = key
    return {
        "n_demos": n_demos,
        "sigma": sigma,
        "law": law,
        "noise": deployment,
        "minus": base,
        "difference": paired.mean,
        "low": min(paired.low, seeds.low),
        "high": max(paired.high, seeds.high),
        "seeds_in_favour": int((table.mean(dim=1) > 0).sum()),
        "seeds": table.shape[0],
    }


def _table(group: Sequence[TrialResult]) -> torch.Tensor:
    """Scores, seeds × starts, the seeds in order so that differences pair them."""
    ordered = sorted(group, key=lambda result: result.trial.recipe.seed)
    return torch.tensor([result.score for result in ordered], dtype=torch.float64)
