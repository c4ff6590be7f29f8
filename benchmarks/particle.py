"""Success on IBC's particle task of an energy model with Langevin sampling and of regression, with one network.

    nice python benchmarks/particle.py --families regression langevin

There are 2000 demonstrations in the plane, as published. Each call trains each family once and evaluates it on the same
held-out seeds; `--first-seed 50000` selects tuning seeds instead. Times are processor times on one core.
"""

import argparse
import time
from dataclasses import replace

import torch

from holdfast.data import Actions
from holdfast.envs import Environment, make_environment, rollout
from holdfast.envs.particle import particle_demonstrations
from holdfast.envs.registry import FIRST_TEST_SEED
from holdfast.evaluation import summarize
from holdfast.learn import planner_of, prepare, train_to_end
from holdfast.models import DerivativeFree, Energy, Langevin, Regression
from holdfast.nn import FilmMlp
from holdfast.policy import Execution, Policy, PolicySpec
from holdfast.recipe import Recipe, Training
from holdfast.seeding import stream
from holdfast.types import Episodes

NETWORK = FilmMlp(widths=(128, 128, 128, 128), bounded=False)
# The published setting has 8 chains of 100 moves in training, 512 in sampling and a free slope of 1, on a GPU. On one
# core the chains are shorter, so the energy may be steeper and the moves are longer.
CHAINS = Langevin(
    negatives=8,
    training_iterations=6,
    candidates=16,
    iterations=25,
    first_step=0.3,
    largest_move=0.3,
    margin=5.0,
)
FAMILIES = {
    "regression": Regression(network=NETWORK),
    "langevin": Energy(network=NETWORK, search=CHAINS),
    "derivative-free": Energy(network=NETWORK, search=DerivativeFree(negatives=64, candidates=256)),
}


def recipe_of(family: str, episodes: Episodes, options: argparse.Namespace) -> Recipe:
    """Recipe of one action per plan, from one observation or two."""
    dims = episodes.actions.shape[1]
    policy = PolicySpec(
        n_states=2 * dims,
        n_actions=dims,
        n_observed=4 * dims,
        codec=Actions(),
        model=FAMILIES[family],
        n_obs_steps=options.observations,
        horizon=1,
        execution=Execution(n_action_steps=1, action_low=(0.0,) * dims, action_high=(1.0,) * dims),
    )
    # an update of regression is about twenty times cheaper, so it gets more of them
    steps = options.regression_steps if family == "regression" else options.steps
    training = Training(
        steps=steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_steps=100,
        sigma_train=options.sigma,
    )
    return Recipe(policy=policy, training=training, seed=options.seed)


def main() -> None:
    """Train and evaluate each family once; print success with 95 % intervals, and processor time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=["regression", "langevin"])
    parser.add_argument("--demonstrations", type=int, default=2000)
    parser.add_argument("--dims", type=int, default=2)
    parser.add_argument("--observations", type=int, default=2)
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--regression-steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--sigma", type=float, default=0.0, help="noise on normalized observations in training")
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=FIRST_TEST_SEED)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = stream(options.seed, "demonstrate", "particle")
    episodes = particle_demonstrations(options.demonstrations, rng=rng, dims=options.dims)
    environment = make_environment(f"particle:{options.dims}", options.episodes)
    seeds = range(options.first_seed, options.first_seed + options.episodes)
    for family in options.families:
        recipe = recipe_of(family, episodes, options)
        began = time.process_time()
        data = prepare(recipe, episodes)
        planner = planner_of(recipe, data, train_to_end(recipe, data))
        trained = time.process_time() - began
        ways = {family: recipe.policy.model}
        if isinstance(recipe.policy.model, Energy):
            # the same weights, executing a sample from the distribution that the energy defines
            ways[f"{family}, drawn"] = replace(recipe.policy.model, greedy=False)
        for name, options_of_way in ways.items():
            planner.model.options = options_of_way
            evaluate_policy(name, Policy(planner, execution=recipe.policy.execution), environment, seeds, trained)


def evaluate_policy(name: str, policy: Policy, environment: Environment, seeds: range, trained: float) -> None:
    """Evaluate on all seeds and print one line."""
    began = time.process_time()
    found = rollout(policy, environment, starts=seeds)
    took = (time.process_time() - began) / (environment.steps * len(seeds))
    print(
        f"{name}: success {summarize(found, environment)['success']}, first goal missed by "
        f"{float(found.extra['first'].median()):.3f}, second by {float(found.extra['second'].median()):.3f} "
        f"(medians); training {trained:.0f} s, a plan {1e3 * took:.2f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
