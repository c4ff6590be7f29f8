"""Diffusion Forcing: with equal levels the diffusion model, with exact denoisers the exact laws of a known process."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError, ShapeError
from holdfast.models import Diffusion, DiffusionModel, Forcing, ForcingModel, ForcingSampler, Sampler, Sizes
from holdfast.models import imagined as continued
from holdfast.models.flow import TIME_SCALE
from holdfast.models.forcing import Frames, Goal, KnownFrames, Reward, checked_matrix, schedule_matrix
from holdfast.models.forcing.guidance import SoftPrefix, Together, guided
from holdfast.nn import ResidualMlp
from holdfast.seeding import Draw, Given, stream
from holdfast.types import Batch, Observation, Prefix

NETWORK = ResidualMlp(width=16, blocks=1, embedding=8)
SMALL = Forcing(network=NETWORK, levels=20, sampler=ForcingSampler(steps=10, clip=None))
SIZES = Sizes(horizon=3, width=2, n_observed=1)
KEEP, PUSH, BACK = 0.8, 0.5, -0.3
STD_ACTION, STD_READING = 0.3, 0.2


def model_of(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ForcingModel(options, sizes).double()


class Wave(torch.nn.Module):
    """In a network's place: a function of the chunk and of its first time, which is told in levels of `unit`."""

    def __init__(self, unit=1.0, first=0.0):
        super().__init__()
        self.unit, self.first, self.windows, self.calls = unit, first, [], []

    def encode(self, observation):
        self.windows.append(observation)
        return observation

    def forward(self, chunk, times, memory):
        self.calls.append((chunk, times))
        level = (times[:, :1, None] / self.unit - self.first).to(chunk)
        return chunk.sin() + 0.05 * level


def batch_of(gaussian, count=4):
    mask = torch.ones(count, 3, dtype=torch.bool)
    mask[0, 2:] = False
    return Batch(
        observation=Observation(state=gaussian(1, count, 1, 1)),
        chunk=gaussian(2, count, 3, 2),
        mask=mask,
        following=gaussian(3, count, 3, 1),
        followed=mask,
    )


# with equal levels: the diffusion model


def as_diffusion(eta=0.0):
    """A diffusion model of frames (two actions, one reading) with the same levels: its level k is level k + 1."""
    options = Diffusion(NETWORK, levels=20, sampler=Sampler(steps=20, eta=eta, clip=None))
    model = DiffusionModel(options, Sizes(horizon=3, width=3, n_observed=1))
    model.network = Wave(first=-1.0)
    return model


def as_forcing(eta=0.0, **options):
    sampler = ForcingSampler(steps=20, eta=eta, clip=None)
    model = model_of(replace(SMALL, sampler=sampler, constant=1.0, held=0.0, **options))
    model.network = Wave(unit=TIME_SCALE / 20)
    return model


@pytest.mark.parametrize("weighting", ["constant", "min-snr"])
def test_with_equal_levels_the_loss_is_that_of_diffusion(gaussian, weighting):
    forcing, diffusion, batch = as_forcing(weighting=weighting), as_diffusion(), batch_of(gaussian)
    draws = forcing.draw(batch.chunk.shape, rng=stream(0))
    assert bool((draws.level == draws.level[:, :1, :1]).all())
    draws = replace(draws, noise=draws.noise.double(), window_noise=draws.window_noise.double())
    level = draws.level[:, 0, 0] - 1
    whole = replace(batch, chunk=torch.cat([batch.chunk, batch.following], -1), following=None, followed=None)
    of_each = []
    for row in range(4):
        one = Batch(
            observation=whole.observation.at(slice(row, row + 1)),
            chunk=whole.chunk[row : row + 1],
            mask=whole.mask[row : row + 1],
        )
        given = replace(
            diffusion.draw(one.chunk.shape, rng=stream(0)), level=level[row : row + 1], noise=draws.noise[row : row + 1]
        )
        ratio = float(diffusion.signal[level[row]] / (1 - diffusion.signal[level[row]]))
        weight = min(ratio, 5.0) / 5.0 if weighting == "min-snr" else 1.0
        of_each.append(weight * float(diffusion.loss(one, given)) * int(one.mask.sum()))
    expected = sum(of_each) / int(batch.mask.sum())
    assert float(forcing.loss(batch, draws)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_with_equal_levels_the_sample_is_that_of_diffusion(gaussian, eta):
    window = gaussian(0, 5, 1, 1)
    expected = as_diffusion(eta).sample(Observation(state=window), rng=stream(3))
    found = as_forcing(eta).frames(window, rng=stream(3))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10)
    assert torch.equal(found.actions, as_forcing(eta).sample(Observation(state=window), rng=stream(3)))


