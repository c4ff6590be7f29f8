"""From arrays in memory to a policy that is trained, evaluated in an environment of your own, and diagnosed.

    python examples/own_environment.py

Replace `PointMass` by your simulator and `demonstrations` by your recordings.
"""

from collections.abc import Sequence
from dataclasses import replace
from tempfile import mkdtemp

import numpy as np
import torch

import holdfast as hf


class PointMass(hf.Environment):
    """A point mass on a line, to be moved to the origin by a force; the state is (position, velocity)."""

    name, dt, steps, n_actions = "point-mass", 0.1, 60, 1

    def reset(self, starts: Sequence[int] | torch.Tensor) -> hf.Step:
        """Begin one episode per seed."""
        draws = [np.random.default_rng(int(seed)).uniform(-1, 1, 2) for seed in starts]
        self.state, self.time = torch.tensor(np.stack(draws), dtype=torch.float32), 0
        return hf.Step.first(hf.Observation(state=self.state), self.state)

    def step(self, actions: torch.Tensor) -> hf.Step:
        """Advance all episodes by one control step."""
        change = torch.stack([self.state[:, 1], actions[:, 0]], dim=1)
        self.state, self.time = self.state + self.dt * change, self.time + 1
        timeout = torch.full((len(actions),), self.time >= self.steps)
        step = hf.Step.first(hf.Observation(state=self.state), self.state)
        distance = self.state.square().sum(dim=1).sqrt()
        return replace(step, reward=-distance, truncated=timeout, success=distance < 0.1)


def demonstrations() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """States `[T, 2]` and actions `[T, 1]` of 30 episodes of a hand-written controller."""
    controller = hf.PlainPolicy(lambda state: [-2 * state[0] - 2 * state[1]])
    found = hf.rollout(controller, PointMass(), starts=range(30)).trajectory
    return list(found.states[:, :-1].numpy()), list(found.actions.numpy())


def main() -> None:
    """Train, evaluate, diagnose."""
    episodes = hf.episodes_from_arrays(*demonstrations(), dt=0.1)
    recipe = hf.default_recipe(episodes)
    recipe = replace(recipe, training=replace(recipe.training, steps=200, batch_size=64))
    run, page = mkdtemp(prefix="run-"), mkdtemp(prefix="diagnosis-")
    hf.fit(recipe, hf.prepare(recipe, episodes), run)
    policy = hf.load(run)

    print("success", hf.evaluate(policy, PointMass(), episodes=20).estimates["success"])
    diagnosis = hf.diagnose(policy, PointMass(), demonstrations=episodes, sweeps=False)
    for finding in hf.verdict(diagnosis):
        print(finding.tone, finding.claim)
    print(hf.write_diagnosis(page, diagnosis)[-1])


if __name__ == "__main__":
    main()
