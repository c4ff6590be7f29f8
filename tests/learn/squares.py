"""A red square on blue, whose place only the picture shows: pictures and an environment."""

from dataclasses import replace

import torch

from holdfast.envs import Environment, Step
from holdfast.seeding import stream
from holdfast.types import Observation

SIZE = 24


def painted(targets):
    """A red square on blue, at targets in [-1, 1]²."""
    pictures = torch.zeros(len(targets), SIZE, SIZE, 3, dtype=torch.uint8)
    pictures[..., 2] = 120
    for picture, (x, y) in zip(pictures, ((targets + 1) / 2 * (SIZE - 9) + 4).round().int().tolist(), strict=True):
        picture[y - 2 : y + 3, x - 2 : x + 3] = torch.tensor([250, 0, 0], dtype=torch.uint8)
    return pictures


class Squares(Environment):
    """Episodes that show one square each; the reward is the nearness of the action."""

    name, dt, steps, n_actions = "squares", 0.1, 4, 2

    def __init__(self, camera="top", size=SIZE):
        self.camera, self.size = camera, size

    def reset(self, starts):
        self.targets = torch.stack([2 * torch.rand(2, generator=stream(int(s), "start")) - 1 for s in starts])
        self.count = 0
        return self._shown()

    def step(self, actions):
        self.count += 1
        return replace(self._shown(), reward=-(actions - self.targets).square().sum(-1))

    def _shown(self):
        state = torch.full((len(self.targets), 2), 0.5, dtype=torch.float64)
        pictures = painted(self.targets)[:, : self.size]
        first = Step.first(Observation(state=state, images={self.camera: pictures} if self.camera else {}), state)
        return replace(first, truncated=torch.full_like(first.truncated, self.count >= self.steps))