# exact denoisers of a linear process:  a = BACK x + noise,  x' = KEEP x + PUSH a + noise


def law(steps, start):
    """Mean and covariance of (a₀, x₁, a₁, x₂ …) from a known x₀, by the recursion of the process."""
    noise = torch.zeros(2 * steps, 2 * steps, dtype=torch.float64)
    mean, x, of_x = [], start, torch.zeros(2 * steps, dtype=torch.float64)
    for step in range(steps):
        action = BACK * of_x
        action[2 * step] = STD_ACTION
        a = BACK * x
        of_x, x = KEEP * of_x + PUSH * action, KEEP * x + PUSH * a
        of_x[2 * step + 1] = STD_READING
        noise[2 * step], noise[2 * step + 1] = action, of_x
        mean += [a, x]
    return torch.tensor(mean, dtype=torch.float64), noise @ noise.mT


class Exact(torch.nn.Module):
    """In a network's place: E[frames | noisy frames, x₀] of the process, at any levels of its tokens."""

    def __init__(self, model, steps, independent=None):
        super().__init__()
        self.signal, self.levels = model.signal, model.options.levels
        self.unit = law(steps, 1.0)[0]
        self.covariance = law(steps, 0.0)[1] if independent is None else independent
        self.told = []

    def encode(self, observation):
        self.told.append(observation[:, -1])
        return observation[:, -1, :1]

    def forward(self, chunk, times, memory):
        level = (times[0] / TIME_SCALE * self.levels).round().long()
        assert bool((times == times[:1]).all())
        # clean tokens say what they are: a little less than exactly, so that the matrix stays invertible
        signal = self.signal[level].clamp(max=1 - 1e-10)
        C, root = self.covariance, signal.sqrt().diag()
        gain = C @ root @ torch.linalg.inv(root @ C @ root + (1 - signal).diag())
        mean = memory * self.unit
        return (mean + (chunk.flatten(1) - mean @ root) @ gain.mT).view_as(chunk)


def exact_model(schedule="full", steps=500, horizon=3, eta=0.0, independent=None, **sampler):
    sampler = ForcingSampler(
        steps=steps, eta=eta, clip=None, guidance=1e12, schedule=schedule, uncertainty=steps / 4, **sampler
    )
    model = model_of(Forcing(NETWORK, levels=steps, sampler=sampler), Sizes(horizon=horizon, width=1, n_observed=1))
    model.network = Exact(model, horizon, independent)
    return model


def sampled_law(model, start, **options):
    """Mean and covariance of frames sampled without fresh noise: an affine map of the noise at the beginning."""
    size = 2 * model.sizes.horizon
    noise = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(size + 1, -1, 2)
    window = torch.full((size + 1, 1, 1), start, dtype=torch.float64)
    found = model.frames(window, rng=Given.of([Draw("normal", noise)]), **options).values.flatten(1)
    mean, map_ = found[0], found[1:] - found[0]
    return mean, map_.mT @ map_


@pytest.mark.parametrize("schedule", ["autoregressive", "pyramid", "full"])
def test_every_schedule_draws_the_exact_law_given_the_observation(schedule):
    mean, covariance = sampled_law(exact_model(schedule), 0.7)
    expected_mean, expected = law(3, 0.7)
    torch.testing.assert_close(mean, expected_mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance, expected, rtol=0.03, atol=2e-4)


def test_the_autoregressive_schedule_draws_the_exact_law_given_earlier_frames():
    """Given a₀ and x₁, the rest is the process from x₁ on."""
    model = exact_model("autoregressive")
    given = Frames(torch.tensor([[[0.4, -0.5]]], dtype=torch.float64).expand(7, 1, 2), width=1)
    mean, covariance = sampled_law(model, 0.7, known=KnownFrames.first(given, horizon=3))
    torch.testing.assert_close(mean[:2], torch.tensor([0.4, -0.5], dtype=torch.float64))
    assert float(covariance[:2].abs().max()) == 0
    expected_mean, expected = law(2, -0.5)
    torch.testing.assert_close(mean[2:], expected_mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance[2:, 2:], expected, rtol=0.03, atol=2e-4)


