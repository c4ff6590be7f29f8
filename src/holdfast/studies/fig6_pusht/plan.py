"""Trainings of study fig6-pusht and their rows: Figure 6 of Block et al. 2023 (arXiv 2307.14619) on Push-T.

For N human demonstrations and noise σ: the published score of policies trained with noise and deployed without it
(*train*), with the same noise (*replica*), and of those without any noise (*none*). The paper's noise is Gaussian; the
code behind its figure draws σ U[0, 1), whose mean σ/2 shifts every observation in training and for the replica, but not
for *train*. Both laws are measured here, and with the uniform one a third deployment, *shift*, which adds σ/2 without
noise: it shows how much of the difference is due to the shift alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never

import torch

from ...data import Isotropic, MeanShift, NoiseLaw, UniformAsPublished, read
from ...envs import FIRST_TEST_SEED
from ...errors import DataError
from ...evaluation import over_seeds
from ...learn import default_recipe
from ...models import Diffusion
from ...nn import FilmMlp
from ...policy import Execution
from ...recipe import Recipe, Training
from ..engine.jobs import grouped
from ..engine.statistics import flat, paired_difference, seeds_in_favour, table_of
from ..engine.trials import Trial, TrialResult

Law = Literal["gaussian", "uniform"]
LAWS: tuple[Law, ...] = ("gaussian", "uniform")
NOISE: dict[Law, NoiseLaw] = {"gaussian": Isotropic(), "uniform": UniformAsPublished()}


def base_recipe(data: Path, updates: int) -> Recipe:
    """The recipe that all trainings share."""
    recorded = read(data)
    if recorded.system != "pusht":
        raise DataError(f"{data} holds demonstrations of {recorded.system or 'an unnamed task'}, not of Push-T.")
    return replace(_small(default_recipe(recorded), updates), data=str(data.resolve()))


def _small(recipe: Recipe, updates: int) -> Recipe:
    """Network and training that take minutes: only the noise differs between trainings."""
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


def trial_of(base: Recipe, seed: int, n_demos: int, law: Law, sigma: float, episodes: int) -> Trial:
    """One training with its deployments; *train* and *replica* share it."""
    recipe = replace(
        base, seed=seed, n_demos=n_demos, training=replace(base.training, sigma_train=sigma, noise_law=NOISE[law])
    )
    return Trial(
        name=f"{law}-n{n_demos}-sigma{sigma:g}-seed{seed}",
        recipe=recipe,
        deployments=_deployments(base.policy.execution, law, sigma),
        episodes=episodes,
        first_seed=FIRST_TEST_SEED,
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


Key: TypeAlias = tuple[int, float, str, str]
"""N, σ, law and deployment."""


def groups_of(results: Sequence[TrialResult]) -> dict[Key, list[TrialResult]]:
    """Results of each cell, one element per seed."""
    return grouped((_cell(result), result) for result in results)


def _cell(result: TrialResult) -> Key:
    recipe = result.trial.recipe
    drawn = next(name for name, law in NOISE.items() if law == recipe.training.noise_law)
    law = drawn if recipe.training.sigma_train else "none"
    return recipe.n_demos or 0, recipe.training.sigma_train, law, result.deployment


def rows_of(groups: Mapping[Key, Sequence[TrialResult]]) -> list[dict[str, Any]]:
    """One wide row per cell."""
    return [_row(key, group) for key, group in groups.items()]


def _row(key: Key, group: Sequence[TrialResult]) -> dict[str, Any]:
    return {
        **_settings(key),
        **flat("score", over_seeds(_scores(group).mean(dim=1))),
        "success": float(table_of([result.success for result in group]).mean()),
        "seeds": [result.trial.recipe.seed for result in group],
        "episodes": len(group[0].score),
    }


def _settings(key: Key) -> dict[str, Any]:
    return dict(zip(("n_demos", "sigma", "law", "noise"), key, strict=True))


def comparisons_of(groups: Mapping[Key, Sequence[TrialResult]]) -> list[dict[str, Any]]:
    """Replica − train, shift − train, and each noisy arm − none, at the same N, paired over seeds and starts."""
    found = list[dict[str, Any]]()
    for key, group in groups.items():
        n_demos, sigma, law, deployment = key
        bases = {"train": (n_demos, sigma, law, "train"), "none": (n_demos, 0.0, "none", "none")}
        for name, base in bases.items():
            if sigma > 0 and deployment != name and base in groups:
                table = _scores(group) - _scores(groups[base])
                found.append(
                    {
                        **_settings(key),
                        "against": name,
                        **flat("difference", paired_difference(table)),
                        "seeds_in_favour": seeds_in_favour(table),
                        "seeds": table.shape[0],
                    }
                )
    return found


def _scores(group: Sequence[TrialResult]) -> torch.Tensor:
    """Scores `[seeds, starts]`, the seeds in order, so that differences pair them."""
    return table_of([result.score for result in sorted(group, key=lambda result: result.trial.recipe.seed)])
