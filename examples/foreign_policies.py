"""Diagnose policies of other libraries: a Stable-Baselines3 model, a scikit-learn regressor, a queued policy.

    python examples/foreign_policies.py

The classes below have the interfaces of these libraries; pass your own trained models in their place. The task is to
move a point mass to the origin. Two of the policies solve it; the regressor has learnt the force without the damping,
swings ever farther, and drifts. A policy with a queue of planned actions needs one instance per episode.
"""

from collections import deque

import gymnasium
import numpy as np

import holdfast as hf


class PointMass(gymnasium.Env):
    """A point mass, solved if it rests within 5 cm of the origin; observes position [m] and velocity [m/s]."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-3, 3, (1,), np.float64)

    def reset(self, *, seed=None, options=None):  # noqa: ANN001, ANN201
        """Begin at rest, 0.5 to 1 m from the origin."""
        super().reset(seed=seed)
        side = self.np_random.choice([-1.0, 1.0])
        self.state = np.array([side * self.np_random.uniform(0.5, 1.0), 0.0])
        return self.state.copy(), {}

    def step(self, action):  # noqa: ANN001, ANN201
        """Accelerate for 0.1 s."""
        position, velocity = self.state
        self.state = np.array([position + 0.1 * velocity, velocity + 0.1 * action[0]])
        solved = bool(np.abs(self.state).max() < 0.05)
        return self.state.copy(), -float(np.abs(self.state).max()), solved, False, {"is_success": solved}


class PpoModel:
    """The interface of a Stable-Baselines3 model."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):  # noqa: ANN001, ANN201
        """Actions of all episodes, and the hidden state, of which there is none."""
        return -2.0 * observation[:, :1] - 2.5 * observation[:, 1:], state


class Regressor:
    """The interface of a scikit-learn regressor of one target."""

    def predict(self, X):  # noqa: ANN001, ANN201
        """One number per row."""
        return -2.0 * X[:, 0] + 0.3 * X[:, 1]


class Queued:
    """Plans two actions at a time, like policies with action chunks."""

    def __init__(self) -> None:
        self.queue = deque[np.ndarray]()

    def __call__(self, observation):  # noqa: ANN001, ANN204
        """The next planned action."""
        if not self.queue:
            self.queue.extend([-2.0 * observation[:1] - 2.5 * observation[1:]] * 2)
        return self.queue.popleft()


def main() -> None:
    """Refuse the queued policy as it is, and diagnose all three."""
    task = gymnasium.wrappers.TimeLimit(PointMass(), max_episode_steps=100)
    try:
        hf.evaluate(Queued(), task, episodes=12)
    except hf.HoldfastError as reason:
        print(f"one queue for all episodes: {reason}")
    for name, policy in (("ppo", PpoModel()), ("regressor", Regressor()), ("queued", hf.PerEpisode(Queued))):
        diagnosis = hf.diagnose(policy, task, starts=12, name=name, sweeps=False)
        findings = hf.verdict(diagnosis)
        print(f"{name}: {hf.judgement(findings)}, success {diagnosis.estimates['success']}")
        for finding in findings:
            print(f"  {finding.tone:8} {finding.claim}")


if __name__ == "__main__":
    main()
