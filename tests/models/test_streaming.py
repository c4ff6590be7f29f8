"""Streaming: levels as published, plans at a part of the calls, and laws of a process whose denoiser is exact."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError
from holdfast.models import Diffusion, DiffusionModel, Sampler, Sizes, Streaming, StreamingModel, StreamingSampler
from holdfast.models.flow import TIME_SCALE
from holdfast.models.streaming import denoise_along
from holdfast.nn import ResidualMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

NETWORK = ResidualMlp(width=16, blocks=1, embedding=8)
SMALL = Streaming(network=NETWORK, levels=20, sampler=StreamingSampler(steps=10, clip=None))
SIZES = Sizes(horizon=4, width=2, n_observed=2)
RHO, STD = 0.8, 0.5


def seeded_model(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StreamingModel(options, sizes).double()


def batch_of(gaussian, count=6, mask=None):
    inside = torch.ones(count, 4, dtype=torch.bool) if mask is None else mask
    return Batch(observation=Observation(state=gaussian(1, count, 1, 2)), chunk=gaussian(2, count, 4, 2), mask=inside)


def covariance(steps=4):
    """Of a stationary process x' = ρ x + noise with standard deviation STD."""
    place = torch.arange(steps, dtype=torch.float64)
    return STD**2 * RHO ** (place[:, None] - place).abs()


class Exact(torch.nn.Module):
    """In a network's place: the velocity that belongs to the process's E[a | x] at any levels. Notes its calls.

    With `told`, E[a | x, observation], where the observation is the process's value before the chunk.
    """

    def __init__(self, signal, told=False):
        super().__init__()
        self.signal, self.told, self.seen = signal, told, []

    def encode(self, observation):
        return observation

    def forward(self, chunk, times, memory):
        self.seen.append(times[0].clone())
        level = (times[0] / TIME_SCALE * (len(self.signal) - 1)).round().long()
        # clean steps say what they are: a little less than exactly, so that the matrix stays invertible
        signal = self.signal[level].clamp(max=1 - 1e-9)
        scale, noise = signal.sqrt().diag(), (1 - signal).diag()
        C, mean = covariance(), torch.zeros_like(chunk)
        if self.told:
            decay = RHO ** torch.arange(1, 5, dtype=torch.float64)
            C, mean = C - STD**2 * decay[:, None] * decay, decay[:, None] * memory
        clean = mean + (C @ scale @ torch.linalg.inv(scale @ C @ scale + noise)) @ (chunk - scale @ mean)
        signal = signal[:, None]
        return (signal.sqrt() * chunk - clean) / (1 - signal).sqrt()


def exact_model(levels=200, steps=100, blocks=2, eta=0.0, told=False):
    options = Streaming(
        NETWORK, levels=levels, blocks=blocks, sampler=StreamingSampler(steps=steps, eta=eta, clip=None, guidance=1e9)
    )
    model = seeded_model(options, Sizes(horizon=4, width=1, n_observed=1))
    model.network = Exact(model.signal, told)
    return model


def windows(count):
    return torch.zeros(count, 1, 1, dtype=torch.float64)


# training


def test_levels_of_blocks_are_the_published_ones():
    """k_i = ⌊N (i + 1) / B⌋ − 1 − j with j from 0 to N/B − 1, where k counts from 0; here 0 is clean."""
    options = Streaming(NETWORK, levels=100, blocks=4, constant=0.0, held=0.0, sampler=StreamingSampler(steps=20))
    level = seeded_model(options, Sizes(horizon=8, width=1, n_observed=1)).draw(torch.Size((5000, 8, 1)), rng=stream(0))
    found = {tuple(row) for row in level.level.tolist()}
    expected = {tuple(25 * (i + 1) - 1 - j + 1 for i in range(4) for _ in range(2)) for j in range(25)}
    assert found == expected


