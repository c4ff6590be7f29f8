"""Trainings of study families: every family on three tasks at equal budgets.

    task        question                                          data
    obstacle    are both ways of a fork learned, not their mean?  100 scripted demonstrations, sides at random
    avoid       are many ways learned, precisely?                 the 96 human demonstrations of D3IL
    pusht       is a task with contact solved?                    the 206 human demonstrations of Diffusion Policy

Within a task all families see the same windows for the same number of updates with the same optimiser, and start from
the same initial states. Families that are built around a network share it; the autoregressive ones use a causal
transformer, LSTM-GMM and ACT their own networks. Differences in cost are reported: parameters, training time, network
calls and planning time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...data import Actions, read, write
from ...envs import FIRST_TEST_SEED
from ...envs.obstacle import obstacle_demonstrations
from ...errors import UnknownNameError
from ...learn import default_recipe
from ...models import (
    FAMILY_NAMES,
    AutoregressiveTokens,
    AverageVelocitySampler,
    Cvae,
    DerivativeFree,
    Diffusion,
    Energy,
    Family,
    IndependentTokens,
    MeanFlow,
    Mixture,
    Sampler,
    bet,
    family_named,
)
from ...nn import Gpt, ResidualMlp, Transformer
from ...policy import Ensemble, Execution
from ...recipe import Recipe, Training
from ...seeding import stream
from ...tokens import Binning, Fast, Fsq, KMeans, ResidualVq
from ..engine import Preset
from ..engine.trials import Trial, stored_data

TASKS = ("obstacle", "avoid", "pusht")
ARMS_OF = {"tokens": ("bins",), "autoregressive": ("bins-autoregressive",), "vq-bet": ("vq-bet", "fast")}
ARMS = tuple(arm for name in FAMILY_NAMES for arm in ARMS_OF.get(name, (name,)))
"""Every family in the table; the families of tokens are named by tokenizer."""

TOKEN_ARMS = (
    "bins",
    "bins-autoregressive",
    "kmeans-autoregressive",
    "bet",
    "vq-autoregressive",
    "vq-bet",
    "fsq-autoregressive",
    "fast",
)
"""Families that study tokens compares."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Budget of every family on a task: sizes of the shared networks, AdamW, chunks, episodes, and the noise σ."""

    width: int
    blocks: int
    updates: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    ema_decay: float = 0.999
    horizon: int = 16
    n_action_steps: int = 8
    episodes: int
    sigma: float = 0.0
    token_width: int = 64
    negatives: int = 16


_PUSHT = Budget(width=256, blocks=2, updates=3000, ema_decay=0.998, n_action_steps=10, episodes=50, sigma=0.02)
_FULL = {"blocks": 3, "updates": 16_000, "batch_size": 256, "width": 512, "token_width": 192, "negatives": 64}
BUDGETS: dict[tuple[str, Preset], Budget] = {
    ("obstacle", "quick"): Budget(width=128, blocks=2, updates=3000, ema_decay=0.995, episodes=200),
    ("obstacle", "full"): Budget(width=128, blocks=2, updates=12_000, episodes=500, negatives=64),
    ("avoid", "quick"): Budget(width=256, blocks=2, updates=2000, ema_decay=0.995, episodes=240),
    ("avoid", "full"): Budget(**_FULL, episodes=480),
    ("pusht", "quick"): _PUSHT,
    ("pusht", "full"): replace(_PUSHT, **_FULL, learning_rate=5e-4, weight_decay=1e-4, ema_decay=0.9995),
}


def budget_of(task: str, preset: Preset) -> Budget:
    """Budget of a task."""
    if task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    return BUDGETS[task, preset]


_TOKENIZERS = {
    "bins-autoregressive": Binning(),
    "fast": Fast(),
    "kmeans-autoregressive": KMeans(),
    "vq-autoregressive": ResidualVq(),
    "fsq-autoregressive": Fsq(),
}


def arm_named(name: str, budget: Budget) -> Family:
    """A family with the study's options."""
    network = ResidualMlp(width=budget.width, blocks=budget.blocks)
    tokens = Gpt(layers=2, heads=4, width=budget.token_width)
    match name:
        case "diffusion":
            return Diffusion(network, sampler=Sampler(steps=30, eta=1.0))
        case "meanflow":
            # with the published times and weights it solved no episode of the obstacle within these budgets
            return MeanFlow(network, times="uniform", power=0.0, sampler=AverageVelocitySampler(steps=4))
        case "mixture":
            return Mixture(network, components=16)
        case "bins":
            return IndependentTokens(Binning(), network)
        case "bet":
            return bet(network=network, clusters=64)
        case _ if name in _TOKENIZERS:
            return AutoregressiveTokens(_TOKENIZERS[name], tokens)
        case "act":
            # encoder and decoder of the size that all transformers have here: minutes, not days
            return Cvae(Transformer(), Transformer(), kl_weight=10.0, deploy="zero")
        case "energy":
            return Energy(network, search=DerivativeFree(negatives=budget.negatives, candidates=256))
        case _ if name in ARMS:
            return family_named(name, network)
        case _:
            raise UnknownNameError("family", name, (*ARMS, *TOKEN_ARMS))