def test_committed_actions_condition_the_readings_between_them():
    """Given a₀ and a₁ alone: Gaussian conditioning of the whole law, with the readings unknown."""
    model, size = exact_model("full"), 6
    actions = torch.tensor([[0.4], [0.1]], dtype=torch.float64)
    noise = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(size + 1, -1, 2)
    prefix = Prefix(chunk=actions.expand(size + 1, 2, 1), weights=torch.ones(2, dtype=torch.float64))
    firm = torch.tensor([[True, False], [True, False], [False, False]])
    values = torch.nn.functional.pad(prefix.chunk, (0, 1, 0, 1))
    mean, _ = sampled_law(model, 0.7, known=KnownFrames(values, firm))
    whole, C = law(3, 0.7)
    given, rest = [0, 2], [1, 3, 4, 5]
    shift = C[rest][:, given] @ torch.linalg.inv(C[given][:, given]) @ (actions[:, 0] - whole[given])
    torch.testing.assert_close(mean[rest], whole[rest] + shift, rtol=0, atol=2e-3)
    # a policy's prefix is the same
    window = torch.full((size + 1, 1, 1), 0.7, dtype=torch.float64)
    drawn = model.sample(Observation(state=window), rng=Given.of([Draw("normal", noise)]), prefix=prefix)
    torch.testing.assert_close(drawn[0, :, 0], mean[[0, 2, 4]])


def test_a_linear_reward_tilts_the_law_exactly():
    """p(x) exp(rᵀx) of a Gaussian N(μ, Σ) is N(μ + Σ r, Σ)."""
    weight = torch.tensor([[0.0, 0.0], [1.5, 0.0], [0.0, -2.0]], dtype=torch.float64)
    reward = Reward(lambda frames: (frames.values * weight).sum((-2, -1)))
    for schedule in ("full", "autoregressive"):
        mean, covariance = sampled_law(exact_model(schedule), 0.7, guidance=reward)
        expected, C = law(3, 0.7)
        torch.testing.assert_close(mean, expected + C @ weight.flatten(), rtol=0, atol=4e-3)
        torch.testing.assert_close(covariance, C, rtol=0.03, atol=2e-4)


def test_a_goal_is_a_measurement_of_the_last_reading():
    """Independent numbers of variance 0.25: the last reading given y = 0.8 ± 0.3 has the mean 0.8 · 0.25 / 0.34."""
    model = exact_model(independent=0.25 * torch.eye(6, dtype=torch.float64))
    mean, covariance = sampled_law(model, 0.0, guidance=Goal((0,), (0.8,), std=0.3))
    assert float(mean[5]) == pytest.approx(0.8 * 0.25 / 0.34, abs=5e-3)
    assert float(covariance[5, 5]) == pytest.approx(0.25 * 0.09 / 0.34, rel=0.03)
    torch.testing.assert_close(mean[:5], torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-6)
    assert float(covariance[3, 3]) == pytest.approx(0.25, rel=0.03)


def test_a_prefix_without_the_jacobian_has_none_beside_a_reward_either(gaussian):
    """The denoiser sin has the Jacobian cos: x̂ + (1 − ᾱ)/√ᾱ (cos x · r + w (Y − x̂)/(1 − ᾱ)), at ᾱ = 0.5."""
    noisy, known = gaussian(0, 2, 3, 2), gaussian(1, 2, 3, 1)
    reward = Reward(lambda frames: frames.values.sum((-2, -1)), scale=0.3)
    prefix = Prefix(chunk=known, weights=torch.full((3,), 0.4, dtype=torch.float64), jacobian=False)
    found = guided(
        lambda frames, levels: frames.sin(),
        noisy,
        torch.ones(3, 2, dtype=torch.int64),
        torch.full((3, 2), 0.5, dtype=torch.float64),
        Together((reward, SoftPrefix(prefix))),
        width=1,
        largest=10.0,
    )
    gradient = 0.3 * noisy.cos()
    gradient[..., :1] += 0.4 * (known - noisy[..., :1].sin()) / 0.5
    torch.testing.assert_close(found, noisy.sin() + 0.5**0.5 * gradient)


