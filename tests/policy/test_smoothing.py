"""The smoothed policy: a planner behind fresh Gaussian noise on normalised observations."""

import pytest
import torch
from torch import nn

from holdfast.data import Actions, MinMax
from holdfast.errors import RecipeError, ShapeError
from holdfast.models import ChunkModel
from holdfast.policy import ChunkExecutor, Execution, Planner, PolicySpec, Smoothed
from holdfast.seeding import stream
from holdfast.types import Observation


class Echo(ChunkModel):
    """A model whose chunk is the normalised window that it was given."""

    def __init__(self):
        super().__init__()
        self.precision = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def draw(self, shape, *, rng):
        return None

    def loss(self, batch, draws):
        return self.precision.sum()

    def generate(self, observation, *, rng, prefix):
        return observation


@pytest.fixture
def echo() -> Planner:
    """Observations in [2, 6] × [−1, 1] become codes, and codes actions of [−1, 1] × [−1, 1]."""
    spec = PolicySpec(
        n_states=2,
        n_actions=2,
        n_observed=2,
        codec=Actions(),
        horizon=3,
        n_obs_steps=3,
        execution=Execution(n_action_steps=1),
    )
    observed = MinMax(low=torch.tensor([2.0, -1.0]).double(), high=torch.tensor([6.0, 1.0]).double())
    unit = MinMax(low=-torch.ones(2).double(), high=torch.ones(2).double())
    return Planner(spec, Echo(), observation_scale=observed, code_scale=unit)


def window_at(x, y, count):
    return torch.tensor([x, y]).double().expand(count, 3, 2)


def test_without_noise_it_is_the_planner(tiny_planner, gaussian):
    window = gaussian(0, 5, 2, 6)
    smoothed = Smoothed(tiny_planner, sigma=0.0).plan(Observation(state=window), rng=stream(1))
    plain = tiny_planner.plan(Observation(state=window), rng=stream(1))
    for name in ("actions", "states", "gains"):
        assert torch.equal(getattr(smoothed, name), getattr(plain, name))
    noisy = Smoothed(tiny_planner, sigma=0.2).plan(Observation(state=window), rng=stream(1))
    assert not torch.equal(noisy.actions, plain.actions)


def test_noise_has_the_std_sigma_in_normalised_units(echo):
    seen = Smoothed(echo, sigma=0.3).plan(Observation(state=window_at(5.0, 0.5, 40_000)), rng=stream(0)).actions
    flat = seen.flatten(1)
    # (5 − 4) / 2 and 0.5, in each of the window's three observations
    expected = torch.tensor([0.5, 0.5] * 3).double()
    torch.testing.assert_close(flat.mean(0), expected, rtol=0, atol=5 * 0.3 / 200)
    # independent over coordinates and window steps
    torch.testing.assert_close(flat.T.cov(), 0.09 * torch.eye(6).double(), rtol=0, atol=5 * 0.09 * 2**0.5 / 200)


def test_clipping_comes_before_the_noise(echo):
    seen = (
        Smoothed(echo, sigma=0.3, clip=1.0)
        .plan(Observation(state=window_at(50.0, -0.2, 20_000)), rng=stream(0))
        .actions
    )
    torch.testing.assert_close(seen.mean((0, 1)), torch.tensor([1.0, -0.2]).double(), rtol=0, atol=0.01)
    assert float(seen[..., 0].max()) > 1.5


def test_a_constant_coordinate_of_the_code_is_never_generated(tiny_planner):
    scale = tiny_planner.code_scale
    low = scale.low.clone()
    low[1] = scale.high[1]
    planner = Planner(
        tiny_planner.spec,
        tiny_planner.model,
        observation_scale=tiny_planner.observation_scale,
        code_scale=MinMax(low=low, high=scale.high),
    )
    chunk = planner.plan(Observation(state=torch.zeros(4, 2, 6).double()), rng=stream(0))
    assert bool((chunk.actions[..., 1] == scale.high[1]).all())
    assert float(chunk.actions[..., 0].std()) > 0


