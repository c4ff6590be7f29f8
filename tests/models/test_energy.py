"""The energy model: its loss by hand, its searches on energies whose minima are known, and laws that it must learn."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

import holdfast.models.energy as energy_module
from holdfast.errors import LikelihoodError, RecipeError
from holdfast.models.base import Sizes
from holdfast.models.energy import Energy, EnergyDraws, EnergyModel
from holdfast.models.energy_search import DerivativeFree, Langevin, derivative_free, langevin, steps_of
from holdfast.models.regression import Regression, RegressionModel
from holdfast.nn import NETWORKS, FilmMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

SMALL = Energy(network=FilmMlp(widths=(16, 16), embedding=8), search=Langevin(negatives=3, training_iterations=4))
FREE = replace(SMALL, search=DerivativeFree(negatives=5, candidates=64))
SIZES = Sizes(horizon=3, width=2, n_obs_steps=2, n_observed=4)


def seeded(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EnergyModel(options, sizes)


def batch_of(count=5, mask=None, sizes=SIZES):
    rng = stream(0, "tests", "energy")
    inside = torch.ones(count, sizes.horizon, dtype=torch.bool) if mask is None else mask
    return Batch(
        observation=Observation(state=2 * torch.rand(count, sizes.n_obs_steps, sizes.n_observed, generator=rng) - 1),
        chunk=2 * torch.rand(count, sizes.horizon, sizes.width, generator=rng) - 1,
        mask=inside,
    )


class Quadratic(nn.Module):
    """E = ½ scale (a − μ)ᵀ P (a − μ) over whole chunks, as a network; counts how often it encodes."""

    def __init__(self, mean, precision, scale=1.0):
        super().__init__()
        self.mean, self.precision = mean, precision
        self.scale = nn.Parameter(torch.tensor(scale, dtype=mean.dtype))
        self.encoded = 0

    def encode(self, observation):
        self.encoded += 1
        return observation.flatten(1)

    def forward(self, chunk, times, memory):
        off = chunk.flatten(1) - self.mean
        value = 0.5 * self.scale * ((off @ self.precision) * off).sum(-1)
        return value[:, None, None].expand(-1, chunk.shape[1], 1)


def quadratic(options, mean, precision, *, scale=1.0):
    model = seeded(options, Sizes(horizon=len(mean), width=1, n_observed=1))
    model.network = Quadratic(torch.tensor(mean), torch.tensor(precision), scale)
    return model


# --- the loss


def slow_info_nce(model, batch, negatives):
    """Cross-entropy of the demonstrated chunk among its negatives, one chunk after the other."""
    total = 0.0
    for b in range(len(batch.chunk)):
        window = batch.observation.vector[b, None]
        chunks = [batch.chunk[b], *negatives[:, b]]
        logits = torch.stack([-model.energy(window, chunk[None, None])[0, 0] for chunk in chunks])
        total = total + nn.functional.cross_entropy(logits[None], torch.tensor([0]))
    return total / len(batch.chunk)


def test_without_chains_the_loss_is_the_cross_entropy_of_telling_it_from_uniform_chunks():
    model, batch = seeded(FREE), batch_of()
    draws = model.draw(batch.chunk.shape, rng=stream(1))
    assert draws.start.shape == (5, 5, 3, 2)
    assert draws.kicks.numel() == 0
    assert_close(model.loss(batch, draws), slow_info_nce(model, batch, draws.start))


def test_starts_fill_the_box_and_no_more():
    model = seeded(replace(FREE, boundary=0.5, search=DerivativeFree(negatives=400)))
    start = model.draw(torch.Size((20, 3, 2)), rng=stream(1)).start
    assert 1.49 < float(start.max()) <= 1.5
    assert -1.5 <= float(start.min()) < -1.49
    assert float(start.mean()) == pytest.approx(0, abs=5 * 1.5 / (3 * start.numel()) ** 0.5)


def test_with_chains_it_is_told_from_their_ends_through_which_no_gradient_flows():
    model, batch = seeded(replace(SMALL, search=replace(SMALL.search, penalty=0.0))), batch_of()
    draws = model.draw(batch.chunk.shape, rng=stream(1))
    chunks = draws.start
    for left, kick in zip((1, 4 / 9, 1 / 9, 0), draws.kicks, strict=True):
        leaf = chunks.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(model.energy(batch.observation.vector, leaf).sum(), leaf)
        step = (0.1 - 1e-5) * left + 1e-5
        chunks = (chunks - (step * (slope / 2 + kick)).clamp(-0.105, 0.105)).clamp(-1.05, 1.05)
    by_hand = slow_info_nce(model, batch, chunks.detach())
    loss = model.loss(batch, draws)
    assert_close(loss, by_hand)
    parameters = list(model.parameters())
    ours, theirs = (torch.autograd.grad(value, parameters) for value in (loss, by_hand))
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_loss_is_a_function_of_parameters_batch_and_draws():
    model, batch = seeded(), batch_of()
    draws = model.draw(batch.chunk.shape, rng=stream(1))
    parameters = dict(model.named_parameters())
    first, again = (functional_call(model, parameters, (batch, draws)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, model.loss(batch, model.draw(batch.chunk.shape, rng=stream(2))))


def test_many_variants_at_once_are_each_alone():
    model, batch = seeded(), batch_of()
    draws = model.draw(batch.chunk.shape, rng=stream(1))
    many = {name: torch.stack([value, 1.5 * value]).detach() for name, value in model.named_parameters()}

    def loss(parameters):
        return functional_call(model, parameters, (batch, draws))

    alone = [loss({name: value[i] for name, value in many.items()}) for i in range(2)]
    assert_close(torch.vmap(loss)(many), torch.stack(alone))


def test_steps_beyond_the_end_do_not_tell():
    """What stands there is random, and the same in all candidates."""
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    batch = batch_of(3, mask)
    for options in (SMALL, FREE):
        model = seeded(options)
        draws = model.draw(batch.chunk.shape, rng=stream(1))
        other = replace(batch, chunk=torch.where(mask[..., None], batch.chunk, torch.nan))
        assert torch.equal(model.loss(batch, draws), model.loss(other, draws))
    filled = torch.where(mask[..., None], batch.chunk, draws.beyond)
    negatives = torch.where(mask[..., None], draws.start, draws.beyond)
    by_hand = slow_info_nce(model, replace(batch, chunk=filled), negatives)
    assert_close(model.loss(batch, draws), by_hand)


def test_the_penalty_is_the_squared_excess_of_the_largest_slope():
    search = Langevin(negatives=4, training_iterations=1, first_step=1e-9, last_step=1e-9, margin=0.5, penalty=0.7)
    precision = [[3.0, 1.0], [1.0, 2.0]]
    model = quadratic(Energy(search=search), [0.1, -0.2], precision)
    batch = batch_of(6, sizes=model.sizes)
    draws = model.draw(batch.chunk.shape, rng=stream(1))

    def loss(weight):
        model.options = Energy(search=replace(search, penalty=weight))
        return model.loss(batch, draws)

    excess = []
    for chunk in [*batch.chunk, *draws.start.flatten(0, 1)]:
        x, y = (float(v) for v in chunk.flatten())
        slope = (3 * (x - 0.1) + (y + 0.2), (x - 0.1) + 2 * (y + 0.2))
        excess.append(max(0.0, max(map(abs, slope)) - 0.5))
    wanted = 0.7 * sum(value**2 for value in excess) / len(excess)
    assert float(loss(0.7) - loss(0.0)) == pytest.approx(wanted, rel=1e-4)
    # of a quadratic energy the slope is proportional to the scale, so the derivative is known as well
    slope_of = torch.autograd.grad(loss(0.7) - loss(0.0), model.network.scale)[0]
    derivative = 0.7 * sum(2 * value * (value + 0.5) for value in excess) / len(excess)
    assert float(slope_of) == pytest.approx(derivative, rel=1e-4)


@pytest.mark.parametrize("network", [*map(type, NETWORKS.values())])
@pytest.mark.parametrize("options", [SMALL, FREE], ids=["langevin", "free"])
def test_every_network_can_be_an_energy(network, options):
    model, batch = seeded(replace(options, network=network())), batch_of(2)
    loss = model.loss(batch, model.draw(batch.chunk.shape, rng=stream(1)))
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert all(bool(value.isfinite().all()) for value in gradients if value is not None)
    assert any(float(value.abs().max()) > 0 for value in gradients if value is not None)
    model.options = replace(model.options, search=replace(options.search, candidates=4, iterations=2))
    sample = model.sample(batch.observation, rng=stream(2))
    assert sample.shape == (2, 3, 2)
    assert sample.isfinite().all()


# --- the searches


def test_steps_fall_as_a_polynomial():
    steps = steps_of(Langevin(), 100)
    assert (float(steps[0]), float(steps[-1])) == (0.1, 1e-5)
    assert float(steps[33]) == pytest.approx((0.1 - 1e-5) * (2 / 3) ** 2 + 1e-5)
    assert steps_of(Langevin(), 1).tolist() == [0.1]


def test_a_matched_chain_has_the_gaussian_s_law():
    """Constant steps s with noise 1/√s; by its own recursion the chain's covariance is (P − s P²/4)⁻¹."""
    step, count = 1e-3, 20_000
    precision = torch.tensor([[120.0, 50.0], [50.0, 80.0]], dtype=torch.float64)
    mean = torch.tensor([0.2, -0.1], dtype=torch.float64)

    def energies(chunks):
        off = chunks.flatten(-2) - mean
        return 0.5 * ((off @ precision) * off).sum(-1)

    options = Langevin(first_step=step, last_step=step, noise=step**-0.5, largest_move=1e9)
    rng = stream(0, "tests", "langevin")
    kicks = (torch.randn(count, 1, 2, 1, generator=rng, dtype=torch.float64) for _ in range(400))
    start = torch.zeros(count, 1, 2, 1, dtype=torch.float64)
    ends = langevin(
        energies, start, kicks, options=options, iterations=400, bound=10.0, anchor=lambda chunks, _: chunks
    ).flatten(1)
    covariance = torch.linalg.inv(precision - step / 4 * precision @ precision)
    spread = covariance.diagonal().sqrt()
    assert bool(((ends.mean(0) - mean).abs() < 4 * spread / count**0.5).all())
    # Var of an estimated covariance of Gaussians: (C_ij² + C_ii C_jj) / n
    variance = (covariance**2 + spread[:, None] ** 2 * spread**2) / count
    assert bool(((ends.T.cov() - covariance).abs() < 4 * variance.sqrt()).all())