def plan_families(
    preset: Preset,
    data: Sequence[tuple[str, Path]],
    *,
    seeds: int,
    arms: Sequence[str] = ARMS,
    updates: int | None = None,
) -> list[Trial]:
    """All trainings of a preset, the long ones first, so that no core idles at the end."""
    trials = list[Trial]()
    for task, path in data:
        budget = budget_of(task, preset)
        budget = replace(budget, updates=updates or budget.updates)
        base = _base(task, path, budget)
        for seed in range(seeds):
            trials += [_trial(base, task, arm, budget, seed) for arm in arms]
    return sorted(trials, key=lambda trial: trial.recipe.training.steps * _cost(trial), reverse=True)


def _cost(trial: Trial) -> int:
    """Rough cost of an update, relative to the cheapest family."""
    match trial.recipe.policy.model:
        case AutoregressiveTokens(tokenizer=Binning()):
            return 8
        case AutoregressiveTokens():
            return 5
        case Energy() | Cvae():
            return 3
        case _:
            return 1


def _base(task: str, path: Path, budget: Budget) -> Recipe:
    episodes = read(path)
    recipe = default_recipe(episodes, gains=False)
    execution = Execution(n_action_steps=budget.n_action_steps, sigma_deploy=budget.sigma)
    policy = replace(recipe.policy, codec=Actions(), n_obs_steps=1, horizon=budget.horizon, execution=execution)
    training = Training(
        steps=budget.updates,
        batch_size=budget.batch_size,
        learning_rate=budget.learning_rate,
        warmup_steps=min(500, budget.updates // 4),
        weight_decay=budget.weight_decay,
        ema_decay=budget.ema_decay,
        sigma_train=budget.sigma,
        # the networks of the other tasks are too small to gain from another precision
        precision=recipe.training.precision if task == "pusht" else "float32",
    )
    return replace(recipe, policy=policy, training=training, environment=task, data=str(path.resolve()))


def _trial(base: Recipe, task: str, arm: str, budget: Budget, seed: int) -> Trial:
    execution = base.policy.execution
    if arm == "act":
        # part of the method: a plan at every step, and temporal ensembling of overlapping plans
        execution = replace(execution, n_action_steps=1, ensemble=Ensemble())
    policy = replace(base.policy, model=arm_named(arm, budget), execution=execution)
    recipe = replace(base, seed=seed, policy=policy)
    return Trial(
        name=f"{task}-{arm}-seed{seed}",
        recipe=recipe,
        deployments={arm: recipe.policy.execution},
        episodes=budget.episodes,
        first_seed=FIRST_TEST_SEED,
    )


def demonstrations_of(task: str, folder: Path, *, count: int = 100, otherwise: str = "") -> Path:
    """Demonstrations of a task; those of the obstacle are recorded in the study's folder once.

    Args:
        task: One of `TASKS`.
        folder: The study's folder.
        count: Number of recorded demonstrations.
        otherwise: What else can be done where a file is missing. Default: leave the task out of --tasks.

    Raises:
        DataError: A file of demonstrations is missing.
        UnknownNameError: There is no such task.
    """
    otherwise = otherwise or f"leave the task out: give --tasks without {task}"
    match task:
        case "obstacle":
            path = folder / "data" / "obstacle.npz"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write(obstacle_demonstrations(count, rng=stream(0, "study", "obstacle")), path)
            return path
        case "avoid":
            return stored_data("avoiding/avoiding.npz", "D3IL's demonstrations of Avoid", otherwise=otherwise)
        case "pusht":
            return pusht_data(otherwise)
        case _:
            raise UnknownNameError("task", task, TASKS)


def pusht_data(otherwise: str) -> Path:
    """The human demonstrations of Push-T of Diffusion Policy; `otherwise` is for where they are missing."""
    place, what = "pusht/pusht_cchi_v7_replay.zarr", "Diffusion Policy's demonstrations of Push-T"
    return stored_data(place, what, otherwise=otherwise)
