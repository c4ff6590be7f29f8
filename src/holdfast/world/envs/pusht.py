"""Push-T: push a T-shaped block onto its outline (Florence et al. 2021; Chi et al. 2023, arXiv 2303.04137).

The simulator is gym-pusht (extra `pusht`). A policy sees the agent's position as `observation.state` and nine
keypoints of the block as `observation.environment_state`, all in pixels of a 512 × 512 window, and says where the
agent should go: the environment's own servo (k_p = 100, k_v = 20) is the primitive controller that takes it there.

Published score: the largest clip(coverage / 0.95, 0, 1) of the episode, over 300 steps of 0.1 s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ...errors import MissingExtraError
from ...types import Observation
from ..rollout import Acts

__all__ = ["KEYPOINTS", "PUSHT_FIRST_TEST_SEED", "PUSHT_STEPS", "PushTResult", "keypoints", "push_t"]

PUSHT_STEPS = 300
PUSHT_FIRST_TEST_SEED = 100_000
"""Seeds below belong to training and tuning, as in Diffusion Policy."""

KEYPOINTS = (
    (9.2698, 90.0410),
    (-60.9835, -1.1867),
    (60.9128, -1.3934),
    (-0.2705, 25.5436),
    (-14.0649, 122.8159),
    (39.0027, 32.8574),
    (-39.9664, 32.7297),
    (-16.8243, 62.8632),
    (23.5415, -1.7003),
)
"""The block's keypoints in its own frame [px]: least squares on the published human demonstrations, whose keypoints
they reproduce to 2e-5 px wherever the block is at rest."""


@dataclass(frozen=True)
class PushTResult:
    """What came of a set of episodes.

    Attributes:
        coverage: Largest coverage of each episode, as the published score clips it.
        solved: Whether the environment called the episode a success (coverage above 0.95).
    """

    coverage: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]


def keypoints(pose: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 18"]:
    """The block's keypoints in the window for poses (x [px], y [px], angle [rad]): R(angle) p + (x, y).

    >>> keypoints(torch.tensor([100.0, 200.0, 0.0]))[:2]
    tensor([109.2698, 290.0410])
    """
    local = pose.new_tensor(KEYPOINTS)
    cos, sin = pose[..., 2, None].cos(), pose[..., 2, None].sin()
    x = cos * local[:, 0] - sin * local[:, 1] + pose[..., 0, None]
    y = sin * local[:, 0] + cos * local[:, 1] + pose[..., 1, None]
    return torch.stack([x, y], dim=-1).flatten(-2)


def push_t(
    policy: Acts,
    *,
    episodes: int,
    first_seed: int = PUSHT_FIRST_TEST_SEED,
    steps: int = PUSHT_STEPS,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> PushTResult:
    """Run a policy on `episodes` environments in step, seeded `first_seed`, `first_seed + 1`, …

    Args:
        policy: Asked once a step for all environments together.
        episodes: How many.
        first_seed: Of the first environment's reset.
        steps: Length of an episode; a solved one stands still from then on.
        seed: Of the policy's own randomness.
        on_step: Called with the number of steps done.

    Raises:
        MissingExtraError: gym-pusht is not installed.
    """
    environments = [_make() for _ in range(episodes)]
    seen = np.stack([env.reset(seed=first_seed + index)[0] for index, env in enumerate(environments)])
    best, solved = np.zeros(episodes), np.zeros(episodes, dtype=bool)
    policy.reset(seed)
    for step in range(steps):
        actions = _decide(policy, seen)
        for index in np.flatnonzero(~solved):
            seen[index], reward, done, _, _ = environments[index].step(actions[index])
            best[index] = max(best[index], float(reward))
            solved[index] = bool(done)
        on_step(step + 1)
        if solved.all():
            break
    for env in environments:
        env.close()
    return PushTResult(coverage=torch.tensor(best), solved=torch.tensor(solved))


def _decide(policy: Acts, seen: NDArray[Any]) -> NDArray[Any]:
    state = torch.tensor(seen)
    observation = Observation(state=state[:, :2], environment_state=keypoints(state[:, 2:]))
    # the servo's target must lie in the window, as the environment's action space says
    return policy.act(observation, state[:, :2]).clamp(0, 512).double().cpu().numpy()


def _make() -> Any:
    try:
        from gym_pusht.envs.pusht import PushTEnv  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtraError("gym_pusht", extra="pusht") from error
    return PushTEnv(obs_type="state", render_mode="rgb_array")
