"""The flow where it is known: Gaussians and mixtures of them, whose velocity has a closed form."""

import itertools
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError
from holdfast.models import Flow, FlowDraws, FlowModel, FlowSampler, Sizes
from holdfast.models.flow import TIME_SCALE, draw_times, guided, integrate
from holdfast.nn import ResidualMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

MEAN, STD = 0.3, 0.5
SIZES = Sizes(horizon=3, width=2, n_obs_steps=2, n_observed=2)
SMALL = Flow(network=ResidualMlp(width=16, blocks=1, embedding=8), sampler=FlowSampler(steps=5))


def seeded_model(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FlowModel(options, sizes).double()


def batch_of(gaussian, mask=None, count=6):
    inside = torch.ones(count, 3, dtype=torch.bool) if mask is None else mask
    return Batch(observation=Observation(state=gaussian(1, count, 2, 2)), chunk=gaussian(2, count, 3, 2), mask=inside)


def spread(time):
    return (time**2 * STD**2 + (1 - time) ** 2) ** 0.5


def velocity(noisy, time):
    """The mean moves by MEAN, and what is left of the mean is stretched as the spread is."""
    return MEAN + (time * STD**2 - (1 - time)) / spread(time) ** 2 * (noisy - time * MEAN)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_order_of_convergence_to_the_exact_map(gaussian, method, order):
    """The flow maps a standard normal number z to MEAN + STD z."""
    noise, errors = gaussian(0, 64, 3, 2), []
    for steps in (20, 40, 80, 160, 320):
        options = FlowSampler(steps=steps, method=method, clip=None)
        errors.append(float((integrate(velocity, noise, options=options) - MEAN - STD * noise).abs().max()))
    ratios = [coarse / fine for coarse, fine in itertools.pairwise(errors)]
    assert all(0.85 * 2**order < ratio < 1.15 * 2**order for ratio in ratios), ratios


@pytest.mark.parametrize(("method", "calls"), [("euler", 7), ("heun", 13)])
def test_network_calls(gaussian, method, calls):
    times = []

    def count(noisy, time):
        times.append(time)
        return velocity(noisy, time)

    integrate(count, gaussian(0, 2, 3, 2), options=FlowSampler(steps=7, method=method))
    assert len(times) == calls
    assert min(times) == 0
    assert max(times) < 1


def test_samples_are_clipped(gaussian):
    noise = 4 * gaussian(0, 64, 3, 2)
    assert float(integrate(velocity, noise, options=FlowSampler()).abs().max()) == 1
    assert float(integrate(velocity, noise, options=FlowSampler(clip=None)).abs().max()) > 1


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_an_exact_velocity_draws_a_mixture(gaussian, mixture, sliced, chance, method):
    def exact(noisy, time):
        # x = (1 − s) ε + s a, so E[a − ε | x] = (E[a | x] − x) / (1 − s)
        return (mixture.clean(noisy, time, 1 - time) - noisy) / (1 - time)

    noise, truth = gaussian(0, 4000, 2, 1), mixture.draw(4000, stream(1))
    drawn = integrate(exact, noise, options=FlowSampler(steps=300, method=method, clip=None))
    assert sliced(drawn, truth) < chance
    # the bound is sharp enough to see three steps, and 4 % of the chunks in another mode
    few = integrate(exact, noise, options=FlowSampler(steps=3, method=method, clip=None))
    assert sliced(few, truth) > chance
    other = replace(mixture, shares=torch.tensor([0.24, 0.46, 0.3], dtype=torch.float64))
    assert sliced(other.draw(4000, stream(2)), truth) > chance


def test_both_parametrisations_move_alike(gaussian, known):
    """A network that says the clean chunk and one that says the velocity: the same samples."""

    def time_of(times):
        return times[:, :1, None] / TIME_SCALE

    def clean(noisy, times):
        time = time_of(times)
        return noisy + (1 - time) * velocity(noisy, time)

    window, drawn = gaussian(0, 4, 2, 2), []
    answers = {"velocity": lambda noisy, times: velocity(noisy, time_of(times)), "sample": clean}
    for prediction, answer in answers.items():
        model = seeded_model(replace(SMALL, prediction=prediction))
        model.network = known(answer)
        drawn.append(model.sample(Observation(state=window), rng=stream(3)))
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=1e-12)