def test_sequences_of_ten_times_the_length_follow_the_process():
    """In passes of two frames."""
    model, count = exact_model("autoregressive", steps=150, horizon=2), 2000
    window = torch.full((count, 1, 1), 0.7, dtype=torch.float64)
    for context in (0, 1):
        readings = continued(model, window, 20, rng=stream(5), context=context).readings[..., 0]
        assert readings.shape == (count, 20)
        variance = 0.0
        loop = KEEP + PUSH * BACK
        for step in range(20):
            variance = loop**2 * variance + (PUSH * STD_ACTION) ** 2 + STD_READING**2
            mean = 0.7 * loop ** (step + 1)
            assert float(readings[:, step].mean()) == pytest.approx(mean, abs=5 * (variance / count) ** 0.5)
            # five deviations of a variance's estimate
            assert float(readings[:, step].var()) == pytest.approx(variance, rel=5 * (2 / count) ** 0.5)
        lag = torch.corrcoef(readings[:, 10:12].mT)[0, 1]
        assert float(lag) == pytest.approx(loop, abs=5 * (1 - loop**2) / count**0.5)


# history at a small noise level


def test_history_at_a_level_is_replica_noising(gaussian):
    """The network sees √ᾱ (x + σ w) and is told the level, where w is what a smoothed policy draws."""
    model = model_of(replace(SMALL, sampler=ForcingSampler(steps=10, history=3, clip=None)))
    model.network = Wave()
    window = gaussian(0, 5, 1, 1)
    model.sample(Observation(state=window), rng=stream(3))
    rng = stream(3)
    torch.randn(5, 3, 3, generator=rng, dtype=torch.float64)
    noised = window + model.sigma_of(3) * torch.randn(5, 1, 1, generator=rng, dtype=torch.float64)
    seen, told = model.network.windows[0].split(1, dim=-1)
    power = 1 / (1 + model.sigma_of(3) ** 2)
    torch.testing.assert_close(seen, power**0.5 * noised)
    torch.testing.assert_close(told, torch.full_like(told, 3 / 20))
    assert model.level_of(model.sigma_of(3)) == 3
    assert model.level_of(0.0) == 0
    with pytest.raises(RecipeError, match="leaves nothing of the history"):
        model.level_of(1e9)


def test_finished_frames_are_shown_at_the_level_of_history(gaussian):
    """One noise for a sequence; unfinished frames and the result keep their own values."""
    sampler = ForcingSampler(steps=2, history=3, clip=None, schedule="autoregressive", eta=0.0)
    model = model_of(replace(SMALL, sampler=sampler))
    model.network = Wave()
    found = model.frames(gaussian(0, 5, 1, 1), rng=stream(3)).values
    levels = [
        (times / (TIME_SCALE / 20)).round().long().view(5, 3, 2)[0, :, 0].tolist() for _, times in model.network.calls
    ]
    assert levels == [[20, 20, 20], [10, 20, 20], [3, 20, 20], [3, 10, 20], [3, 3, 20], [3, 3, 10]]
    first = [chunk[:, 0] for chunk, _ in model.network.calls]
    assert torch.equal(first[2], first[5])
    noise = (first[2] - model.signal[3].sqrt() * found[:, 0]) / (1 - model.signal[3]).sqrt()
    assert 0.3 < float(noise.std()) < 2
    plain = model_of(replace(SMALL, sampler=replace(sampler, history=0)))
    plain.network = Wave()
    shown = plain.frames(gaussian(0, 5, 1, 1), rng=stream(3)).values
    assert torch.equal(plain.network.calls[5][0][:, 0], shown[:, 0])


# training


def test_levels_are_independent_from_token_to_token():
    options = replace(SMALL, constant=0.0, held=0.0, shown=0.0)
    draws = model_of(options).draw(torch.Size((20_000, 3, 2)), rng=stream(0))
    tokens = torch.cat([draws.level.flatten(1), draws.window_level], dim=1)
    counts = torch.bincount(tokens.flatten(), minlength=21)
    mean = tokens.numel() / 21
    assert float((counts - mean).abs().max()) < 5 * mean**0.5
    correlation = tokens.double().mT.corrcoef() - torch.eye(7)
    assert float(correlation.abs().max()) < 5 / 20_000**0.5


