"""The law that a perfect learner would draw from: a softmax over the demonstrations."""

import pytest
import torch

from holdfast.control import scalar
from holdfast.data import MinMax
from holdfast.envs import SystemEnvironment, rollout
from holdfast.errors import RecipeError
from holdfast.policy import ChunkExecutor, EmpiricalDeconvolution
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, Prefix, PrimitiveControllers

UNIT = MinMax(low=-torch.ones(1).double(), high=torch.ones(1).double())


def law_of(states, lengths, sigma, horizon=1, n_obs_steps=1, **options):
    """Rows that know their number: row r's action is r."""
    values = torch.tensor(states, dtype=torch.float64)[:, None]
    rows = torch.arange(len(values)).double()[:, None]
    episodes = Episodes(actions=rows, states=values, lengths=torch.tensor(lengths))
    controllers = PrimitiveControllers(actions=rows, states=values, gains=-rows[..., None])
    return EmpiricalDeconvolution(
        episodes, controllers, UNIT, sigma=sigma, horizon=horizon, n_obs_steps=n_obs_steps, **options
    )


def test_tiny_noise_replays_the_nearest_demonstrations_own_chunk():
    law = law_of([0.0, 0.2, 0.4, -0.5, -0.7], [3, 2], sigma=1e-3, horizon=3)
    window = torch.tensor([0.21, -0.52, 0.38], dtype=torch.float64)[:, None, None]
    chunk = law.plan(Observation(state=window), rng=stream(0))
    # chunks end with their episode: the last row repeats
    assert chunk.actions[..., 0].tolist() == [[1, 2, 2], [3, 4, 4], [2, 2, 2]]
    assert chunk.states[..., 0].tolist() == [[0.2, 0.4, 0.4], [-0.5, -0.7, -0.7], [0.4, 0.4, 0.4]]
    assert chunk.gains[1, :, 0, 0].tolist() == [-3, -4, -4]


def test_windows_tell_apart_what_single_observations_cannot():
    """Rows 1 and 3 see the same, but came from different places."""
    law = law_of([-1.0, 0.0, 1.0, 0.0], [2, 2], sigma=1e-3, n_obs_steps=2)
    windows = torch.tensor([[[-1.0], [0.0]], [[1.0], [0.0]]]).double()
    assert law.plan(Observation(state=windows), rng=stream(0)).actions[:, 0, 0].tolist() == [1, 3]


def test_three_rows_follow_the_stated_law():
    """P(i | o) = E over the noise of the softmax of −‖õ − o_i‖²/2σ², here by quadrature."""
    rows, sigma, seen, count = [-0.5, 0.1, 0.6], 0.4, 0.2, 40_000
    law = law_of(rows, [3], sigma)
    drawn = law.plan(Observation(state=torch.full((count, 1, 1), seen).double()), rng=stream(0)).actions[:, 0, 0]
    shares = [float((drawn == row).double().mean()) for row in range(3)]
    noised = torch.linspace(seen - 8 * sigma, seen + 8 * sigma, 4001, dtype=torch.float64)
    density = torch.distributions.Normal(seen, sigma).log_prob(noised).exp()
    likelihood = torch.stack([torch.distributions.Normal(row, sigma).log_prob(noised).exp() for row in rows])
    expected = torch.trapezoid(density * likelihood / likelihood.sum(0), noised)
    assert float(expected.sum()) == pytest.approx(1, abs=1e-6)
    assert shares == pytest.approx(expected.tolist(), abs=5 * 0.5 / count**0.5)


def test_clipped_observations_stay_in_the_range():
    """Far outside all rows weigh alike without clipping only in the limit; clipped, the nearest face decides."""
    law = law_of([-1.0, 0.0, 1.0], [3], sigma=0.05, clip=1.0)
    drawn = law.plan(Observation(state=torch.full((200, 1, 1), 50.0).double()), rng=stream(0)).actions
    assert bool((drawn == 2).all())


def test_what_it_cannot_do_is_refused():
    with pytest.raises(RecipeError, match="expected sigma > 0, got 0"):
        law_of([0.0], [1], sigma=0.0)
    prefix = Prefix(chunk=torch.zeros(1, 1, 1).double(), weights=torch.ones(1).double())
    with pytest.raises(RecipeError, match="takes no prefix"):
        law_of([0.0], [1], sigma=0.1).plan(
            Observation(state=torch.zeros(1, 1, 1).double()), rng=stream(0), prefix=prefix
        )


def test_demonstrations_in_single_precision_run_in_a_double_precision_environment():
    """The chunk has the precision of the observation, with gains and without."""
    values = torch.linspace(-1, 1, 5)[:, None]
    episodes = Episodes(actions=-values, states=values, lengths=torch.tensor([5]))
    with_gains = PrimitiveControllers(actions=-values, states=values, gains=-torch.ones(5, 1, 1))
    for controllers in (with_gains, PrimitiveControllers.open_loop(-values, values)):
        law = EmpiricalDeconvolution(episodes, controllers, UNIT, sigma=0.05, horizon=2)
        chunk = law.plan(Observation(state=torch.tensor([[[0.4]]], dtype=torch.float64)), rng=stream(0))
        assert {chunk.actions.dtype, chunk.states.dtype, chunk.gains.dtype} == {torch.float64}
        policy = ChunkExecutor(law, n_action_steps=2)
        found = rollout(policy, SystemEnvironment(scalar(), steps=6), starts=torch.full((3, 1), 0.4).double())
        assert found.trajectory.actions.dtype == torch.float64
        assert not bool(found.escaped.any())
