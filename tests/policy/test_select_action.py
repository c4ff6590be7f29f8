"""`select_action`, step by step, takes the actions that `rollout` and `evaluate` take: bit for bit, noise included."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Affine, MinMax
from holdfast.envs import make_environment, rollout
from holdfast.evaluation import evaluate
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp
from holdfast.policy import Ensemble, Execution, Planner, Policy, PolicySpec, build_model

NOISY = Execution(n_action_steps=3, sigma_deploy=0.2, clip_observation=1.0)
EXECUTIONS = {"chunks": NOISY, "ensemble": replace(NOISY, n_action_steps=1, ensemble=Ensemble(decay=0.1))}


@pytest.fixture(params=EXECUTIONS)
def execution(request):
    return EXECUTIONS[request.param]


@pytest.fixture(params=["quadrotor2d", "obstacle"])
def name(request):
    return request.param


def policy_for(name, execution) -> Policy:
    """A policy with its first weights, gains included, for an environment of fully observed states."""
    first = make_environment(name, 1).reset([0])
    n, m = first.state.shape[1], make_environment(name, 1).n_actions
    model = Diffusion(network=FilmMlp(widths=(16,), embedding=8), levels=10, sampler=Sampler(steps=3, eta=1.0))
    spec = PolicySpec(
        n_states=n,
        n_actions=m,
        n_observed=n,
        codec=Affine(),
        model=model,
        n_obs_steps=2,
        horizon=4,
        execution=execution,
    )
    scale, width = torch.ones(n).double(), m + n + m * n
    codes = 0.05 * torch.ones(width).double()
    return Policy(
        Planner(
            spec,
            build_model(spec, seed=1).eval(),
            observation_scale=MinMax(low=-scale, high=scale),
            code_scale=MinMax(low=-codes, high=codes),
        )
    )


def stepped(policy, environment, starts, *, seed, steps, single):
    """Actions `[b, t, m]` of a loop that only calls `reset` and `select_action`."""
    policy.reset(seed)
    step, actions = environment.reset(starts), []
    for _ in range(steps):
        if single:
            action = policy.select_action({"observation.state": step.observation.state[0]})[None]
        else:
            action = policy.select_action(step.observation, state=step.state)
        if environment.action_bounds is not None:
            action = action.clamp(*environment.action_bounds)
        actions.append(action)
        step = environment.step(action)
        if bool(step.over.all()):
            break
    return torch.stack(actions, dim=1)


@pytest.mark.parametrize("single", [True, False])
def test_step_by_step_as_in_a_rollout(name, execution, single):
    policy, starts = policy_for(name, execution), [5] if single else [5, 6, 7]
    environment = make_environment(name, len(starts))
    found = rollout(policy, environment, starts=starts, seed=3, steps=12).trajectory.actions
    assert torch.equal(stepped(policy, environment, starts, seed=3, steps=12, single=single), found[:, :12])
    # the noise matters, and is the seed's
    assert not torch.equal(rollout(policy, environment, starts=starts, seed=4, steps=12).trajectory.actions, found)


def test_step_by_step_as_in_an_evaluation(name):
    policy = policy_for(name, NOISY)
    found = evaluate(policy, name, episodes=3, seed=3).rollout.trajectory
    environment = make_environment(name, 3)
    starts = environment.initial_states(3, seed=3) if name == "quadrotor2d" else range(100_000, 100_003)
    actions = stepped(policy, environment, starts, seed=3, steps=10, single=False)
    assert torch.equal(actions, found.actions[:, :10])


def test_chunks_of_actions_keep_the_limits():
    """`predict_action_chunk` and `select_action` clip; the composite action that they are made of does not."""
    free = policy_for("quadrotor2d", NOISY)
    state = torch.zeros(6)
    low, high = (-0.01, -0.002), (0.005, 0.001)
    bound = Policy(free.planner, execution=replace(NOISY, action_low=low, action_high=high))
    for policy in (free, bound):
        policy.reset(0)
    plain, limited = (policy.predict_action_chunk({"observation.state": state}) for policy in (free, bound))
    assert bool((plain > torch.tensor(high)).any())
    assert bool((plain < torch.tensor(low)).any())
    torch.testing.assert_close(limited, plain.clamp(torch.tensor(low).to(plain), torch.tensor(high).to(plain)))
