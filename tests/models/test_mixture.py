"""The mixture density network: its loss by hand, its exact law given a prefix, and ways that it keeps apart."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import softplus

from holdfast.errors import RecipeError
from holdfast.models import Sizes
from holdfast.models.mixture import Mixture, MixtureModel, lstm_gmm
from holdfast.models.regression import Regression, RegressionModel
from holdfast.nn import Dit, Lstm, ResidualMlp, Transformer
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

SIZES = Sizes(horizon=3, width=2, n_obs_steps=2, n_observed=2)
SMALL = Mixture(network=ResidualMlp(width=16, blocks=1, embedding=4), components=3)
SCOPES = ["chunk", "step"]


def built(options=SMALL, sizes=SIZES, seed=0, shaken=0.1):
    """A model away from its start, where blocks and heads may do nothing yet."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = (MixtureModel if isinstance(options, Mixture) else RegressionModel)(options, sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += shaken * torch.randn_like(parameter)
    return model


def batch_of(gaussian, mask=None):
    inside = torch.ones(4, 3, dtype=torch.bool) if mask is None else mask
    return Batch(observation=Observation(state=gaussian(1, 4, 2, 2)), chunk=gaussian(2, 4, 3, 2), mask=inside)


def laws(model, observation):
    """What the network's numbers mean, said again: its outputs [b, h, k + 2 k w] → PyTorch's distributions."""
    k, options = model.options.components, model.options
    network = model.network
    output = network(
        torch.zeros(len(observation), 3, 2).double(), observation.new_zeros(4, 0), network.encode(observation)
    )
    logits = output[..., :k]
    mean = torch.stack([output[..., k + 4 * j : k + 4 * j + 2] for j in range(k)], 2)
    std = softplus(torch.stack([output[..., k + 4 * j + 2 : k + 4 * j + 4] for j in range(k)], 2)) + options.min_std
    mean = mean.tanh() if options.squash else mean
    if options.scope == "step":
        return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(mean, std), 1))
    whole = Independent(Normal(mean.movedim(1, 2), std.movedim(1, 2)), 2)
    return MixtureSameFamily(Categorical(logits=logits.mean(1)), whole)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
def test_likelihood_against_torch_distributions(gaussian, scope, squash):
    model, batch = built(replace(SMALL, scope=scope, squash=squash, sampling="mode")).double(), batch_of(gaussian)
    expected = laws(model, batch.observation.vector).log_prob(batch.chunk)
    expected = expected.sum(-1) if scope == "step" else expected
    torch.testing.assert_close(model.log_likelihood(batch.observation, batch.chunk), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(model(batch, None), -expected.sum() / (4 * 3 * 2))


@pytest.mark.parametrize("scope", SCOPES)
def test_steps_outside_neither_count_nor_tell_the_component(gaussian, scope):
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    model, batch = built(replace(SMALL, scope=scope)).double(), batch_of(gaussian, mask)
    garbage = replace(batch, chunk=torch.where(mask[..., None], batch.chunk, 1e3))
    losses = [model(batch, None), model(garbage, None)]
    assert torch.equal(*losses)
    slopes = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))
    # by hand: shorter chunks are mixtures over fewer steps
    law, total = laws(model, batch.observation.vector), 0.0
    logs = law.component_distribution.base_dist.log_prob(batch.chunk.unsqueeze(2 if scope == "step" else 1)).sum(-1)
    for row, count in enumerate([3, 2, 1, 3]):
        weights = law.mixture_distribution.logits[row]
        if scope == "chunk":
            total += (weights + logs[row, :, :count].sum(-1)).logsumexp(-1)
        else:
            total += (weights + logs[row])[:count].logsumexp(-1).sum()
    torch.testing.assert_close(losses[0], -total / (9 * 2))


@pytest.mark.parametrize("scope", SCOPES)
def test_variants_side_by_side(gaussian, scope):
    """The loss of stacked parameters, mapped, is that of each model alone."""
    models, batch = [built(replace(SMALL, scope=scope), seed=seed).double() for seed in range(3)], batch_of(gaussian)
    parameters, buffers = stack_module_state(models)
    assert not buffers
    losses = vmap(lambda leaves: functional_call(models[0], leaves, (batch, None)))(parameters)
    expected = torch.stack([model(batch, None) for model in models])
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scope", SCOPES)
def test_rows_are_independent_and_precision_is_kept(gaussian, scope):
    model, batch = built(replace(SMALL, scope=scope, sampling="mode")).double(), batch_of(gaussian)
    together = model.sample(batch.observation, rng=stream(0))
    likelihood = model.log_likelihood(batch.observation, batch.chunk)
    for row in range(4):
        one = batch.observation.vector[row, None]
        torch.testing.assert_close(
            model.sample(Observation(state=one), rng=stream(row))[0], together[row], rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            model.log_likelihood(Observation(state=one), batch.chunk[row, None])[0], likelihood[row]
        )
    single = built(replace(SMALL, scope=scope))
    assert single.sample(Observation(state=batch.observation.vector.float()), rng=stream(0)).dtype == torch.float32
    assert together.dtype == torch.float64