def test_moves_are_bounded_and_stay_in_the_box():
    steep = lambda chunks: 1e6 * chunks.sum((-2, -1))  # noqa: E731
    start = torch.zeros(2, 1, 1, 1)
    options = Langevin(noise=0.0, largest_move=0.2)

    def after(moves):
        return langevin(
            steep, start, [None] * moves, options=options, iterations=moves, bound=1.5, anchor=lambda a, _: a
        )

    assert_close(after(1), torch.full_like(start, -0.3))
    assert_close(after(20), torch.full_like(start, -1.5))


def ridges(chunks):
    """Many minima on [−1, 1]²; the least of them is found on a grid below."""
    x = chunks.flatten(-2)
    return 8 * ((x - torch.tensor([0.43, -0.61])) ** 2).sum(-1) + 2 * (1 - torch.cos(9 * x)).sum(-1)


def test_the_derivative_free_search_finds_the_least_of_many_minima():
    axis = torch.linspace(-1, 1, 801)
    grid = torch.cartesian_prod(axis, axis)[:, None, :, None]
    best = grid[ridges(grid)[:, 0].argmin()].flatten()
    rng = stream(0, "tests", "free")
    start = 2 * torch.rand(1024, 30, 2, 1, generator=rng) - 1
    options = DerivativeFree(iterations=5)
    last = derivative_free(ridges, start, options=options, bound=1.0, anchor=lambda a, _: a, rng=rng)
    found = last.gather(0, ridges(last).argmin(0)[None, :, None, None].expand(1, 30, 2, 1))[0].flatten(1)
    assert float((found - best).abs().max()) < 0.05


