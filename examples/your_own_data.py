"""Train a policy on arrays in memory, and use it for control.

    python examples/your_own_data.py

Replace `recorded` by your own states and actions. Here a point mass is moved to a random target: the observation
consists of position, velocity and target, and the action is a force.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import holdfast as hf


def recorded(count: int = 40, steps: int = 60) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """States `[T, 6]` (position, velocity, target) and actions `[T, 2]` of each episode."""
    rng = np.random.default_rng(0)
    states, actions = [], []
    for _ in range(count):
        position, velocity, target = rng.uniform(-1, 1, 2), np.zeros(2), rng.uniform(-1, 1, 2)
        xs, us = [], []
        for _ in range(steps):
            force = 4 * (target - position) - 3 * velocity
            xs.append(np.concatenate([position, velocity, target]))
            us.append(force)
            position, velocity = position + 0.05 * velocity, velocity + 0.05 * force
        states.append(np.stack(xs))
        actions.append(np.stack(us))
    return states, actions


def main() -> None:
    """Train, load and run the policy."""
    states, actions = recorded()
    episodes = hf.episodes_from_arrays(states, actions, dt=0.05)
    recipe = hf.default_recipe(episodes)
    recipe = replace(recipe, training=replace(recipe.training, steps=1000, batch_size=128))
    with TemporaryDirectory() as folder:
        hf.fit(recipe, hf.prepare(recipe, episodes), Path(folder))
        policy = hf.load(folder)

    policy.reset()
    position, velocity = torch.tensor([-0.5, 0.5]), torch.zeros(2)
    target = torch.tensor([0.6, -0.2])
    for _ in range(80):
        force = policy.select_action({"observation.state": torch.cat([position, velocity, target])})
        position, velocity = position + 0.05 * velocity, velocity + 0.05 * force
    print(f"target {[round(v, 2) for v in target.tolist()]}, reached {[round(v, 2) for v in position.tolist()]}")
    print(f"a chunk has {tuple(policy.predict_action_chunk(torch.cat([position, velocity, target])).shape)} actions")


if __name__ == "__main__":
    main()