def test_times_follow_the_beta_law():
    """1 − s = 0.999 B + 0.001 with B ~ Beta(1.5, 1), of whom scipy knows the distribution."""
    drawn = draw_times("beta", 20_000, rng=stream(0)).double()
    law = (1 - drawn - 0.001) / 0.999
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    assert stats.kstest(law.numpy(), stats.beta(1.5, 1).cdf).pvalue > 1e-3
    for level in (0.05, 0.5, 0.95):
        # four deviations of an empirical quantile
        exact = stats.beta(1.5, 1).ppf(level)
        deviation = (level * (1 - level) / 20_000) ** 0.5 / stats.beta(1.5, 1).pdf(exact)
        assert float(law.quantile(level)) == pytest.approx(exact, abs=4 * deviation)
    uniform = draw_times("uniform", 20_000, rng=stream(0)).double()
    assert stats.kstest(uniform.numpy(), stats.uniform.cdf).pvalue > 1e-3


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
def test_loss_is_least_at_the_target_with_the_gradient_of_a_square(gaussian, known, prediction):
    model, batch = seeded_model(replace(SMALL, prediction=prediction)), batch_of(gaussian)
    draws = FlowDraws(time=torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 0.99]).double(), noise=gaussian(3, 6, 3, 2))
    seen = []

    def answer(noisy, times):
        seen.append(noisy)
        return batch.chunk - draws.noise if prediction == "velocity" else batch.chunk

    model.network = known(answer)
    assert float(model.loss(batch, draws).detach()) == 0
    model.network.error.data.fill_(0.25)
    loss = model(batch, draws)
    (slope,) = torch.autograd.grad(loss, model.network.error)
    assert (float(loss.detach()), float(slope)) == pytest.approx((0.25**2, 2 * 0.25))
    for row, time in enumerate(draws.time.tolist()):
        torch.testing.assert_close(seen[0][row], torch.lerp(draws.noise[row], batch.chunk[row], time))


def test_padded_steps_do_not_matter(gaussian, known):
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    model, batch, answer = seeded_model(), batch_of(gaussian, mask), gaussian(5, 6, 3, 2)
    model.network = known(lambda noisy, times: answer)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    loss = model.loss(batch, draws)
    garbage = torch.where(mask[..., None], batch.chunk, 1e6)
    assert torch.equal(model.loss(replace(batch, chunk=garbage), draws), loss)
    errors = (answer - batch.chunk + draws.noise).square().mean(-1)
    torch.testing.assert_close(loss, errors[mask].mean())


def test_equal_seeds_repeat_and_a_batch_of_one_is_a_slice(gaussian):
    model, window, noisy = seeded_model(), gaussian(0, 4, 2, 2), gaussian(1, 4, 3, 2)
    assert torch.equal(
        model.sample(Observation(state=window), rng=stream(3)), model.sample(Observation(state=window), rng=stream(3))
    )
    assert not torch.equal(
        model.sample(Observation(state=window), rng=stream(3)), model.sample(Observation(state=window), rng=stream(4))
    )
    together = model.velocity(window)(noisy, 0.3)
    for row in range(4):
        alone = model.velocity(window[row, None])(noisy[row, None], 0.3)
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


def test_variants_of_parameters_have_their_own_losses(gaussian):
    model, batch = seeded_model(), batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    variants = [{name: value + shift for name, value in model.named_parameters()} for shift in (0.0, 0.1)]
    stacked = {name: torch.stack([variant[name] for variant in variants]) for name in variants[0]}
    together = vmap(lambda parameters: functional_call(model, parameters, (batch, draws)))(stacked)
    for loss, variant in zip(together, variants, strict=True):
        torch.testing.assert_close(loss, functional_call(model, variant, (batch, draws)))


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps):
    with pytest.raises(RecipeError, match=f"steps of at least 1, got {steps}"):
        FlowSampler(steps=steps)


# guidance: a ~ N(0, C), two steps of unit variance and correlation ρ; with x = (1 − s) ε + s a

HELD = torch.tensor([1.0, 0.0], dtype=torch.float64)


