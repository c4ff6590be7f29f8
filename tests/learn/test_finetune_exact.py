"""Fine-tuning against exact values: gradients, densities, samplers, advantages."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from holdfast.data import MinMax
from holdfast.learn.finetune import (
    FineTuning,
    RewardScale,
    Transitions,
    advantages_of,
    clip_bounds,
    policy_loss,
    process_of,
)
from holdfast.learn.finetune.kinds import fine_tuned
from holdfast.learn.finetune.process import clipped_mean
from holdfast.seeding import Draw, Given, stream

from .tunable import FAMILIES, changed, diffusion, flow, planner

EXACT = FineTuning(
    sampling_std=0.3,
    density_std=0.3,
    noise_clip=None,
    gamma_denoising=1.0,
    clip=1e6,
    clip_first=1e6,
    log_density_low=-1e6,
    log_density_high=1e6,
    normalize_advantages=False,
)


def transitions(process, windows, paths, advantages, options=EXACT):
    """All transitions of paths `[b, K' + 1, h, w]`, with the densities of the present weights."""
    count, steps = len(paths), process.steps
    each = torch.arange(count).repeat_interleave(steps)
    before, after = paths[:, :-1].flatten(0, 1), paths[:, 1:].flatten(0, 1)
    index = torch.arange(steps).repeat(count)
    with torch.no_grad():
        played = clipped_mean(process.log_densities(windows[each], before, after, index), options)
    return Transitions(
        seen=windows[each],
        states=windows[each].flatten(1),
        before=before,
        after=after,
        index=index,
        played=played,
        advantages=advantages[each],
        returns=advantages[each],
    )


def flat(gradients):
    return torch.cat([value.flatten() for value in gradients])


def gradient(process, loss):
    return flat(torch.autograd.grad(loss, list(process.model.parameters()), allow_unused=False))


# --- the policy gradient


def quadrature(nodes, per_step):
    """Nodes and weights of the noise of one plan: two values of the start, Gauss and Hermite's of each step."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    axes = [([-0.8, 0.6], [0.5, 0.5])] + [(points, weights / weights.sum())] * per_step
    values = torch.tensor(list(product(*(axis[0] for axis in axes))), dtype=torch.float64)
    weight = torch.tensor([math.prod(one) for one in product(*(axis[1] for axis in axes))], dtype=torch.float64)
    return values, weight


def played(process, state, noise):
    """Paths of one plan in each state, from given noise `[n, 1 + K]`."""
    draws = [Draw("normal", column[:, None, None]) for column in noise.unbind(1)]
    return process.path(state[:, None, None], rng=Given.of(draws))


@pytest.mark.parametrize(("model", "tuned"), [(diffusion(levels=2), 2), (flow(steps=2), 2), (diffusion(levels=2), 1)])
def test_the_policy_gradient_is_the_gradient_of_the_expected_return(model, tuned):
    """Two control steps, s' = s + a, r = −s'² + s'/2; expectations by quadrature over the noise of both plans."""
    options = replace(EXACT, denoising_steps=tuned)
    process = process_of(planner(model, horizon=1), options)
    changed(process.model, size=0.3)
    one, weight = quadrature(9 if tuned == 2 else 8, 2)
    pairs = torch.cartesian_prod(torch.arange(len(one)), torch.arange(len(one)))
    noise, weights = (one[pairs[:, 0]], one[pairs[:, 1]]), weight[pairs[:, 0]] * weight[pairs[:, 1]]

    def flown():
        state, states, paths, rewards = torch.full((len(pairs),), 0.4, dtype=torch.float64), [], [], []
        for draws in noise:
            states.append(state)
            paths.append(played(process, state, draws))
            state = state + paths[-1][:, -1, 0, 0]
            rewards.append(-(state**2) + state / 2)
        return states, paths, torch.stack(rewards)

    def expected_return():
        return float((weights * flown()[2].sum(0)).sum())

    states, paths, rewards = flown()
    none = torch.zeros_like(rewards)
    last = torch.tensor([[False], [True]]).expand(rewards.shape)
    advantages = advantages_of(
        rewards, none, none, terminated=last, truncated=torch.zeros_like(last), gamma=1.0, gae_lambda=1.0
    )
    data = transitions(
        process,
        torch.cat(states)[:, None, None],
        torch.cat(paths),
        (weights * advantages).flatten(),
        options,
    )
    # the loss is a mean, the expectation a weighted sum
    found = -len(data.index) * gradient(process, policy_loss(process, data, options).loss)
    rng, parameters = stream(3, "directions"), list(process.model.parameters())
    for _ in range(3):
        direction = [torch.randn(value.shape, generator=rng, dtype=value.dtype) for value in parameters]
        ends, step = [], 1e-4
        for sign in (1, -1):
            with torch.no_grad():
                for value, way in zip(parameters, direction, strict=True):
                    value += sign * step * way
                ends.append(expected_return())
                for value, way in zip(parameters, direction, strict=True):
                    value -= sign * step * way
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope) > 1e-3
        assert float(found @ flat(direction)) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_at_ratio_one_the_gradient_is_that_of_the_densities_and_zero_advantages_have_none(name):
    process = process_of(planner(FAMILIES[name]), EXACT)
    windows = torch.randn(6, 1, 1, generator=stream(0, "windows"), dtype=torch.float64)
    paths = process.path(windows, rng=stream(1, "paths"))
    advantages = torch.randn(6, generator=stream(2, "advantages"), dtype=torch.float64)
    data = transitions(process, windows, paths, advantages)
    found = policy_loss(process, data, EXACT)
    assert (found.kl, found.clipped) == (0.0, 0.0)
    density = process.log_densities(data.seen, data.before, data.after, data.index).mean(-1)
    expected = gradient(process, -(density * data.advantages).mean())
    torch.testing.assert_close(gradient(process, found.loss), expected)
    assert float(expected.norm()) > 1e-4
    for options in (EXACT, replace(EXACT, normalize_advantages=True)):
        none = policy_loss(process, replace(data, advantages=torch.zeros_like(data.advantages)), options)
        assert not bool(gradient(process, none.loss).any())