def test_noise_is_fresh_at_each_plan_and_repeats_with_the_reset_seed(echo):
    executor = ChunkExecutor(Smoothed(echo, sigma=0.3), n_obs_steps=3)
    observation = Observation(state=torch.tensor([[4.0, 0.0]]).double())

    def three(seed):
        executor.reset(seed)
        return [executor.act(observation, observation.state) for _ in range(3)]

    first, again, other = three(1), three(1), three(2)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(("sigma", "shift"), [(0.3, 0.1), (0.1, 0.1), (0.5, 1.0)])
def test_total_variation_between_neighbours(echo, sigma, shift):
    """TV of the noised observations of o and o + δ: 2 Φ(‖δ‖/2σ) − 1, at most ‖δ‖/2σ."""
    plans = Smoothed(echo, sigma=sigma)
    count = 60_000
    # two units of the first coordinate are one normalised unit; all of δ in the first observation
    moved = window_at(4.0, 0.0, count).clone()
    moved[:, 0, 0] += 2 * shift
    here = plans.plan(Observation(state=window_at(4.0, 0.0, count)), rng=stream(0)).actions[:, 0, 0]
    there = plans.plan(Observation(state=moved), rng=stream(1)).actions[:, 0, 0]
    # the likelihood ratio's set, beyond the middle, attains the supremum
    distance = float((there > shift / 2).double().mean() - (here > shift / 2).double().mean())
    ratio = torch.tensor(shift / (2 * sigma)).double()
    exact = float(torch.erf(ratio / 2**0.5))
    assert distance == pytest.approx(exact, abs=5 * (0.5 / count) ** 0.5)
    assert exact <= float(ratio)


def test_wrong_observation_size_and_negative_noise(echo):
    with pytest.raises(ShapeError, match="observations of 2 numbers, as in training, got 3"):
        echo.plan(Observation(state=torch.zeros(1, 3, 3).double()), rng=stream(0))
    with pytest.raises(RecipeError, match=r"0 or above; got -0\.1"):
        Smoothed(echo, sigma=-0.1).plan(Observation(state=window_at(4.0, 0.0, 1)), rng=stream(0))


@pytest.mark.parametrize(("steps", "horizon"), [(9, 8), (0, 8), (-1, 8)])
def test_specs_that_contradict_themselves(steps, horizon):
    message = (
        rf"horizon {horizon} is shorter than n_action_steps {steps}.*horizon >= {steps}" if steps > 0 else "at lea"
    )
    with pytest.raises(RecipeError, match=message):
        PolicySpec(n_states=2, n_actions=1, n_observed=2, horizon=horizon, execution=Execution(n_action_steps=steps))
    with pytest.raises(RecipeError, match="at least 1 observation step, got 0"):
        PolicySpec(n_states=2, n_actions=1, n_observed=2, n_obs_steps=0)


def test_each_observation_of_a_batch_has_noise_of_its_own(echo):
    """4000 equal windows of 3 readings of 2 coordinates: noise is uncorrelated across rows, steps and coordinates."""
    window = Observation(state=window_at(4.0, 0.0, 4000))
    noise = Smoothed(echo, sigma=0.5).noised(window, rng=stream(0)).vector - echo.normalize(window).vector
    assert len(noise.flatten().unique()) > 0.99 * noise.numel()
    correlation = torch.corrcoef(noise.reshape(4000, 6).T.double())
    assert float((correlation - torch.eye(6)).abs().max()) < 5 / 4000**0.5
    assert noise.std(0) == pytest.approx(0.5 * torch.ones(3, 2).numpy(), rel=0.1)


def test_each_sample_of_a_training_batch_has_noise_of_its_own(tiny_data):
    """One row drawn 500 times: the windows of the batch differ from the clean one by independent noise of std σ."""
    now = torch.full((500,), 7)
    noise = tiny_data.batch(now, sigma=0.3, rng=stream(0)).observation.vector - tiny_data.windows_at(now).vector
    assert len(noise.flatten().unique()) > 0.99 * noise.numel()
    assert noise.std(0).mean() == pytest.approx(0.3, rel=0.05)