def correlated(rho):
    """(E[a | x] − x) / (1 − s), in the eigenvectors (1, 1) and (1, −1) of C with their variances 1 ± ρ."""

    def velocity(noisy, time):
        parts = [(noisy[:, :1] + sign * noisy[:, 1:]) / 2 for sign in (1, -1)]
        gains = [time * (1 + sign * rho) / (time**2 * (1 + sign * rho) + (1 - time) ** 2) for sign in (1, -1)]
        both, apart = (gain * part for gain, part in zip(gains, parts, strict=True))
        return (torch.cat([both + apart, both - apart], 1) - noisy) / (1 - time)

    return velocity


def prefix(value, weights=HELD, count=64):
    chunk = torch.tensor([[value], [0.0]], dtype=torch.float64).expand(count, 2, 1)
    return Prefix(chunk=chunk, weights=weights)


def run(noise, rho, given, guidance=1e9, steps=200):
    options = FlowSampler(steps=steps, clip=None, guidance=guidance)
    return integrate(correlated(rho), noise, options=options, prefix=given)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
@pytest.mark.parametrize("time", [0.05, 0.3, 0.6, 0.95])
def test_one_guided_step_against_linear_regression(gaussian, rho, time):
    """Exactly Bayes for ρ = 0; else the posterior variance of the held step is taken for that of ρ = 0."""
    noisy = gaussian(1, 64, 2, 1)
    plain, held = (guided(correlated(rho), noisy, time, given, 1e9) for given in (None, prefix(0.7)))
    left = 1 - time
    before, after = (noisy + left * rate for rate in (plain, held))
    C = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    # joint law of a and x: what is left of a's covariance when x is known
    posterior = C - time**2 * C @ torch.linalg.inv(time**2 * C + left**2 * torch.eye(2).double()) @ C
    exact = posterior[:, :1] / posterior[0, 0] * (0.7 - before[:, :1])
    share = posterior[0, 0] * (time**2 + left**2) / left**2
    torch.testing.assert_close(after - before, share * exact, rtol=1e-8, atol=1e-9)


def test_independent_steps_the_prefix_is_exact_and_the_rest_untouched(gaussian):
    noise = gaussian(0, 64, 2, 1)
    held, free = run(noise, 0.0, prefix(0.7)), run(noise, 0.0, None)
    torch.testing.assert_close(held[:, 0], torch.full_like(held[:, 0], 0.7), rtol=0, atol=1e-9)
    torch.testing.assert_close(held[:, 1], free[:, 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_correlated_steps_end_near_the_conditional_mean(gaussian, rho):
    """The held step ends on its value; the free one's mean moves by at least 80 % of ρ Y, never past it."""
    noise = gaussian(0, 64, 2, 1)
    noise = torch.cat([noise, -noise])  # mean zero exactly; the map is affine
    shift = run(noise, rho, prefix(0.7, count=128)).mean(dim=0)
    assert float(shift[0]) == pytest.approx(0.7, abs=6e-3)
    assert 0.8 * rho * 0.7 < float(shift[1]) <= rho * 0.7 + 1e-6


def test_the_largest_weight_is_that_of_real_time_chunking(gaussian):
    """v + min(β, (1 − τ) / (τ r²)) (∂Â/∂A)ᵀ (Y − Â), written out for independent steps: ∂Â/∂A = τ / (τ² + (1 − τ)²)."""
    noisy, tau, beta = gaussian(1, 64, 2, 1), 0.9, 5.0
    square = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
    assert (1 - tau) / (tau * square) > beta
    plain = correlated(0.0)(noisy, tau)
    slope = tau / (tau**2 + (1 - tau) ** 2)
    expected = plain[:, 0] + beta * slope * (0.7 - slope * noisy[:, 0])
    corrected = guided(correlated(0.0), noisy, tau, prefix(0.7), beta)
    torch.testing.assert_close(corrected[:, 0], expected)
    torch.testing.assert_close(corrected[:, 1], plain[:, 1])


def test_zero_weights_are_no_prefix(gaussian):
    noise = gaussian(0, 64, 2, 1)
    nothing = prefix(0.7, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(run(noise, 0.6, nothing), run(noise, 0.6, None), rtol=0, atol=1e-12)
