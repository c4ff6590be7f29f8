"""What every family must do, for every codec's width and every prefix: one suite over all of them."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from holdfast.errors import LikelihoodError, RecipeError, ShapeError
from holdfast.models import (
    FAMILIES,
    AutoregressiveTokens,
    Consistency,
    Cvae,
    DerivativeFree,
    Diffusion,
    Energy,
    Flow,
    FlowSampler,
    Forcing,
    ForcingSampler,
    IndependentTokens,
    Langevin,
    MeanFlow,
    Mip,
    Mixture,
    Offsets,
    Regression,
    Sampler,
    Shortcut,
    Sizes,
    Streaming,
    Tuned,
    family_named,
    tokenizer_options,
)
from holdfast.nn import Dit, FilmMlp, Gpt, Lstm, Recurrent, ResidualMlp, Transformer, UNet1d
from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, Fsq, KMeans, ResidualVq, fit_tokenizer
from holdfast.types import Batch, Observation, Prefix

MLP = FilmMlp(widths=(32, 32), embedding=8, activation="mish", bounded=False)
GPT = Gpt(layers=1, heads=2, width=16)
VQ = ResidualVq(groups=2, codes=4, latent=4, hidden=16, updates=20, batch_size=32)
FSQ = Fsq(levels=(3, 3), stride=2, hidden=16, updates=20, batch_size=32)
SEARCH = DerivativeFree(negatives=8, candidates=64)

CASES = {
    "regression": Regression(MLP),
    "regression-l1": Regression(MLP, penalty="l1"),
    "regression-huber": Regression(MLP, penalty="huber"),
    "mip": Mip(MLP),
    "diffusion": Diffusion(MLP, levels=20, sampler=Sampler(steps=5)),
    "diffusion-velocity": Diffusion(MLP, levels=20, prediction="velocity", sampler=Sampler(steps=5, eta=1.0)),
    "flow": Flow(MLP, sampler=FlowSampler(steps=4)),
    "flow-heun": Flow(MLP, prediction="sample", times="beta", sampler=FlowSampler(steps=3, method="heun")),
    "diffusion-clean-prefix": Diffusion(MLP, levels=20, sampler=Sampler(steps=5), clean_prefix=True),
    "flow-clean-prefix": Flow(MLP, sampler=FlowSampler(steps=3, method="heun"), clean_prefix=True),
    "consistency": Consistency(MLP, levels=10),
    "shortcut": Shortcut(MLP),
    "meanflow": MeanFlow(MLP),
    "streaming": Streaming(MLP),
    "forcing": Forcing(MLP, sampler=ForcingSampler(steps=5)),
    "forcing-pyramid": Forcing(
        Transformer(layers=1, heads=2, width=16, embedding=8, causal=True),
        levels=20,
        sampler=ForcingSampler(steps=4, eta=0.0, schedule="pyramid", uncertainty=1.5, history=2),
    ),
    "mixture": Mixture(MLP, components=3),
    "mixture-step": Mixture(MLP, components=3, scope="step", squash=True, sampling="low_noise"),
    "bins": IndependentTokens(Binning(bins=16), MLP),
    "bins-autoregressive": AutoregressiveTokens(Binning(bins=16), GPT),
    "kmeans-offsets": IndependentTokens(KMeans(clusters=5), MLP, focal=2.0, offsets=Offsets(weight=1.0)),
    "kmeans-autoregressive": AutoregressiveTokens(KMeans(clusters=5), GPT),
    "vq-offsets": IndependentTokens(VQ, MLP, offsets=Offsets(weight=1.0, tokens="drawn", penalty="l1")),
    "vq-autoregressive": AutoregressiveTokens(VQ, GPT),
    "fsq-autoregressive": AutoregressiveTokens(FSQ, GPT),
    "fast": AutoregressiveTokens(Fast(scale=4.0, vocabulary=64), GPT),
    "cvae": Cvae(MLP, MLP, latent=3),
    "cvae-zero": Cvae(MLP, MLP, latent=3, deploy="zero"),
    "tuned-diffusion": Tuned(Diffusion(MLP, levels=20, sampler=Sampler(steps=5, eta=1.0)), steps=2),
    "tuned-flow": Tuned(Flow(MLP, prediction="sample", sampler=FlowSampler(steps=4, eta=1.0)), steps=3),
    "energy-langevin": Energy(MLP, search=Langevin(negatives=4, training_iterations=3, candidates=8, iterations=5)),
    "energy-search": Energy(MLP, search=SEARCH),
}
NETWORKS = {
    "film-mlp": MLP,
    "residual-mlp": ResidualMlp(width=16, blocks=1, embedding=8),
    "unet": UNet1d(channels=(8, 16), groups=4, embedding=8),
    "transformer": Transformer(layers=1, heads=2, width=16, embedding=8),
    "dit": Dit(layers=1, heads=2, width=16, embedding=8),
    "lstm": Lstm(layers=1, width=16, embedding=8),
    "recurrent": Recurrent(layers=1, width=16, embedding=8),
}
GUIDED = (Diffusion, Flow, Shortcut, MeanFlow, Consistency, Tuned)
PATHS = (*GUIDED, Streaming, Forcing, Mip)
# the codes of actions alone, of affine controllers of a point mass, of a single number
WIDTHS = {"actions": 2, "affine": 2 + 4 + 8, "scalar": 1}
HORIZON, COUNT = 4, 6

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def chunks(count, width, seed=0, horizon=HORIZON):
    """Smooth chunks within [-1, 1]."""
    rng = stream(seed, "chunks")
    start, slope = torch.rand(2, count, 1, width, generator=rng, dtype=torch.float64) - 0.5
    return start + slope * torch.linspace(0, 1, horizon, dtype=torch.float64)[:, None]


def model_of(options, width=2, horizon=HORIZON, seed=0):
    sizes = Sizes(horizon=horizon, width=width, n_obs_steps=2, n_observed=3)
    wanted = tokenizer_options(options)
    tokenizer = None
    if wanted is not None:
        tokenizer = fit_tokenizer(wanted, chunks(200, width, seed=9, horizon=horizon), seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return options.build(sizes, tokenizer=tokenizer).double()


def batch_of(width=2, seed=0, count=COUNT):
    observation = torch.randn(count, 2, 3, generator=stream(seed, "observations"), dtype=torch.float64)
    mask = torch.ones(count, HORIZON, dtype=torch.bool)
    mask[0, 2:] = False
    return Batch(
        observation=Observation(state=observation),
        chunk=chunks(count, width, seed),
        mask=mask,
        following=chunks(count, 3, seed + 50),
        followed=mask.roll(-1, 1) & mask,
    )


def doubled(draws):
    """Draws in double precision: models are tested in it."""
    if isinstance(draws, torch.Tensor):
        return draws.double() if draws.is_floating_point() else draws
    if draws is None or isinstance(draws, (int, float)):
        return draws
    return replace(draws, **{name: doubled(value) for name, value in vars(draws).items()})


def loss_of(model, batch, seed=0):
    return model.loss(batch, doubled(model.draw(batch.chunk.shape, rng=stream(seed, "draws"))))


def test_the_whole_table_is_in_this_suite():
    table = {type(family_named(name, MLP)) for name in FAMILIES}
    assert table <= set(map(type, CASES.values()))


@pytest.fixture(params=CASES)
def options(request):
    return CASES[request.param]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_shapes_and_ranges(options, width):
    model, batch = model_of(options, width), batch_of(width)
    assert loss_of(model, batch).shape == ()
    drawn = model.sample(batch.observation, rng=stream(0, "sample"))
    assert drawn.shape == batch.chunk.shape
    assert drawn.dtype == torch.float64
    assert bool(drawn.isfinite().all())


def test_gradients_reach_the_parameters(options):
    model = model_of(options)
    loss_of(model, batch_of()).backward()
    given = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(bool(grad.isfinite().all()) for grad in given)
    assert sum(float(grad.abs().sum()) > 0 for grad in given) >= 4


def test_the_loss_is_a_function_of_parameters_batch_and_draws(options):
    model, batch = model_of(options), batch_of()
    draws = doubled(model.draw(batch.chunk.shape, rng=stream(3, "draws")))
    parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
    torch.manual_seed(1)
    first = functional_call(model, parameters, (batch, draws))
    torch.manual_seed(2)
    assert torch.equal(functional_call(model, parameters, (batch, draws)), first)


def test_same_seed_same_sample(options):
    model, observation = model_of(options), batch_of().observation
    first = model.sample(observation, rng=stream(5, "sample"))
    assert torch.equal(model.sample(observation, rng=stream(5, "sample")), first)


def test_steps_outside_the_episode_do_not_count(options):
    model, batch = model_of(options), batch_of()
    if model.tokenizer is not None and model.tokenizer.step_of is None:
        pytest.skip("its tokens tell of whole chunks, padded by repetition")
    if isinstance(options, PATHS):
        pytest.skip("the noised chunk goes in whole, padded by repetition; only its error is masked")
    moved = batch.chunk.clone()
    moved[0, 2:] = 0.3
    other = loss_of(model, replace(batch, chunk=moved))
    torch.testing.assert_close(other, loss_of(model, batch), rtol=1e-9, atol=1e-9)


def test_each_row_is_sampled_from_its_own_observation(options):
    """With the other rows' observations changed, and the same random numbers, a row's chunk stays as it was."""
    model, observation = model_of(options), batch_of().observation
    other = Observation(state=observation.vector.clone())
    other.state[1:] += 1.0
    first = model.sample(observation, rng=stream(5, "sample"))[0]
    torch.testing.assert_close(model.sample(other, rng=stream(5, "sample"))[0], first, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 2, HORIZON])
@pytest.mark.parametrize("width", [WIDTHS["actions"], WIDTHS["affine"]], ids=["actions", "affine"])
def test_a_firm_prefix_is_held(options, width, steps):
    """Exactly where a family conditions or projects."""
    model, batch = model_of(options, width), batch_of(width)
    prefix = Prefix(chunk=batch.chunk[:, :steps], weights=torch.ones(steps, dtype=torch.float64))
    free = model.sample(batch.observation, rng=stream(0, "sample"))
    held = model.sample(batch.observation, rng=stream(0, "sample"), prefix=prefix)
    miss = (held[:, :steps] - batch.chunk[:, :steps]).abs()
    if isinstance(options, GUIDED) and not model.takes_clean_prefix:
        # an untrained network hardly follows what goes in: how near guidance comes is tested on exact denoisers
        assert not torch.equal(held, free)
    else:
        assert float(miss.max()) < 1e-6
    assert bool(held.isfinite().all())


def test_a_prefix_of_no_weight_is_none(options):
    model, batch = model_of(options), batch_of()
    nothing = Prefix(chunk=torch.full_like(batch.chunk, torch.nan), weights=torch.zeros(HORIZON, dtype=torch.float64))
    plain = model.sample(batch.observation, rng=stream(0, "sample"))
    given = model.sample(batch.observation, rng=stream(0, "sample"), prefix=nothing)
    assert bool(given.isfinite().all())
    assert torch.equal(given, plain)


def test_prefixes_that_do_not_fit_are_refused(options):
    model, batch = model_of(options), batch_of()
    long = Prefix(chunk=torch.zeros(COUNT, HORIZON + 1, 2).double(), weights=torch.ones(HORIZON + 1).double())
    with pytest.raises(ShapeError, match=f"holds {HORIZON + 1} steps, but the model plans chunks of {HORIZON}"):
        model.sample(batch.observation, rng=stream(0), prefix=long)
    wide = Prefix(chunk=torch.zeros(COUNT, 1, 5).double(), weights=torch.ones(1).double())
    with pytest.raises(ShapeError, match="with 2 numbers per step, got 6 with 5"):
        model.sample(batch.observation, rng=stream(0), prefix=wide)


def test_likelihoods_are_given_or_refused(options):
    model, batch = model_of(options), batch_of()
    if isinstance(options, (Mixture, IndependentTokens, AutoregressiveTokens)):
        found = model.log_likelihood(batch.observation, batch.chunk)
        assert found.shape == (COUNT,)
        assert bool(found.isfinite().all())
        return
    with pytest.raises(LikelihoodError, match="has no likelihood"):
        model.log_likelihood(batch.observation, batch.chunk)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("autoregressive", "lstm-gmm", "act")])
def test_every_family_with_every_network(name, network):
    options = family_named(name, network)
    if name == "tokens":
        options = replace(options, tokenizer=Binning(bins=8))
    if name == "bet":
        options = replace(options, tokenizer=KMeans(clusters=5))
    if name == "vq-bet":
        options = replace(options, tokenizer=VQ)
    if name == "energy":
        options = replace(options, search=SEARCH)
    model, batch = model_of(options), batch_of()
    loss_of(model, batch).backward()
    assert model.sample(batch.observation, rng=stream(0)).shape == batch.chunk.shape


def test_families_of_tokens_ask_for_their_tokenizer():
    sizes = Sizes(horizon=HORIZON, width=2, n_observed=3)
    with pytest.raises(RecipeError, match="needs a fitted tokenizer"):
        CASES["bins"].build(sizes)
    other = fit_tokenizer(Binning(), chunks(50, 3), seed=0)
    with pytest.raises(RecipeError, match="fitted on chunks of 4 steps of 3 numbers, the policy plans 4 steps of 2"):
        CASES["bins"].build(sizes, tokenizer=other)
    fast = fit_tokenizer(Fast(), chunks(50, 2), seed=0)
    with pytest.raises(RecipeError, match="Use AutoregressiveTokens"):
        IndependentTokens(Fast(), MLP).build(sizes, tokenizer=fast)