@pytest.mark.parametrize(
    "search",
    [DerivativeFree(candidates=4096, iterations=6), Langevin(candidates=8, refinement=200)],
    ids=["free", "langevin"],
)
class TestSearches:
    """On a quadratic energy, where the minimum is known under every prefix."""

    mean = torch.tensor([0.3, -0.4])
    precision = torch.tensor([[30.0, 20.0], [20.0, 40.0]])

    def found(self, search, prefix=None, count=3):
        model = quadratic(Energy(search=search), self.mean.tolist(), self.precision.tolist())
        chunk = model.sample(Observation(state=torch.zeros(count, 1, 1)), rng=stream(3), prefix=prefix)
        assert model.network.encoded == 1
        return chunk.flatten(1)

    def test_the_minimum(self, search):
        assert_close(self.found(search), self.mean.expand(3, 2), rtol=0, atol=0.03)

    def test_a_step_that_is_known_is_held_and_the_rest_answers_it(self, search):
        known = torch.tensor([0.55, 0.1, 1.2])
        prefix = Prefix(chunk=known[:, None, None], weights=torch.ones(1))
        found = self.found(search, prefix)
        assert torch.equal(found[:, 0], known), "also beyond the data's range"
        rest = self.mean[1] - 20.0 / 40.0 * (known - self.mean[0])
        assert_close(found[:, 1], rest.clamp(-1, 1), rtol=0, atol=0.03)

    @pytest.mark.parametrize("weight", [0.5, 0.9, 0.99])
    def test_a_step_that_is_half_known_is_a_measurement(self, search, weight):
        prefix = Prefix(chunk=torch.full((3, 1, 1), 0.8), weights=torch.tensor([weight]))
        measured = torch.diag(torch.tensor([weight / (1 - weight), 0.0]))
        wanted = torch.linalg.solve(
            self.precision + measured, self.precision @ self.mean + measured @ torch.tensor([0.8, 0.0])
        )
        assert_close(self.found(search, prefix), wanted.expand(3, 2), rtol=0, atol=0.04)

    def test_a_step_of_no_weight_says_nothing(self, search):
        prefix = Prefix(chunk=torch.full((3, 2, 1), torch.nan), weights=torch.zeros(2))
        assert torch.equal(self.found(search, prefix), self.found(search))

    def test_many_observations_are_searched_in_parts(self, search, monkeypatch):
        known = torch.linspace(-0.9, 0.9, 7)
        prefix = Prefix(chunk=known[:, None, None], weights=torch.ones(1))
        monkeypatch.setattr(energy_module, "ROWS", 2 * search.candidates)
        model = quadratic(Energy(search=search), self.mean.tolist(), self.precision.tolist())
        found = model.sample(Observation(state=torch.zeros(7, 1, 1)), rng=stream(3), prefix=prefix).flatten(1)
        assert model.network.encoded == 4
        assert torch.equal(found[:, 0], known)