@pytest.mark.parametrize("scope", SCOPES)
def test_samples_follow_the_law(gaussian, scope):
    model, count = built(replace(SMALL, scope=scope)).double(), 40_000
    window = gaussian(1, 4, 2, 2)
    law = laws(model, window)
    drawn = model.sample(Observation(state=window[:1].expand(count, -1, -1)), rng=stream(0))
    assert torch.equal(drawn[:8], model.sample(Observation(state=window[:1].expand(count, -1, -1)), rng=stream(0))[:8])
    error = 5 * law.variance[0].sqrt() / count**0.5
    assert bool(((drawn.mean(0) - law.mean[0]).abs() < error).all())
    torch.testing.assert_close(drawn.var(0), law.variance[0], rtol=0.1, atol=0)
    # half of the draws are as likely as half of the law's own
    own = law.sample((count,))[:, 0]
    ours, theirs = (law.log_prob(v.unsqueeze(1))[:, 0].reshape(count, -1).sum(-1) for v in (drawn, own))
    assert float((ours < theirs.median()).double().mean()) == pytest.approx(0.5, abs=5 * 0.7 / count**0.5)


@pytest.mark.parametrize("scope", SCOPES)
def test_what_mode_and_low_noise_answer(gaussian, scope):
    window = gaussian(1, 4, 2, 2)
    model = built(replace(SMALL, scope=scope, sampling="mode")).double()
    law = laws(model, window)
    means, heaviest = law.component_distribution.mean, law.mixture_distribution.logits.argmax(-1)
    for row in range(4):
        expected = [means[row, step, heaviest[row, step]] for step in range(3)] if scope == "step" else None
        expected = means[row, heaviest[row]] if expected is None else torch.stack(expected)
        torch.testing.assert_close(model.sample(Observation(state=window), rng=stream(0))[row], expected)
    quiet = built(replace(SMALL, scope=scope, sampling="low_noise")).double()
    drawn = quiet.sample(Observation(state=window[:1].expand(5000, -1, -1)), rng=stream(0))
    if scope == "step":
        distance, chosen = (drawn[:, :, None] - means[0]).abs().amax(-1).min(-1)
    else:
        distance, chosen = (drawn[:, None] - means[0]).abs().amax((-2, -1)).min(-1)
    assert 2e-4 < float(distance.detach().max()) < 6e-4
    shares = torch.nn.functional.one_hot(chosen, 3).double().mean(0)
    torch.testing.assert_close(shares, law.mixture_distribution.probs[0], rtol=0, atol=0.05)


@pytest.mark.parametrize("scope", SCOPES)
def test_given_a_prefix_against_importance_sampling(gaussian, scope):
    """Draws without a prefix, weighed by how well they explain a soft measurement of their first step."""
    model, count = built(replace(SMALL, scope=scope, min_std=0.3), seed=1, shaken=0.15).double(), 60_000
    window = gaussian(1, 1, 2, 2).expand(count, -1, -1)
    measured = torch.tensor([[0.8, -0.5], [0.2, 0.1], [9.0, 9.0]]).double()
    weights = torch.tensor([0.7, 0.0, 0.0]).double()
    prefix = Prefix(chunk=measured.expand(count, -1, -1), weights=weights)
    free, held = (
        model.sample(Observation(state=window), rng=stream(0)),
        model.sample(Observation(state=window), rng=stream(1), prefix=prefix),
    )
    importance = Normal(free[:, 0], (0.3 / 0.7) ** 0.5).log_prob(measured[0]).sum(-1).softmax(0)
    mean = (importance[:, None, None] * free).sum(0)
    spread = (importance[:, None, None] * (free - mean) ** 2).sum(0)
    error = 6 * spread.sqrt() * (importance.square().sum() + 1 / count).sqrt()
    assert bool(((held.mean(0) - mean).abs() < error).all())
    torch.testing.assert_close(held.var(0), spread, rtol=0.05, atol=0)
    shift = (mean - free.mean(0))[1:].abs().max()
    assert (float(shift) > float(error.max())) == (scope == "chunk"), "over chunks the first step tells of the others"
    exact = Prefix(chunk=prefix.chunk, weights=torch.tensor([0.0, 1.0, 0.0]).double())
    assert torch.equal(model.sample(Observation(state=window), rng=stream(1), prefix=exact)[:, 1], exact.chunk[:, 1])


@pytest.mark.parametrize("sampling", ["sample", "mode", "low_noise"])
def test_known_steps_are_held_however_it_is_sampled(gaussian, sampling):
    model, chunk = built(replace(SMALL, sampling=sampling)), gaussian(3, 4, 2, 2).float()
    window = gaussian(1, 4, 2, 2).float()
    drawn = model.sample(
        Observation(state=window), rng=stream(0), prefix=Prefix(chunk=chunk, weights=torch.tensor([1.0, 1.0]))
    )
    assert torch.equal(drawn[:, :2], chunk)
    assert bool(drawn.isfinite().all())


