"""Success and entropy on Avoid of policies cloned from D3IL's human demonstrations: the trained rows of the table.

    python benchmarks/avoid.py --data DATA/avoiding/avoiding.npz --gains --horizon 32 --execute 16 32 --steps 8000

Each call trains one policy and evaluates it with every given number of executed steps, with 10 deterministic and with
100 stochastic sampling steps.
"""

import argparse
from dataclasses import replace

import torch

from holdfast.control import Tvlqr
from holdfast.data import read
from holdfast.envs import make_environment, rollout
from holdfast.evaluation import summarize
from holdfast.learn import default_recipe, planner_of, prepare, train_to_end
from holdfast.models import Diffusion, Sampler
from holdfast.nn import ResidualMlp
from holdfast.policy import Execution, Policy
from holdfast.recipe import Recipe


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Recipe of a residual MLP on the human demonstrations, with gains on the actual position or without gains."""
    recipe = default_recipe(read(options.data), gains=options.gains)
    model = Diffusion(network=ResidualMlp(width=256, blocks=options.blocks))
    policy = replace(
        recipe.policy, n_obs_steps=1, horizon=options.horizon, model=model, execution=Execution(n_action_steps=1)
    )
    training = replace(
        recipe.training,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=1e-3,
        precision="float32",
        ema_decay=0.995,
        sigma_train=0.0,
    )
    synthesis = Tvlqr((0.0, 0.0, 1.0, 1.0, 0.0, 0.0), 1.0) if options.gains else recipe.synthesis
    return replace(recipe, policy=policy, training=training, synthesis=synthesis, seed=options.seed)


def main() -> None:
    """Train once, evaluate every way of execution, and print success and entropy with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--gains", action="store_true")
    parser.add_argument("--horizon", type=int, default=8)
    parser.add_argument("--execute", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--rollouts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = recipe_of(options)
    data = prepare(recipe, read(options.data))
    planner = planner_of(recipe, data, train_to_end(recipe, data))
    environment = make_environment("avoid", options.rollouts)
    for executed in options.execute:
        for sampler in (Sampler(steps=10), Sampler(steps=100, eta=1.0)):
            planner.model.options = replace(recipe.policy.model, sampler=sampler)
            execution = Execution(n_action_steps=executed)
            policy = Policy(planner, execution=execution)
            found = summarize(rollout(policy, environment, starts=range(options.rollouts)), environment)
            print(f"execute {executed}, {sampler.steps} steps: success {found['score']}, entropy {found['entropy']}")


if __name__ == "__main__":
    main()