def test_all_steps_in_one_control_step_are_reinforce_on_the_joint_density_of_the_path():
    """The joint density from the posterior of Ho et al. 2020, eq. 6 and 7, step by step."""
    levels, horizon = 4, 2
    options = replace(EXACT, denoising_steps=levels)
    process = process_of(planner(diffusion(levels=levels), horizon=horizon, n_action_steps=horizon), options)
    windows = torch.randn(5, 1, 1, generator=stream(0, "windows"), dtype=torch.float64)
    paths = process.path(windows, rng=stream(1, "paths"))
    returns = torch.randn(5, generator=stream(2, "returns"), dtype=torch.float64)
    model, total = process.model, 0.0
    for index, level in enumerate(reversed(range(levels))):
        power, before = model.schedule.numbers[level], model.schedule.numbers[level - 1] if level else 1.0
        alpha = power / before
        noisy, after = paths[:, index], paths[:, index + 1]
        noise = model.predict(noisy, torch.full((5,), level), model.network.encode(windows))
        clean = (noisy - math.sqrt(1 - power) * noise) / math.sqrt(power)
        mean = math.sqrt(before) * (1 - alpha) / (1 - power) * clean
        mean = mean + math.sqrt(alpha) * (1 - before) / (1 - power) * noisy
        std = max(math.sqrt((1 - before) / (1 - power) * (1 - alpha)), 0.3)
        total = total + torch.distributions.Normal(mean, std).log_prob(after).sum((1, 2))
    expected = gradient(process, -(returns * total).mean())
    found = gradient(process, policy_loss(process, transitions(process, windows, paths, returns), options).loss)
    # the loss is a mean over K' steps and h w numbers, the joint density a sum
    torch.testing.assert_close(levels * horizon * found, expected)


def test_a_ratio_beyond_its_bound_has_no_gradient_where_that_would_move_it_further():
    process = process_of(planner(diffusion()), replace(EXACT, denoising_steps=1))
    windows = torch.zeros(1, 1, 1, dtype=torch.float64)
    paths = process.path(windows, rng=stream(1, "paths"))
    options = replace(EXACT, clip=0.1)
    for advantage, change, moves in ((1.0, 0.5, False), (1.0, -0.5, True), (-1.0, 0.5, True), (-1.0, -0.5, False)):
        data = transitions(process, windows, paths, torch.tensor([advantage], dtype=torch.float64))
        loss = policy_loss(process, replace(data, played=data.played - change), options)
        assert bool(gradient(process, loss.loss).any()) is moves
        assert loss.clipped == 1.0
        # E[ρ − 1 − log ρ]
        assert loss.kl == pytest.approx(math.exp(change) - 1 - change)