def test_what_it_cannot_do_is_said():
    model = seeded()
    with pytest.raises(LikelihoodError, match="EnergyModel"):
        model.log_likelihood(Observation(state=torch.zeros(1, 2, 4)), torch.zeros(1, 3, 2))
    for wrong, match in (
        (lambda: Energy(boundary=-0.1), "boundary"),
        (lambda: Langevin(negatives=0), "at least 1"),
        (lambda: DerivativeFree(iterations=0), "at least 1"),
        (lambda: DerivativeFree(spread=0.0), "spread"),
        (lambda: Langevin(last_step=0.2), "last_step <= first_step"),
        (lambda: Langevin(largest_move=0.0), "largest_move"),
        (lambda: Langevin(noise=-1.0), "at least 0"),
    ):
        with pytest.raises(RecipeError, match=match):
            wrong()


# --- what it can learn


def fit(model, observation, chunk, steps, *, rate=1e-2, seed=0):
    optimiser, rng = torch.optim.Adam(model.parameters(), lr=rate), stream(seed, "tests", "fit")
    batch = Batch(
        observation=Observation(state=observation), chunk=chunk, mask=torch.ones(chunk.shape[:2], dtype=torch.bool)
    )
    for _ in range(steps):
        optimiser.zero_grad()
        model.loss(batch, model.draw(chunk.shape, rng=rng)).backward()
        optimiser.step()
    return model


