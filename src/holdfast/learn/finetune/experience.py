"""Experience: whole episodes, played together, with the denoising path of every plan.

Episodes are played as `envs.rollout` plays them: the policy is asked at every step, plans every `n_action_steps` steps
from noised observations, and its controllers (ū, x̄, K) act on the newest state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...envs import Environment, Rollout, check_fit, fit_of, warn_of, within_bounds
from ...envs.recorder import Recorder
from ...errors import DivergedError
from ...policy import ChunkExecutor, Filtered, Planner, Smoothed
from ...types import Observation, Prefix, PrimitiveControllers, Window
from .process import Path, Process


@dataclass(frozen=True)
class Plan:
    """One plan of every episode: what the policy saw, the state of the critic, and the denoising path."""

    seen: Window
    state: Float[Tensor, "b s"]
    path: Path


@dataclass(frozen=True)
class Explorer:
    """Planner that samples from a process and notes its plans.

    Attributes:
        smoothed: The policy's noise on its observations, with its planner.
        process: Process that is sampled.
        plans: Plans so far.
    """

    smoothed: Smoothed
    process: Process
    plans: list[Plan] = field(default_factory=lambda: list[Plan]())

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions for windows."""
        planner = self.smoothed.planner
        seen = planner.model_input(self.smoothed.noised(window, rng=rng)).vector
        path = self.process.path(seen, rng=rng)
        if not bool(path.isfinite().all()):
            raise DivergedError("a plan of the policy is not finite. Lower the learning rate (--learning-rate).")
        self.plans.append(Plan(seen, self.state_of(window), path))
        return planner.controllers(self.process.executed(path[:, -1]), like=window.vector)

    def state_of(self, window: Observation) -> Float[Tensor, "b s"]:
        """What the critic sees: the normalised window, without noise."""
        planner = self.smoothed.planner
        return planner.model_input(planner.normalize(window)).vector.flatten(1)


@dataclass(frozen=True)
class Experience:
    """Plans `[t, b]` of a batch of episodes.

    Attributes:
        seen: Observation windows of the policy.
        states: Windows of the critic.
        following: Windows of the critic after the plan, or at the episode's end within it.
        paths: Denoising paths.
        rewards: Sum of the rewards of the plan's steps.
        running: Plans that were made before their episode was over.
        terminated: Plans in which the episode ended by itself, or was lost.
        truncated: Plans in which it reached the time limit.
        control_steps: Control steps of all episodes, without those after their ends.
        rollout: The episodes.
    """

    seen: Float[Tensor, "t b o d"]
    states: Float[Tensor, "t b s"]
    following: Float[Tensor, "t b s"]
    paths: Float[Tensor, "t b k h w"]
    rewards: Float[Tensor, "t b"]
    running: Bool[Tensor, "t b"]
    terminated: Bool[Tensor, "t b"]
    truncated: Bool[Tensor, "t b"]
    control_steps: int
    rollout: Rollout


@torch.no_grad()
def play(
    planner: Planner,
    process: Process,
    environment: Environment,
    starts: Sequence[int],
    *,
    seed: int,
    warn: bool = False,
) -> Experience:
    """Episodes of a policy that explores.

    Args:
        planner: Planner with the policy's scales and execution.
        process: Process that makes the chunks.
        environment: Environment of as many episodes as there are starts.
        starts: Seed of each episode.
        seed: Random seed of the policy.
        warn: Warn of what differs from the policy's training.

    Raises:
        InterfaceError: The policy was trained on coordinates of other names or units.
        ShapeError: The policy was trained for other observations, states or actions.
        DivergedError: A plan is not finite.
    """
    now = environment.reset(starts)
    explorer, executor = _exploring(planner, process, seed)
    limits = planner.spec.execution.filter
    acting = executor if limits is None else Filtered(executor, limits)
    fitted = Fitted(planner, acting)
    check_fit(fitted, environment, now)
    fit = fit_of(fitted, environment, now)
    if warn:
        warn_of(fit)
    recorder = Recorder(fit.ordered(now))
    acting.reset(seed)
    ends = None
    for _ in range(environment.steps):
        before = recorder.over | recorder.lost
        chosen = acting.act(recorder.now.observation.map(torch.clone), fit.fed_back(recorder.now.state).clone())
        action, clipped, lost = within_bounds(fit.executed(chosen.to(recorder.now.state)), environment)
        recorder.add(action, fit.ordered(environment.step(action)), lost=lost, clipped=clipped)
        reached = explorer.state_of(_next_window(executor, recorder.now.observation))
        ends = reached if ends is None else torch.where(before[:, None], ends, reached)
        if bool((recorder.over | recorder.lost).all()):
            break
    assert ends is not None
    return _experience(explorer.plans, recorder.rollout(environment), ends, executor.n_action_steps)


