"""Push-T in study servo."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...data import read
from ...envs import Environment, Rollout
from ...envs.pusht import PushT
from ...errors import DataError
from ...types import Episodes
from .agent import agent_steps, retargeted_agent
from .laws import Gains
from .tasks import Loop, Retargeted, ServoTask, first_rows, lengths, padded, shifted


@dataclass(frozen=True)
class PushTTask(ServoTask):
    """Push-T, whose agent is moved by a servo of gains that can be set.

    Two observations are seen, because the observation has no velocity.

    Attributes:
        data: Place of the demonstrations.
    """

    data: str

    name, unit, stiffness, executed, n_obs_steps = "pusht", "px", (25.0, 100.0, 400.0), 8, 2

    def demonstrations(self, count: int, seed: int) -> Episodes:
        return pusht_demonstrations(self.data)

    def retargeted(self, episodes: Episodes, gains: Gains) -> Retargeted:
        made, distance = retargeted_agent(episodes, gains.stiffness, gains.damping)
        return Retargeted(made, float(distance.square().mean().sqrt()))

    def environment(self, gains: Gains, count: int) -> Environment:
        return PushT(count, gains=(gains.stiffness, gains.damping))

    def loop(self, gains: Gains) -> Loop:
        # of one axis; the other is the same
        steps, inputs = agent_steps(gains.stiffness, gains.damping)
        return Loop(steps[-1], inputs[-1][:, None], torch.tensor([[1.0, 0.0]], dtype=torch.float64))

    def displaced(self, episodes: Episodes, gains: Gains, size: float, steps: int) -> Float[Tensor, "b steps"]:
        states = episodes.columns["simulator_state"][first_rows(episodes)].double()
        targets, paths = padded(episodes.actions, episodes)[:, :steps], list[Tensor]()
        for start in (states, shifted(states, size)):
            environment = self.environment(gains, len(states))
            environment.reset(start)
            paths.append(torch.stack([environment.step(target).state for target in targets.unbind(1)], 1))
            environment.close()
        return lengths(paths[1] - paths[0])

    def solved(self, found: Rollout) -> list[float]:
        assert found.success is not None
        return [float(value) for value in found.success]

    def score(self, found: Rollout) -> list[float]:
        return [float(value) for value in found.best_reward.masked_fill(found.escaped, 0.0)]


@cache
def pusht_demonstrations(place: str) -> Episodes:
    """The human demonstrations of Push-T.

    Raises:
        DataError: The data are not of Push-T, or lack the states of its simulator.
    """
    episodes = read(place)
    if episodes.system != "pusht" or "simulator_state" not in episodes.columns:
        raise DataError(
            f"expected demonstrations of Push-T with the states of its simulator in {place}, got those of "
            f"{episodes.system or 'an unnamed task'} with the columns {', '.join(episodes.columns) or 'none'}."
        )
    return episodes