def test_shares_of_the_kinds_of_levels():
    options = replace(SMALL, levels=100, constant=0.3, held=0.25, shown=0.6)
    count = 20_000
    draws = model_of(options).draw(torch.Size((count, 3, 2)), rng=stream(0))
    flat = draws.level.flatten(1)
    assert float((flat == flat[:, :1]).all(1).double().mean()) == pytest.approx(0.3, abs=0.02)
    # a pair of independent levels is among the lowest eleven of 101 with a probability of 1.2 %
    low = (draws.level <= 10).all(-1)
    share = 0.25 + 0.3 * 0.1 + 0.45 * (11 / 101) ** 2
    assert float(low[:, 0].double().mean()) == pytest.approx(share, abs=0.02)
    both = 0.125 + 0.125 * (11 / 101) ** 2 + 0.3 * 0.1 + 0.45 * (11 / 101) ** 4
    assert float((low[:, 0] & low[:, 1]).double().mean()) == pytest.approx(both, abs=0.02)
    near = 0.6 + 0.4 * 11 / 101
    assert float((draws.window_level <= 10).double().mean()) == pytest.approx(near, abs=0.02)


def test_only_noised_tokens_inside_episodes_count(gaussian, known):
    batch = replace(batch_of(gaussian), followed=torch.zeros(4, 3, dtype=torch.bool))
    batch.followed[1:, :2] = True
    model = model_of(replace(SMALL, weighting="constant"))
    said = gaussian(5, 4, 3, 3)
    model.network = known(lambda noisy, times: said)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    draws = replace(draws, noise=draws.noise.double(), window_noise=draws.window_noise.double())
    draws.level[:] = torch.tensor([[5, 7], [0, 20], [9, 0]])
    errors = [
        (said[row, step, number] - value) ** 2
        for row in range(4)
        for step in range(3)
        for number, value in enumerate([*batch.chunk[row, step], *batch.following[row, step]])
        if (batch.mask if number < 2 else batch.followed)[row, step] and draws.level[row, step, int(number == 2)]
    ]
    torch.testing.assert_close(model.loss(batch, draws), torch.stack(errors).mean())


def test_a_batch_without_following_readings_is_refused(gaussian):
    model, batch = model_of(), replace(batch_of(gaussian), following=None)
    with pytest.raises(ShapeError, match="expected a batch with the readings that follow each action"):
        model.loss(batch, model.draw(batch.chunk.shape, rng=stream(0)))


def test_a_model_without_readings_models_actions_alone(gaussian):
    model = model_of(sizes=Sizes(horizon=3, width=2, n_observed=4, n_readings=0))
    batch = replace(batch_of(gaussian), observation=Observation(state=gaussian(1, 4, 1, 4)))
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    draws = replace(draws, noise=draws.noise.double())
    assert draws.noise.shape == (4, 3, 2)
    assert model.loss(replace(batch, following=None), draws).item() > 0
    frames = model.frames(batch.observation.vector, rng=stream(0))
    assert frames.readings.shape == (4, 3, 0)
    with pytest.raises(RecipeError, match="it sees pictures alone, and models actions alone"):
        model.frames(batch.observation.vector, rng=stream(0), guidance=Goal((0,), (0.0,)))


def test_variants_of_parameters_have_their_own_losses(gaussian):
    model, batch = model_of(), batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    draws = replace(draws, noise=draws.noise.double(), window_noise=draws.window_noise.double())
    variants = [{name: value + shift for name, value in model.named_parameters()} for shift in (0.0, 0.1)]
    stacked = {name: torch.stack([variant[name] for variant in variants]) for name in variants[0]}
    together = vmap(lambda parameters: functional_call(model, parameters, (batch, draws)))(stacked)
    for loss, variant in zip(together, variants, strict=True):
        torch.testing.assert_close(loss, functional_call(model, variant, (batch, draws)))


# schedule matrices and guidance that are refused