def fitted(options, law, sizes, steps=250, batch=128):
    """A model fitted to law(rng, count) → (observations, chunks)."""
    model, rng = built(options, sizes, shaken=0.0), stream(0, "fit")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        observation, chunk = law(rng, batch)
        data = Batch(
            observation=Observation(state=observation), chunk=chunk, mask=torch.ones(chunk.shape[:2], dtype=torch.bool)
        )
        optimiser.zero_grad()
        model(data, None).backward()
        optimiser.step()
        schedule.step()
    return model


def two_ways(rng, count):
    """All steps at (0.7, −0.7) or all at (−0.7, 0.7), by a fair coin."""
    sign = torch.randint(2, (count, 1, 1), generator=rng) * 2.0 - 1
    noise = 0.05 * torch.randn(count, 4, 2, generator=rng)
    return torch.zeros(count, 1, 1), sign * torch.tensor([0.7, -0.7]) + noise


LINE = Sizes(horizon=4, width=2, n_observed=1)
NET = ResidualMlp(width=32, blocks=1, embedding=4)


def test_one_component_a_chunk_keeps_to_one_way():
    """Over chunks all steps agree; with one mixture a step, four fair coins agree once in eight."""
    window = torch.zeros(1000, 1, 1)
    signs = {}
    for scope in SCOPES:
        model = fitted(Mixture(network=NET, components=2, scope=scope), two_ways, LINE)
        drawn = model.sample(Observation(state=window), rng=stream(1))
        assert float(((drawn.abs() - 0.7).abs() < 0.25).all(-1).double().mean()) > 0.98
        assert float((drawn[:, 0, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.1)
        signs[scope] = (drawn[..., 0] > 0).sum(1)
        # shown the first step, the rest follows, or does not know
        first = Prefix(chunk=torch.tensor([[[0.7, -0.7]]]).expand(1000, 1, 2), weights=torch.ones(1))
        follows = model.sample(Observation(state=window), rng=stream(2), prefix=first)[:, 1:, 0] > 0
        assert float(follows.double().mean()) == pytest.approx(1.0 if scope == "chunk" else 0.5, abs=0.06)
    agree = {scope: float(((count == 0) | (count == 4)).double().mean()) for scope, count in signs.items()}
    assert agree["chunk"] == 1
    assert agree["step"] == pytest.approx(1 / 8, abs=0.06)
    average = fitted(Regression(network=NET), two_ways, LINE, steps=100).sample(
        Observation(state=window[:1]), rng=stream(1)
    )
    assert float(average.abs().max()) < 0.2


@pytest.mark.parametrize("network", [Dit(width=16, layers=1, heads=2), Transformer(width=16, layers=1, heads=2)])
def test_components_part_though_small_weights_start_them_alike(network):
    drawn = fitted(Mixture(network=network, components=2), two_ways, LINE, steps=150)
    drawn = drawn.sample(Observation(state=torch.zeros(200, 1, 1)), rng=stream(1))
    assert float(((drawn.abs() - 0.7).abs() < 0.5).all(-1).all(-1).double().mean()) > 0.95
    assert 0.3 < float((drawn[:, 0, 0] > 0).double().mean()) < 0.7


def test_learns_a_conditional_gaussian():
    """Mean (0.4 o, −0.3 o²), standard deviations 0.2 and 0.1: one component knows no correlation."""

    def law(rng, count):
        seen = 2 * torch.rand(count, 1, 1, generator=rng) - 1
        noise = torch.randn(count, 1, 2, generator=rng) * torch.tensor([0.2, 0.1])
        return seen, torch.cat([0.4 * seen, -0.3 * seen**2], -1) + noise

    model = fitted(Mixture(network=NET, components=1), law, Sizes(horizon=1, width=2, n_observed=1), steps=600)
    for seen in (-0.8, 0.0, 0.8):
        drawn = model.sample(Observation(state=torch.full((4000, 1, 1), seen)), rng=stream(1))[:, 0]
        torch.testing.assert_close(drawn.mean(0), torch.tensor([0.4 * seen, -0.3 * seen**2]), rtol=0, atol=0.03)
        torch.testing.assert_close(drawn.T.cov(), torch.diag(torch.tensor([0.04, 0.01])), rtol=0, atol=0.004)


def test_options():
    assert from_plain(Mixture, to_plain(replace(SMALL, squash=True))) == replace(SMALL, squash=True)
    with pytest.raises(RecipeError, match="components of at least 1, got 0"):
        Mixture(components=0)
    with pytest.raises(RecipeError, match=r"min_std above 0, got 0.0\. Without a lower bound"):
        Mixture(min_std=0.0)


def test_robomimics_constants(gaussian):
    options = lstm_gmm()
    assert (options.components, options.scope, options.squash, options.min_std) == (5, "step", True, 1e-4)
    assert options.network == Lstm(layers=2, width=400)
    model = built(options)
    drawn = model.sample(Observation(state=100 * gaussian(1, 4, 2, 2).float()), rng=stream(0))
    assert float(drawn.abs().max()) < 1.001, "squashed means and little noise"