def test_shares_of_the_kinds_of_levels():
    options = Streaming(NETWORK, levels=100, constant=0.3, held=0.25)
    count = 20_000
    level = seeded_model(options).draw(torch.Size((count, 4, 2)), rng=stream(0)).level
    clean = level[:, 0] == 0
    assert float(clean.double().mean()) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / count) ** 0.5)
    # one to three clean steps, equally often, and they come first
    lengths = (level == 0).sum(1)
    assert torch.equal(level == 0, torch.arange(4) < lengths[:, None])
    assert [float((lengths[clean] == n).double().mean()) for n in (1, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.04)
    constant = (level[~clean] == level[~clean][:, :1]).all(1)
    assert float(constant.double().mean()) == pytest.approx(0.3, abs=0.02)
    assert set(level[~clean][constant].flatten().tolist()) == set(range(1, 101))


def test_independent_levels():
    options = Streaming(NETWORK, levels=20, law="independent", constant=0.0, held=0.0)
    level = seeded_model(options).draw(torch.Size((20_000, 4, 2)), rng=stream(0)).level.double()
    # five deviations of a binomial count
    counts = torch.bincount(level.long().flatten(), minlength=21)
    assert counts[0] == 0
    assert float((counts[1:] - 4000).abs().max()) < 5 * 4000**0.5
    correlation = level.T.corrcoef() - torch.eye(4)
    assert float(correlation.abs().max()) < 5 / 20_000**0.5


@pytest.mark.parametrize("prediction", ["sample", "velocity"])
def test_only_noised_steps_inside_episodes_count(gaussian, known, prediction):
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    level = torch.tensor([[0, 0, 5, 20], [3, 1, 7, 7], [0, 9, 9, 9]])
    model, batch = seeded_model(replace(SMALL, prediction=prediction)), batch_of(gaussian, 3, mask)
    draws = replace(model.draw(batch.chunk.shape, rng=stream(0)), level=level, noise=gaussian(3, 3, 4, 2))
    said, seen = gaussian(5, 3, 4, 2), []
    model.network = known(lambda noisy, times: seen.append((noisy, times)) or said)
    loss = model.loss(batch, draws)
    errors = []
    for row, step in ((0, 2), (0, 3), (1, 0), (1, 1)):
        signal = float(model.signal[level[row, step]])
        cosine, sine = signal**0.5, (1 - signal) ** 0.5
        clean, noise = batch.chunk[row, step], draws.noise[row, step]
        torch.testing.assert_close(seen[0][0][row, step], cosine * clean + sine * noise)
        target = clean if prediction == "sample" else cosine * noise - sine * clean
        errors.append((said[row, step] - target).square().mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    assert torch.equal(seen[0][0][0, :2], batch.chunk[0, :2])
    torch.testing.assert_close(seen[0][1], (5 * level).double())


def test_variants_of_parameters_have_their_own_losses(gaussian):
    model, batch = seeded_model(), batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    variants = [{name: value + shift for name, value in model.named_parameters()} for shift in (0.0, 0.1)]
    stacked = {name: torch.stack([variant[name] for variant in variants]) for name in variants[0]}
    together = vmap(lambda parameters: functional_call(model, parameters, (batch, draws)))(stacked)
    for loss, variant in zip(together, variants, strict=True):
        torch.testing.assert_close(loss, functional_call(model, variant, (batch, draws)))


# sampling


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_steps_that_move_together_move_as_in_diffusion(gaussian, eta):
    """One network for both, and the same levels: the same chunks."""
    window, memory = gaussian(0, 5, 1, 2), []

    def answer(noisy, times):
        memory.append(times)
        return noisy.sin() + 0.3

    class Wave(torch.nn.Module):
        def encode(self, observation):
            return observation

        def forward(self, chunk, times, memory):
            return answer(chunk, times)

    sampler = Sampler(steps=20, eta=eta)
    diffusion = DiffusionModel(Diffusion(NETWORK, levels=20, prediction="velocity", sampler=sampler), SIZES)
    streaming = seeded_model(replace(SMALL, sampler=StreamingSampler(steps=20, eta=eta)))
    diffusion.network = streaming.network = Wave()
    expected = diffusion.sample(Observation(state=window), rng=stream(3))
    torch.testing.assert_close(streaming.sample(Observation(state=window), rng=stream(3)), expected, rtol=0, atol=1e-10)
    # at diffusion's level k = 19 … 0 the steps are at level k + 1 of 20, told in hundredths
    assert [float(times[0, 0]) for times in memory[:20]] == list(range(19, -1, -1))
    assert [float(times[0, 0]) for times in memory[20:]] == [5.0 * level for level in range(20, 0, -1)]


@pytest.mark.parametrize(("eta", "steps"), [(0.0, 100), (1.0, 200)])
def test_chunks_from_noise_have_the_processs_law(eta, steps):
    model, count = exact_model(steps=steps, eta=eta), 8000
    drawn = model.sample(Observation(state=windows(count)), rng=stream(0))[..., 0]
    # five standard errors of a covariance, and the sampler's own narrowing
    torch.testing.assert_close(drawn.T.cov(), covariance(), rtol=0.03, atol=5 * STD**2 * (2 / count) ** 0.5)
    assert float(drawn.mean(0).abs().max()) < 5 * STD / count**0.5
    assert len(model.network.seen) == steps


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_a_plan_from_a_buffer_costs_a_part_of_the_calls(blocks):
    model = exact_model(steps=20, blocks=blocks)
    buffer = model.start(Observation(state=windows(3)), rng=stream(0))
    assert len(model.network.seen) == 20
    for _ in range(3):
        model.network.seen.clear()
        buffer = model.advance(buffer, Observation(state=windows(3)), rng=stream(1))
        assert len(model.network.seen) == 20 // blocks
        assert buffer.ready.shape == (3, 4 // blocks, 1)
    # each block starts where the one after it ended, the last from noise
    first, last = model.network.seen[0], model.network.seen[-1]
    assert first.tolist() == pytest.approx([100 / blocks * (1 + step * blocks // 4) for step in range(4)])
    assert (first - last).tolist() == pytest.approx([100 / blocks - 5] * 4)


@pytest.mark.parametrize("blocks", [2, 4])
def test_streamed_blocks_have_the_law_of_the_process(blocks):
    """What is executed, plan after plan, given what was executed last, is one stretch of the process.

    It is what chunks from noise would be, at a part of the calls: covariances within blocks and between them.
    """
    model, count, rng = exact_model(blocks=blocks, told=True), 8000, stream(0, "stream")
    seen = STD * torch.randn(count, 1, 1, dtype=torch.float64, generator=rng)
    buffer, executed = model.start(Observation(state=seen), rng=rng), []
    while len(executed) * 4 < 8 * blocks:
        executed.append(buffer.ready)
        buffer = model.advance(buffer, Observation(state=buffer.ready[:, -1:]), rng=rng)
    steps = torch.cat(executed, dim=1)[..., 0]
    assert steps.shape == (count, 8)
    torch.testing.assert_close(steps.T.cov(), covariance(8), rtol=0.04, atol=5 * STD**2 * (2 / count) ** 0.5)


def test_without_a_telling_observation_only_single_blocks_have_their_law():
    """Of a block that was executed the next one knows by the observation alone."""
    model, count, rng = exact_model(), 8000, stream(0, "stream")
    buffer = model.start(Observation(state=windows(count)), rng=rng)
    first = buffer.ready[..., 0]
    second = model.advance(buffer, Observation(state=windows(count)), rng=rng).ready[..., 0]
    found = torch.cat([first, second], dim=1).T.cov()
    tolerance = 5 * STD**2 * (2 / count) ** 0.5
    for block in (slice(0, 2), slice(2, 4)):
        torch.testing.assert_close(found[block, block], covariance(2), rtol=0.04, atol=tolerance)
    assert float(found[1, 2]) < 0.8 * STD**2 * RHO


def test_a_buffer_follows_what_is_observed(gaussian):
    """The observation of a plan is that plan's: a network that says the observation steers the ready block there."""
    model = exact_model(steps=100)

    class Told(torch.nn.Module):
        def encode(self, observation):
            return observation

        def forward(self, chunk, times, memory):
            signal = model.signal[(times[0] * 2).round().long()].clamp(max=1 - 1e-9)[:, None]
            return (signal.sqrt() * chunk - memory) / (1 - signal).sqrt()

    model.network = Told()
    buffer = model.start(Observation(state=windows(5) + 0.2), rng=stream(0))
    torch.testing.assert_close(buffer.ready, torch.full((5, 2, 1), 0.2).double(), rtol=0, atol=1e-6)
    moved = model.advance(buffer, Observation(state=windows(5) - 0.6), rng=stream(1))
    torch.testing.assert_close(moved.ready, torch.full((5, 2, 1), -0.6).double(), rtol=0, atol=1e-6)


def test_a_firm_prefix_conditions_exactly():
    """Known steps at level 0: the others have the conditional law, Gaussian by linear regression."""
    model, count = exact_model(levels=200, steps=200), 8000
    known = torch.tensor([0.4, -0.3], dtype=torch.float64)
    chunk = torch.zeros(count, 4, 1, dtype=torch.float64)
    chunk[:, :2, 0] = known
    weights = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    drawn = model.sample(Observation(state=windows(count)), rng=stream(0), prefix=Prefix(chunk=chunk, weights=weights))[
        ..., 0
    ]
    assert torch.equal(drawn[:, :2], chunk[:, :2, 0])
    assert len(model.network.seen) == 200
    C = covariance()
    regression = C[2:, :2] @ torch.linalg.inv(C[:2, :2])
    posterior = C[2:, 2:] - regression @ C[:2, 2:]
    torch.testing.assert_close(drawn[:, 2:].mean(0), regression @ known, rtol=0.01, atol=5 * STD / count**0.5)
    torch.testing.assert_close(drawn[:, 2:].T.cov(), posterior, rtol=0.03, atol=5 * STD**2 * (2 / count) ** 0.5)


def test_a_soft_prefix_pulls_less_than_a_firm_one():
    chunk, shifts = torch.full((2000, 4, 1), 0.8, dtype=torch.float64), []
    for weight in (0.0, 0.3, 1.0):
        weights = torch.tensor([weight, 0.0, 0.0, 0.0], dtype=torch.float64)
        model = exact_model()
        drawn = model.sample(
            Observation(state=windows(2000)), rng=stream(0), prefix=Prefix(chunk=chunk, weights=weights)
        )
        shifts.append(drawn.mean(0)[:, 0])
    # step by step, held or not, the softly held chunk lies between the free one and the firmly held one
    assert bool((shifts[0] < shifts[1]).all())
    assert bool((shifts[1] < shifts[2]).all())


def test_guidance_has_the_weight_of_the_noisy_steps_beside_clean_ones(gaussian, known):
    """One call, from ᾱ = 0.001 to the estimate x̂ = x / 2: a step of weight w moves by λ w (Y − x̂) / 2, λ = 1 / √ᾱ."""
    options = Streaming(
        NETWORK, levels=1, prediction="sample", blocks=1, sampler=StreamingSampler(steps=1, clip=None, guidance=1e9)
    )
    model = seeded_model(options, Sizes(horizon=3, width=1, n_observed=1))
    model.network = known(lambda noisy, times: noisy / 2)
    weights, chunk = torch.tensor([1.0, 0.25, 0.0], dtype=torch.float64), gaussian(0, 5, 3, 1)
    found = model.sample(Observation(state=windows(5)), rng=stream(0), prefix=Prefix(chunk=chunk, weights=weights))
    free = torch.randn(5, 3, 1, dtype=torch.float64, generator=stream(0)) / 2
    torch.testing.assert_close(found[:, 0], chunk[:, 0])
    torch.testing.assert_close(found[:, 1], free[:, 1] + 0.001**-0.5 * 0.25 * (chunk - free)[:, 1] / 2)
    torch.testing.assert_close(found[:, 2], free[:, 2])


def test_a_step_that_stays_is_left_alone(gaussian):
    model = seeded_model(replace(SMALL, sampler=StreamingSampler(steps=10, eta=1.0)))
    noisy, path = gaussian(0, 5, 4, 2), torch.tensor([[7, 20, 0, 5], [7, 10, 0, 5], [7, 10, 0, 0]])
    moved = denoise_along(
        lambda chunk, level: chunk.tanh(), model.signal, noisy, path, options=model.options.sampler, rng=stream(0)
    )
    assert torch.equal(moved[:, [0, 2]], noisy[:, [0, 2]])
    # the last row takes its step to the estimate itself
    torch.testing.assert_close(moved[:, 3], noisy[:, 3].tanh())


def test_options_out_of_range():
    with pytest.raises(RecipeError, match="got 100 levels, 30 sampling steps and 2 blocks"):
        Streaming(sampler=StreamingSampler(steps=30))
    with pytest.raises(RecipeError, match="got 100 levels, 25 sampling steps and 2 blocks"):
        Streaming(sampler=StreamingSampler(steps=25))
    with pytest.raises(RecipeError, match=r"shares between 0 and 1, got constant=1.5 and held=0.2"):
        Streaming(constant=1.5)
    with pytest.raises(RecipeError, match="a chunk of 5 steps cannot be divided into 2 equal blocks"):
        StreamingModel(SMALL, Sizes(horizon=5, width=1, n_observed=1))


@pytest.mark.parametrize("law", ["blocks", "independent"])
def test_learns_both_modes(two_modes, law):
    """From noise; and with one number given, here as a first step, the other follows from it."""
    options = Streaming(ResidualMlp(width=48, blocks=2, embedding=16), law=law, blocks=1)
    model = two_modes.trained(StreamingModel, options)
    near, positive = two_modes.found(model)
    assert near > 0.85
    assert positive == pytest.approx(0.5, abs=0.1)