def test_schedule_matrices_are_the_published_ones():
    """Entry (m, j): sampling steps that frame j has left before call m."""
    for lag, name, given in ((0, "full", 1.0), (1.5, "pyramid", 1.5), (4, "autoregressive", 1.0)):
        matrix = schedule_matrix(name, steps=4, horizon=3, uncertainty=given)
        assert len(matrix) == 4 + int(2 * lag) + 1
        for m, row in enumerate(matrix.tolist()):
            assert row == [min(4, max(0, 4 + int(lag * j) - m)) for j in range(3)]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[20, 20, 20], [10, 12, 20], [10, 15, 5], [0, 0, 0]], r"rises from level 12 to 15 at row 2, frame 1\."),
        ([[20, 20, 20], [10, 12, 21], [0, 0, 0]], r"from 0 \(clean\) to 20 \(noise\), got 21 at row 1, frame 2 "),
        ([[20, 20, 20], [10, 0, -1], [0, 0, 0]], r"got -1 at row 1, frame 2 "),
        ([[20, 20, 20], [0, 0, 4]], r"ends with level 4 at row 1, frame 2\. Its last row must be 0"),
        ([[20, 20], [0, 0]], r"whole numbers \[rows, 3\] or \[rows, 3, 2\] .* got torch.int64 \[2, 2\]"),
        ([[0, 0, 0]], r"with at least two rows, got torch.int64 \[1, 3\]"),
        ([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], r"of whole numbers .* got torch.float32 \[2, 3\]"),
    ],
)
def test_matrices_that_cannot_be_followed_name_the_entry(gaussian, matrix, message):
    with pytest.raises(RecipeError, match=message):
        model_of().frames(gaussian(0, 2, 1, 1), rng=stream(0), matrix=torch.tensor(matrix))


def test_entries_of_tokens_are_named():
    matrix = torch.tensor([[[20, 20]], [[5, 5]], [[5, 6]], [[0, 0]]])
    with pytest.raises(RecipeError, match=r"rises from level 5 to 6 at row 2, frame 0 \(readings\)"):
        checked_matrix(matrix, horizon=1, levels=20)


def test_guidance_by_what_is_not_modelled_is_refused(gaussian):
    model, window = model_of(), gaussian(0, 2, 1, 1)
    refused = [
        (Goal((1,), (0.0,)), "the goal is on reading 1, which is not modelled. Modelled are the readings 0 to 0"),
        (Goal((0,), (0.0,), frames=(3,)), "the goal is 4 steps ahead, but a sequence has 3 frames"),
        (Reward(lambda frames: window.sum((-2, -1))), r"uses something that is not modelled. Modelled are frames\.act"),
    ]
    for guidance, message in refused:
        with pytest.raises(RecipeError, match=message):
            model.frames(window, rng=stream(0), guidance=guidance)
    with pytest.raises(ShapeError, match="expected one reward for each of 2 sequences, got numbers of shape"):
        model.frames(window, rng=stream(0), guidance=Reward(lambda frames: frames.readings.sum(-1)))
    with pytest.raises(RecipeError, match="one target for each coordinate of a goal"):
        Goal((0, 1), (0.0,))
    with pytest.raises(RecipeError, match="at least one frame in which the goal holds, got none"):
        Goal((0,), (0.0,), frames=())


def test_options_that_contradict_one_another():
    for changed, message in (
        ({"levels": 25}, "levels that are a multiple of the sampling steps, got 25 levels and 10"),
        ({"constant": 0.7, "held": 0.5}, "constant and held together at most 1, got constant=0.7, held=0.5"),
        ({"sampler": ForcingSampler(steps=10, history=20)}, r"history level from 0 \(clean\) to 19, got 20"),
    ):
        with pytest.raises(RecipeError, match=message):
            replace(SMALL, **changed)
    with pytest.raises(RecipeError, match="an uncertainty above 0 and at most the 4 sampling steps, got 5"):
        ForcingSampler(steps=4, schedule="pyramid", uncertainty=5.0)


def test_sequences_that_cannot_be_continued(gaussian):
    seeing = model_of(sizes=Sizes(horizon=3, width=2, n_observed=4, n_readings=1))
    with pytest.raises(RecipeError, match="of 4 numbers in an observation the model models 1"):
        continued(seeing, gaussian(0, 2, 1, 4), 5, rng=stream(0))
    with pytest.raises(RecipeError, match="a context of 3 leaves no new frames of 3 in a pass"):
        continued(model_of(), gaussian(0, 2, 1, 1), 5, rng=stream(0), context=3)
