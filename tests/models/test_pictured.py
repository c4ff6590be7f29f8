"""Every family behind encoders of pictures: one suite over all of them."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from holdfast.errors import LikelihoodError, ShapeError
from holdfast.models import Pictured, Sizes, Streaming, generator_of, tokenizer_options
from holdfast.nn import SmallCnn, View, Vision
from holdfast.seeding import stream
from holdfast.tokens import fit_tokenizer
from holdfast.types import Batch, Observation, Prefix

from .test_contract import CASES

VISION = Vision(
    views=(View(camera="top", height=16, width=16, crop=(12, 12)),),
    encoder=SmallCnn(channels=2, strides=(2, 2)),
    noises=2,
    sigma_train=0.1,
)
SIZES = Sizes(horizon=8, width=2, n_obs_steps=2, n_observed=3 + 4, n_readings=3)


def chunks(count, seed=0):
    return torch.randn(count, 8, 2, generator=stream(seed, "chunks")).clamp(-1, 1)


def windows(count, seed=0):
    rng = stream(seed, "windows")
    images = torch.randint(256, (count, 2, 16, 16, 3), generator=rng, dtype=torch.uint8)
    return Observation(state=torch.randn(count, 2, 3, generator=rng), images={"top": images})


def built(options, vision=VISION, sizes=SIZES):
    torch.manual_seed(0)
    wanted = tokenizer_options(options)
    tokenizer = None if wanted is None else fit_tokenizer(wanted, chunks(64), seed=0)
    return Pictured(vision, options, sizes, tokenizer)


def batch_of(count, seed=0):
    mask = torch.ones(count, 8, dtype=torch.bool)
    following = torch.randn(count, 8, 3, generator=stream(seed, "following"))
    return Batch(
        observation=windows(count, seed),
        chunk=chunks(count, seed),
        mask=mask,
        following=following,
        followed=mask,
    )


every = pytest.mark.parametrize("name", CASES)


@every
def test_the_encoder_learns_from_the_loss_of_the_family(name):
    model = built(CASES[name])
    batch = batch_of(6)
    if model.takes_clean_prefix:
        batch = replace(batch, known=torch.tensor([0, 1, 2, 0, 1, 2]))
    draws = model.draw(batch.chunk.shape, rng=stream(0, "draws"))
    loss = functional_call(model, dict(model.named_parameters()), (batch, draws))
    loss.backward()
    # some networks begin with a last layer of zeros, behind which nothing learns in the first update
    inner = [value.grad for value in model.inner.parameters() if value.grad is not None]
    assert bool(loss.isfinite())
    assert any(bool(grad.abs().sum() > 0) for grad in inner)
    assert all(value.grad is not None and bool(value.grad.isfinite().all()) for value in model.cameras.parameters())


@every
def test_plans_depend_on_the_stream_and_on_encoded_windows_only(name):
    """Equal streams give equal plans, and plans of pictures are those of their features."""
    model, window = built(CASES[name]).eval(), windows(3)
    plans = [model.sample(window, rng=stream(1, "sample")) for _ in range(2)]
    assert plans[0].shape == (3, 8, 2)
    assert torch.equal(*plans)
    seen = model.seen(window)
    assert seen.state.shape == (3, 2, 7)
    assert not seen.images
    assert torch.equal(generator_of(model).sample(seen, rng=stream(1, "sample")), plans[0])
    assert torch.equal(model.sample(seen, rng=stream(1, "sample")), plans[0])


@every
def test_a_prefix_is_kept_as_without_pictures(name):
    model, window = built(CASES[name]).eval(), windows(3)
    prefix = Prefix(chunk=chunks(3, seed=5), weights=(torch.arange(8) < 2).float())
    found = model.sample(window, rng=stream(2, "sample"), prefix=prefix)
    expected = model.inner.sample(model.seen(window), rng=stream(2, "sample"), prefix=prefix)
    assert model.conditioning == model.inner.conditioning
    assert torch.equal(found, expected)


def test_several_noises_are_one_loss_of_a_larger_batch():
    """With equal pictures, two draws for each window are the loss of the repeated batch of encoded windows."""
    options = CASES["diffusion"]
    model, batch = built(options, replace(VISION, sigma_train=0.0)), batch_of(4)
    draws = model.draw(batch.chunk.shape, rng=stream(0, "draws"))
    centre = replace(draws, places=torch.full_like(draws.places, 0.5))
    seen = model.seen(batch.observation).state.repeat_interleave(2, 0)
    repeated = Batch(
        observation=Observation(state=seen),
        chunk=batch.chunk.repeat_interleave(2, 0),
        mask=batch.mask.repeat_interleave(2, 0),
    )
    torch.testing.assert_close(model.loss(batch, centre), model.inner.loss(repeated, draws.inner))


def test_without_readings_only_pictures_matter():
    vision = replace(VISION, readings="none")
    model = built(CASES["regression"], vision, replace(SIZES, n_observed=4)).eval()
    window = windows(2)
    moved = window.with_vector(window.vector + 1)
    dark = replace(window, images={"top": torch.zeros_like(window.images["top"])})
    plan, same, other = (model.sample(one, rng=stream(0, "sample")) for one in (window, moved, dark))
    assert torch.equal(plan, same)
    assert not torch.equal(plan, other)


def test_a_likelihood_is_that_of_the_family():
    model, window = built(CASES["mixture"]).eval(), windows(3)
    expected = model.inner.log_likelihood(model.seen(window), chunks(3))
    assert torch.equal(model.log_likelihood(window, chunks(3)), expected)
    with pytest.raises(LikelihoodError):
        built(CASES["diffusion"]).log_likelihood(window, chunks(3))


def test_a_window_without_pictures_is_refused():
    with pytest.raises(ShapeError, match="camera 'top', got none"):
        built(CASES["regression"]).sample(Observation(state=torch.zeros(1, 2, 3)), rng=stream(0, "sample"))


def test_the_generator_of_a_streaming_model_is_the_streaming_model():
    assert isinstance(generator_of(built(CASES["streaming"])).options, Streaming)
