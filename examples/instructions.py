"""A policy that follows instructions: a point goes where it is told, with and without classifier-free guidance.

    python examples/instructions.py

All demonstrations begin near the origin, so that only the instruction tells where to go.
"""

from dataclasses import replace

import torch

import holdfast as hf
from holdfast.learn import language_of, planner_of, prepare, train_to_end

GOALS = {"go east": (1.0, 0.0), "go north": (0.0, 1.0), "go west": (-1.0, 0.0)}
GAIN = 0.2


def demonstrations(count: int = 30, steps: int = 20) -> hf.types.Episodes:
    """Flights of u = goal − x, x' = x + 0.2 u, with the instruction of each."""
    rng = torch.Generator().manual_seed(0)
    tasks = [list(GOALS)[index % len(GOALS)] for index in range(count)]
    states, actions = list[torch.Tensor](), list[torch.Tensor]()
    for task in tasks:
        goal, x = torch.tensor(GOALS[task]), 0.3 * torch.randn(2, generator=rng)
        flight = [x := x + GAIN * (goal - x) for _ in range(steps)]
        states.append(torch.stack(flight))
        actions.append(goal - states[-1])
    return replace(hf.episodes_from_arrays(states, actions, dt=0.1), tasks=tuple(tasks))


def main() -> None:
    """Train, and print how far from its goal each instruction ends."""
    torch.set_num_threads(1)
    episodes = demonstrations()
    recipe = hf.default_recipe(episodes, language=language_of(episodes))
    training = replace(recipe.training, steps=300, batch_size=128, warmup_steps=30, ema_decay=0.98)
    recipe = replace(recipe, training=training)
    data = prepare(recipe, episodes)
    policy = hf.Policy(planner_of(recipe, data, train_to_end(recipe, data)))
    for weight in (0.0, 1.0, 2.0):
        guided = policy.guided(weight)
        for task, goal in GOALS.items():
            guided.instruct(task)
            guided.reset(0)
            x = torch.zeros(20, 2)
            for _ in range(30):
                x = x + GAIN * guided.select_action(x)
            distance = (x - torch.tensor(goal)).norm(dim=1)
            print(f"guidance {weight:g}, {task}: {float((distance < 0.2).float().mean()):.0%} of 20 reach the goal")


if __name__ == "__main__":
    main()