def test_advantages_are_normalised_in_a_batch_and_discounted_towards_the_first_step():
    """Advantages 1 and 3 become −1 and 1; with K' = 2 and γ_d = 0.5 the first step of each counts half."""
    options = replace(EXACT, normalize_advantages=True, gamma_denoising=0.5, denoising_steps=2)
    process = process_of(planner(diffusion()), options)
    windows = torch.zeros(2, 1, 1, dtype=torch.float64)
    paths = process.path(windows, rng=stream(1, "paths"))
    data = transitions(process, windows, paths, torch.tensor([1.0, 3.0], dtype=torch.float64))
    density = process.log_densities(data.seen, data.before, data.after, data.index).mean(-1)
    expected = -(density * torch.tensor([-0.5, -1.0, 0.5, 1.0])).mean()
    torch.testing.assert_close(
        gradient(process, policy_loss(process, data, options).loss), gradient(process, expected), rtol=1e-6, atol=1e-9
    )


# --- densities and samples


@pytest.mark.parametrize("name", ["diffusion", "diffusion-sample", "diffusion-velocity", "flow", "flow-sample"])
@pytest.mark.parametrize("steps", [1, 3, 4])
def test_paths_without_a_floor_are_samples_of_the_fine_tuned_policy(name, steps):
    """The same draws give the same chunk, with weights of their own in the last K' steps."""
    family = FAMILIES[name]
    options = FineTuning(denoising_steps=steps, sampling_std=1e-12, noise_clip=None)
    policy = planner(family)
    process = process_of(policy, options)
    changed(process.model)
    windows = torch.randn(8, 1, 1, generator=stream(0, "windows"), dtype=torch.float64)
    path = process.path(windows, rng=stream(1, "path"))
    assert path.shape == (8, steps + 1, 2, 1)
    deployed = fine_tuned(policy, process).model.double()
    expected = deployed.generate(windows, rng=stream(1, "path"), prefix=None)
    torch.testing.assert_close(process.executed(path[:, -1]), expected, rtol=0, atol=1e-8)
    before = policy.model.generate(windows, rng=stream(1, "path"), prefix=None)
    assert float((before - expected).abs().max()) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_noise_of_samples_is_that_of_the_densities(name):
    """The mean log density of many samples is that of their law: entropies, by Monte Carlo against each other."""
    process = process_of(planner(FAMILIES[name]), replace(EXACT, sampling_std=0.2, density_std=0.2))
    windows = torch.full((4000, 1, 1), 0.3, dtype=torch.float64)
    index = process.steps - 1
    start = process.path(windows[:1], rng=stream(0, "start"))[:, index].expand(4000, 2, 1)
    after = process.following(windows, start, index, rng=stream(1, "after"))
    found = process.log_densities(windows, start, after, torch.full((4000,), index)).mean(-1)
    if name.startswith("mixture"):
        mass = after[:, 0, 0]
        grid = torch.linspace(float(mass.min()) - 2, float(mass.max()) + 2, 4001, dtype=torch.float64)
        chunks = torch.stack([grid, torch.zeros_like(grid)], 1)[..., None]
        rows = windows[:1].expand(4001, 1, 1)
        density = process.log_densities(rows, torch.zeros_like(chunks), chunks, torch.zeros(4001, dtype=torch.int64))
        # a density of the executed step alone, whatever the other one is
        assert float(torch.trapezoid(density.exp().squeeze(-1), grid)) == pytest.approx(1, abs=1e-6)
        return
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.2**2)
    assert float(found.mean()) == pytest.approx(-entropy, abs=4 * 2**-0.5 / 4000**0.5)


def test_only_executed_steps_and_coordinates_that_vary_count():
    policy = planner(diffusion(), horizon=3, n_actions=2, n_action_steps=2)
    policy = replace(policy, code_scale=MinMax(low=torch.tensor([-1.0, 0.5]), high=torch.tensor([1.0, 0.5])))
    process = process_of(policy, EXACT)
    assert process.counted.tolist() == [[True, False], [True, False], [False, False]]
    windows = torch.zeros(2, 1, 1, dtype=torch.float64)
    paths = process.path(windows, rng=stream(0, "paths"))
    first = process.log_densities(windows, paths[:, 0], paths[:, 1], torch.zeros(2, dtype=torch.int64))
    other = paths[:, 1].clone()
    other[:, 2] += 1
    other[:, :, 1] += 1
    again = process.log_densities(windows, paths[:, 0], other, torch.zeros(2, dtype=torch.int64))
    assert first.shape == (2, 2)
    assert torch.equal(first, again)


def test_noise_is_clipped_at_its_bound():
    process = process_of(planner(FAMILIES["gaussian"]), FineTuning(noise_clip=1.5))
    windows = torch.zeros(2000, 1, 1, dtype=torch.float64)
    chunks = process.path(windows, rng=stream(0, "noise"))[:, 1]
    off = ((chunks - process.model.predict(windows)) / 0.1).abs()
    assert float(off.max()) == pytest.approx(1.5)
    # P(|z| > 1.5) = 0.1336
    assert float((off > 1.4999).double().mean()) == pytest.approx(0.1336, abs=0.02)