ONE = Sizes(horizon=1, width=1, n_observed=1)
NET = FilmMlp(widths=(32, 32), embedding=8, bounded=False)
CHAINS = Langevin(negatives=4, training_iterations=4, candidates=16, iterations=30, first_step=0.2, margin=5.0)
LEARNERS = {
    "langevin": Energy(network=NET, search=CHAINS),
    "free": Energy(network=NET, search=DerivativeFree(negatives=32, candidates=256)),
}


@pytest.mark.parametrize("kind", list(LEARNERS))
def test_a_jump_is_cloned_as_a_jump_which_regression_smears(kind):
    observation = torch.linspace(-1, 1, 64)[:, None, None]
    chunk = 0.7 * observation.sign()
    near = torch.linspace(-0.06, 0.06, 60)[:, None, None]

    def share(model):
        """Of queries near the jump that are answered as on one of its sides, and rightly beyond the nearest samples."""
        answer = model.sample(Observation(state=near), rng=stream(1))
        on_a_side = ((answer.abs() - 0.7).abs() < 0.1).double().mean()
        certain = near.abs() > 1 / 63
        right = ((answer - 0.7 * near.sign()).abs() < 0.1)[certain].double().mean()
        return float(on_a_side), float(right)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        implicit = fit(EnergyModel(LEARNERS[kind], ONE), observation, chunk, 120)
        explicit = fit(RegressionModel(Regression(network=NET), ONE), observation, chunk, 120)
    assert min(share(implicit)) > 0.85
    assert max(share(explicit)) < 0.5


@pytest.fixture(scope="module", params=list(LEARNERS))
def of_two_ways(request):
    """A model of ±0.7, either as often as the other wherever one is."""
    rng = stream(0, "tests", "ways")
    observation = 2 * torch.rand(64, 1, 1, generator=rng) - 1
    chunk = 0.7 * torch.ones(64, 1, 1)
    chunk[::2] = -0.7
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fit(EnergyModel(LEARNERS[request.param], ONE), observation, chunk, 120)


@pytest.mark.parametrize("greedy", [True, False])
def test_between_two_ways_it_takes_one(of_two_ways, greedy):
    of_two_ways.options = replace(of_two_ways.options, greedy=greedy)
    queries = 2 * torch.rand(300, 1, 1, generator=stream(0, "queries")) - 1
    sample = of_two_ways.sample(Observation(state=queries), rng=stream(1)).flatten()
    assert float(((sample.abs() - 0.7).abs() < 0.15).double().mean()) > 0.95
    if not greedy:
        assert 0.2 < float((sample > 0).double().mean()) < 0.8


def test_draws_are_a_value_of_their_own():
    draws = seeded().draw(torch.Size((2, 3, 2)), rng=stream(0))
    assert isinstance(draws, EnergyDraws)
    assert draws.kicks.shape == (4, 3, 2, 3, 2)
    assert_close(float(draws.kicks.std()), 1.0, rtol=0, atol=0.2)