@dataclass(frozen=True)
class Fitted:
    """An actor with the specification and the interface that environments are compared with."""

    planner: Planner
    acting: ChunkExecutor | Filtered

    @property
    def spec(self) -> object:
        """Specification of the policy."""
        return self.planner.spec

    @property
    def interface(self) -> object:
        """What the policy was trained on."""
        return self.planner.interface

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self.acting.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next actions."""
        return self.acting.act(observation, state)


def _exploring(planner: Planner, process: Process, seed: int) -> tuple[Explorer, ChunkExecutor]:
    """The planner that notes its plans, and its executor with the policy's settings."""
    options = planner.spec.execution
    smoothed = Smoothed(planner, sigma=options.sigma_deploy, clip=options.clip_observation, law=options.noise_law)
    explorer = Explorer(smoothed, process)
    low, high = (
        None if limits is None else torch.tensor(limits, dtype=torch.float64)
        for limits in (options.action_low, options.action_high)
    )
    executor = ChunkExecutor(
        explorer,
        n_obs_steps=planner.spec.n_obs_steps,
        n_action_steps=options.n_action_steps,
        action_low=low,
        action_high=high,
        seed=seed,
    )
    return explorer, executor


def _next_window(executor: ChunkExecutor, observation: Observation) -> Observation:
    """The window that the executor will see with a further observation."""
    length = executor.window.maxlen or 1
    seen = [*executor.window, observation][-length:]
    return Observation.stack([seen[0]] * (length - len(seen)) + seen)


def _experience(plans: list[Plan], rollout: Rollout, ends: Float[Tensor, "b s"], n_action_steps: int) -> Experience:
    """Plans with their rewards and ends; `ends` are the critic's windows at the episodes' ends."""
    count, length = len(plans), rollout.rewards.shape[1]
    first = torch.arange(count) * n_action_steps
    chunk = torch.arange(length) // n_action_steps
    rewards = rollout.rewards.new_zeros(len(ends), count).index_add_(1, chunk, rollout.rewards).T
    over = rollout.over | torch.cat([torch.zeros_like(rollout.lost[:, :1]), rollout.lost[:, :-1]], dim=1)
    running = ~over[:, first].T
    # the plan that an episode's last step belongs to
    last = torch.arange(count)[:, None] == chunk[(~over).sum(dim=1) - 1][None]
    states = torch.stack([plan.state for plan in plans])
    following = torch.where(last[..., None], ends, torch.cat([states[1:], ends[None]]))
    terminated = last & rollout.terminated[None]
    return Experience(
        seen=torch.stack([plan.seen for plan in plans]),
        states=states,
        following=following,
        paths=torch.stack([plan.path for plan in plans]),
        rewards=rewards.to(states),
        running=running,
        terminated=terminated,
        # an episode that its environment does not end is cut at the time limit
        truncated=last & ~rollout.terminated[None],
        control_steps=int((~over).sum()),
        rollout=replace(rollout, observations=None),
    )