# --- advantages, rewards, bounds


def test_advantages_by_hand_with_a_termination_and_a_truncation():
    """Two episodes in three plans, γ = 0.5, λ = 0.5; the first is terminated in plan 1, the second truncated in 2.

    first:  δ_1 = 2 − 4 = −2,  δ_0 = 1 + 0.5 · 4 − 2 = 1,  A_1 = −2,  A_0 = 1 + 0.25 · (−2) = 0.5
    second: δ_2 = 1 + 0.5 · 6 − 2 = 2,  δ_1 = 0 + 0.5 · 2 − 1 = 0,  δ_0 = 1 + 0.5 · 1 − 0 = 1.5
            A_2 = 2,  A_1 = 0 + 0.25 · 2 = 0.5,  A_0 = 1.5 + 0.25 · 0.5 = 1.625
    """
    rewards = torch.tensor([[1.0, 1.0], [2.0, 0.0], [9.0, 1.0]])
    values = torch.tensor([[2.0, 0.0], [4.0, 1.0], [9.0, 2.0]])
    following = torch.tensor([[4.0, 1.0], [7.0, 2.0], [9.0, 6.0]])
    terminated = torch.tensor([[False, False], [True, False], [False, False]])
    truncated = torch.tensor([[False, False], [False, False], [False, True]])
    found = advantages_of(
        rewards, values, following, terminated=terminated, truncated=truncated, gamma=0.5, gae_lambda=0.5
    )
    assert found[:2, 0].tolist() == [0.5, -2.0]
    assert found[:, 1].tolist() == [1.625, 0.5, 2.0]


def test_a_truncation_looks_at_what_would_follow_and_no_further():
    """In the plan of the end: terminated 1 − 2 = −1, truncated 1 + 0.5 · 6 − 2 = 2; neither sees the plan after."""
    rewards, values = torch.tensor([[1.0], [100.0]]), torch.tensor([[2.0], [0.0]])
    following, none = torch.tensor([[6.0], [0.0]]), torch.zeros(2, 1, dtype=torch.bool)
    over = torch.tensor([[True], [False]])
    ends = [
        advantages_of(rewards, values, following, terminated=a, truncated=b, gamma=0.5, gae_lambda=0.9)
        for a, b in ((over, none), (none, over))
    ]
    assert [float(one[0, 0]) for one in ends] == [-1.0, 2.0]


def test_the_scale_of_rewards_is_that_of_all_discounted_sums():
    rng = stream(0, "rewards")
    parts = [torch.randn(5, 3, generator=rng, dtype=torch.float64) for _ in range(3)]
    running = torch.ones(5, 3, dtype=torch.bool)
    running[3:, 1] = False
    scale, sums = RewardScale(), []
    for part in parts:
        scale = scale.updated(part, running, gamma=0.9)
        for episode in range(3):
            for t in range(5 if episode != 1 else 3):
                sums.append(sum(0.9 ** (t - s) * float(part[s, episode]) for s in range(t + 1)))
    # before there is any sum, the scale counts 1e-4 sums of variance 1
    assert scale.mean == pytest.approx(np.mean(sums), rel=1e-4)
    assert scale.variance == pytest.approx(np.var(sums), rel=1e-4)
    assert float(scale.scaled(torch.tensor([[2.0]]))) == pytest.approx(2 / np.std(sums), rel=1e-4)
    assert float(scale.scaled(torch.tensor([[1e9]]))) == 10.0


def test_bounds_of_the_ratio_go_from_the_first_to_the_last_step():
    options = FineTuning(clip=0.01, clip_first=0.001, clip_rate=3.0)
    found = clip_bounds(torch.arange(4), 4, options)
    expected = [0.001 + 0.009 * (math.exp(t) - 1) / (math.exp(3) - 1) for t in (0, 1, 2, 3)]
    torch.testing.assert_close(found, torch.tensor(expected))
    # published code divides 0 by 0 where there is one step
    assert float(clip_bounds(torch.tensor([0]), 1, options)) == pytest.approx(0.01)


def test_log_densities_are_bounded_number_by_number():
    options = FineTuning(log_density_low=-5.0, log_density_high=2.0)
    values = torch.tensor([[-8.0, 1.0, 4.0]], requires_grad=True)
    found = clipped_mean(values, options)
    assert found.tolist() == pytest.approx([(-5 + 1 + 2) / 3])
    found.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, 1 / 3, 0.0]]))
