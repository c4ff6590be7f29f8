"""The conditional autoencoder: its bound where it is known exactly, prefixes, and what the latent is for."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.func import functional_call, stack_module_state, vmap

from holdfast.errors import RecipeError
from holdfast.models import Regression, RegressionModel, Sizes
from holdfast.models.latent import Cvae, CvaeModel, act, divergence
from holdfast.nn import ResidualMlp, Transformer
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

SIZES = Sizes(horizon=3, width=2, n_obs_steps=2, n_observed=2)
NET = ResidualMlp(width=16, blocks=1, embedding=4)
SMALL = Cvae(encoder=NET, decoder=NET, latent=4)


def built(options=SMALL, sizes=SIZES, seed=0, shaken=0.1):
    """A model away from its start, where blocks and heads may do nothing yet."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = (CvaeModel if isinstance(options, Cvae) else RegressionModel)(options, sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += shaken * torch.randn_like(parameter)
    return model


def batch_of(gaussian, mask=None):
    inside = torch.ones(4, 3, dtype=torch.bool) if mask is None else mask
    return Batch(observation=Observation(state=gaussian(1, 4, 2, 2)), chunk=gaussian(2, 4, 3, 2), mask=inside)


class Stub(torch.nn.Module):
    """A network that is a given function of what goes in."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def encode(self, observation):
        return observation.flatten(1)

    def forward(self, chunk, times, memory):
        return self.function(chunk, memory)


def test_divergence_against_torch_distributions(gaussian):
    mean, log_variance = gaussian(0, 5, 4), gaussian(1, 5, 4)
    theirs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros_like(mean), 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, log_variance), theirs)


C, S = torch.tensor([0.8, -0.5], dtype=torch.float64), 0.3
LINEAR = Sizes(horizon=2, width=1, n_observed=1)


def linear_gaussian(shift=0.0, **options):
    """A chunk a = C z + S ε, its decoder, and an encoder that knows the posterior, or is off by a shift."""
    model = built(replace(SMALL, latent=1, penalty="l2", kl_weight=2 * S**2 / 2, **options), LINEAR).double()
    precision = 1 + float(C @ C) / S**2

    def encode(seen, memory):
        # what the mean over two steps makes of it is (C·a) / S² / precision + shift
        mean = 2 * C * seen[..., 0] / S**2 / precision + shift
        return torch.stack([mean, torch.full_like(mean, precision).log().neg()], -1)

    model.encoder, model.decoder = Stub(encode), Stub(lambda latent, memory: C[:, None] * latent)
    return model, precision


@pytest.mark.parametrize("shift", [0.0, 0.2, -0.5])
def test_the_loss_is_the_evidence_bound(gaussian, shift):
    """−loss h w / 2 s² is log p(a), less the divergence of the encoder's law from the true posterior.

    The penalty is quadratic in the noise of the latent: its mean is the mean over ε = 1 and ε = −1.
    """
    model, precision = linear_gaussian(shift)
    chunk = gaussian(0, 6, 2, 1)
    batch = Batch(
        observation=Observation(state=torch.zeros(6, 1, 1).double()),
        chunk=chunk,
        mask=torch.ones(6, 2, dtype=torch.bool),
    )
    noise = torch.ones(6, 1).double()
    loss = (model(batch, noise) + model(batch, -noise)) / 2
    bound = -float(loss) * 2 / (2 * S**2) - 2 / 2 * float(torch.tensor(2 * torch.pi * S**2).log())
    evidence = MultivariateNormal(torch.zeros(2).double(), torch.outer(C, C) + S**2 * torch.eye(2).double())
    gap = kl_divergence(Normal(shift, precision**-0.5), Normal(0.0, precision**-0.5))
    assert bound == pytest.approx(float(evidence.log_prob(chunk[..., 0]).mean() - gap), abs=1e-6)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_loss_by_hand_and_padded_steps(gaussian, penalty):
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    model = built(replace(SMALL, penalty=penalty, kl_weight=0.7)).double()
    batch, noise = batch_of(gaussian, mask), gaussian(3, 4, 4)
    garbage = replace(batch, chunk=torch.where(mask[..., None], batch.chunk, 1e6))
    losses = [model(batch, noise), model(garbage, noise)]
    assert torch.equal(*losses)
    slopes = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))
    errors, divergences = [], []
    for row, count in enumerate([3, 2, 1, 3]):
        seen = torch.zeros(1, 3, 3).double()
        seen[0, :count, :2], seen[0, :count, 2] = batch.chunk[row, :count], 1.0
        window, times = batch.observation.vector[row, None], torch.zeros(1, 0).double()
        said = model.encoder(seen, times, model.encoder.encode(window))[0, :count].mean(0)
        law = Normal(said[:4], (said[4:] / 2).exp())
        latent = law.mean + law.stddev * noise[row]
        chunk = model.decoder(latent.expand(1, 3, 4), times, model.decoder.encode(window))[0]
        error = (chunk - batch.chunk[row])[:count]
        errors.append(error.abs() if penalty == "l1" else error.square())
        divergences.append(kl_divergence(law, Normal(torch.zeros(4).double(), 1.0)).sum())
    expected = torch.cat(errors).mean() + 0.7 * torch.stack(divergences).mean()
    torch.testing.assert_close(losses[0], expected)


def test_variants_side_by_side(gaussian):
    """The loss of stacked parameters, mapped, is that of each model alone."""
    models, batch, noise = [built(seed=seed).double() for seed in range(3)], batch_of(gaussian), gaussian(3, 4, 4)
    parameters, buffers = stack_module_state(models)
    assert not buffers
    losses = vmap(lambda leaves: functional_call(models[0], leaves, (batch, noise)))(parameters)
    torch.testing.assert_close(losses, torch.stack([model(batch, noise) for model in models]), rtol=0, atol=1e-12)


def test_rows_are_independent_and_precision_is_kept(gaussian):
    model, window = built(replace(SMALL, deploy="zero")).double(), gaussian(1, 4, 2, 2)
    together = model.sample(Observation(state=window), rng=stream(0))
    for row in range(4):
        torch.testing.assert_close(
            model.sample(Observation(state=window[row, None]), rng=stream(row))[0], together[row], rtol=0, atol=1e-12
        )
    assert together.dtype == torch.float64
    assert built().sample(Observation(state=window.float()), rng=stream(0)).dtype == torch.float32


def test_where_the_latent_comes_from(gaussian):
    window = gaussian(1, 4, 2, 2)
    model = built().double()
    memory, rng = model.decoder.encode(window), stream(0)
    noise = torch.randn(4, 4, dtype=torch.float64, generator=rng)
    expected = model.decoder(noise[:, None].expand(-1, 3, -1), torch.zeros(4, 0).double(), memory)
    assert torch.equal(model.sample(Observation(state=window), rng=stream(0)), expected)
    zero, rng = built(replace(SMALL, deploy="zero")).double(), stream(5)
    nothing = model.decoder(torch.zeros(4, 3, 4).double(), torch.zeros(4, 0).double(), memory)
    assert torch.equal(zero.sample(Observation(state=window), rng=rng), nothing)
    assert torch.equal(rng.get_state(), stream(5).get_state()), "no randomness is used"


def test_many_candidates_follow_the_law_given_a_prefix():
    """a = C z: z given the first step with variance r²/w is Gaussian, and the second step follows it."""
    weight, tolerance, seen, count = 0.8, 0.4, 0.9, 4000
    model, _ = linear_gaussian(tolerance=tolerance, candidates=400)
    chunk = torch.tensor([[[seen], [77.0]]]).double().expand(count, 2, 1)
    weights = torch.tensor([weight, 0.0]).double()
    window = torch.zeros(count, 1, 1).double()
    drawn = model.sample(Observation(state=window), rng=stream(0), prefix=Prefix(chunk=chunk, weights=weights))
    precision = 1 + float(C[0] ** 2) * weight / tolerance**2
    mean = float(C[0]) * seen * weight / tolerance**2 / precision
    found = drawn[:, 1, 0] / C[1]
    assert float(found.mean()) == pytest.approx(mean, abs=5 * precision**-0.5 / count**0.5 + 0.01)
    assert float(found.std()) == pytest.approx(precision**-0.5, rel=0.08)
    # the known step is put in after that, as firmly as it is known
    torch.testing.assert_close(drawn[:, 0, 0], found * C[0] + weight * (seen - found * C[0]))


def test_where_no_candidate_fits_the_closest_is_kept_and_each_row_has_its_own():
    model, _ = linear_gaussian(tolerance=1e-6, candidates=7)
    chunk = torch.tensor([[[90.0]], [[-90.0]]]).double()
    prefix = Prefix(chunk=chunk, weights=torch.ones(1).double())
    drawn = model.sample(Observation(state=torch.zeros(2, 1, 1).double()), rng=stream(3), prefix=prefix)
    latent = torch.randn(14, 1, dtype=torch.float64, generator=stream(3)).view(7, 2)
    expected = torch.stack([latent[:, 0].max(), latent[:, 1].min()]) * C[1]
    torch.testing.assert_close(drawn[:, 1, 0], expected)
    torch.testing.assert_close(drawn[:, :1], chunk)


def test_a_silent_prefix_leaves_the_prior():
    model, _ = linear_gaussian(candidates=5)
    chunk, window = torch.full((4000, 2, 1), torch.nan).double(), torch.zeros(4000, 1, 1).double()
    drawn = model.sample(
        Observation(state=window), rng=stream(3), prefix=Prefix(chunk=chunk, weights=torch.zeros(2).double())
    )
    latent = drawn[:, 0, 0] / C[0]
    assert float(latent.mean()) == pytest.approx(0, abs=5 / 4000**0.5)
    assert float(latent.std()) == pytest.approx(1, abs=5 / 8000**0.5)


LINE = Sizes(horizon=4, width=2, n_observed=1)
FITTED = ResidualMlp(width=32, blocks=1, embedding=4)


def fitted(options, ways, steps=250):
    """A model of chunks that go to 0.7 or −0.7 by a fair coin, or always to 0.7."""
    model, rng = built(options, LINE, shaken=0.0), stream(0, "fit")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        sign = torch.randint(ways, (64, 1, 1), generator=rng) * -2.0 + 1
        chunk = sign * torch.tensor([0.7, -0.7]) + 0.05 * torch.randn(64, 4, 2, generator=rng)
        data = Batch(
            observation=Observation(state=torch.zeros(64, 1, 1)), chunk=chunk, mask=torch.ones(64, 4, dtype=torch.bool)
        )
        optimiser.zero_grad()
        model(data, model.draw(chunk.shape, rng=rng)).backward()
        optimiser.step()
        schedule.step()
    return model


def error_of(model):
    """Mean distance of drawn chunks to the nearer way, and the share of those that go to 0.7."""
    drawn = model.sample(Observation(state=torch.zeros(1000, 1, 1)), rng=stream(1))
    way = torch.tensor([0.7, -0.7])
    distances = torch.stack([(drawn - way).abs().mean((1, 2)), (drawn + way).abs().mean((1, 2))])
    return float(distances.min(0).values.mean()), float((distances[0] < distances[1]).double().mean())


def test_the_latent_matters_only_where_there_are_several_ways():
    """Two ways: draws reach both, regression neither; nor do draws where a nat costs more than it saves."""
    options = Cvae(encoder=FITTED, decoder=FITTED, latent=2, kl_weight=0.02)
    error, share = error_of(fitted(options, ways=2))
    assert error < 0.12
    assert 0.35 < share < 0.65
    # the average of two ways, by the square: by the absolute value any point between is as good
    assert error_of(fitted(replace(options, kl_weight=10.0, penalty="l2"), ways=2, steps=150))[0] > 0.6
    assert error_of(fitted(Regression(network=FITTED), ways=2, steps=150))[0] > 0.6
    alone = [
        error_of(fitted(option, ways=1, steps=150))[0] for option in (options, Regression(network=FITTED, penalty="l1"))
    ]
    assert max(alone) < 0.03


def test_act(gaussian):
    options = act()
    assert (options.latent, options.kl_weight, options.penalty, options.deploy) == (32, 10.0, "l1", "zero")
    assert options.encoder == Transformer(layers=4, heads=8, width=512)
    small = Transformer(layers=1, heads=2, width=16)
    model = built(replace(options, encoder=small, decoder=small)).double()
    batch = batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0)).double()
    model(batch, draws).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_options():
    assert from_plain(Cvae, to_plain(SMALL)) == SMALL
    for wrong, message in [
        ({"latent": 0}, "latent of at least 1, got 0"),
        ({"kl_weight": -1.0}, "kl_weight of 0 or above, got -1.0"),
        ({"tolerance": 0.0}, "tolerance above 0, got 0.0"),
    ]:
        with pytest.raises(RecipeError, match=message):
            Cvae(**wrong)
