"""Every family behind instructions: one suite over all of them, and classifier-free guidance by hand."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from holdfast.errors import InterfaceError, RecipeError
from holdfast.models import (
    Diffusion,
    Flow,
    FlowSampler,
    Instructed,
    Pictured,
    Sampler,
    Sizes,
    generator_of,
    instructed_in,
    tokenizer_options,
)
from holdfast.nn import FilmMlp, Language, SmallCnn, View, Vision
from holdfast.seeding import stream
from holdfast.tokens import fit_tokenizer
from holdfast.types import Batch, Observation, Prefix

from .test_contract import CASES

LANGUAGE = Language(instructions=("left", "right"), width=5)
SIZES = Sizes(horizon=8, width=2, n_obs_steps=2, n_observed=3 + 5, n_readings=3)
SMALL = FilmMlp(widths=(8, 8), embedding=4)
GUIDED = {
    "diffusion": Diffusion(network=SMALL, levels=10, sampler=Sampler(steps=1)),
    "flow": Flow(network=SMALL, sampler=FlowSampler(steps=1, clip=None)),
}


def chunks(count, seed=0):
    return torch.randn(count, 8, 2, generator=stream(seed, "chunks")).clamp(-1, 1)


def windows(count, tasks, seed=0):
    return Observation(state=torch.randn(count, 2, 3, generator=stream(seed, "windows")), task=tasks)


def built(options, language=LANGUAGE, sizes=SIZES):
    torch.manual_seed(0)
    wanted = tokenizer_options(options)
    tokenizer = None if wanted is None else fit_tokenizer(wanted, chunks(64), seed=0)
    return Instructed(language, options, sizes, tokenizer)


def batch_of(tasks, seed=0):
    mask = torch.ones(len(tasks), 8, dtype=torch.bool)
    following = torch.randn(len(tasks), 8, 3, generator=stream(seed, "following"))
    return Batch(
        observation=windows(len(tasks), tasks, seed),
        chunk=chunks(len(tasks), seed),
        mask=mask,
        following=following,
        followed=mask,
    )


every = pytest.mark.parametrize("name", CASES)


@every
def test_the_vectors_learn_from_the_loss_of_the_family(name):
    model = built(CASES[name], replace(LANGUAGE, dropout=0.0))
    batch = batch_of(("left",) * 6)
    if model.takes_clean_prefix:
        batch = replace(batch, known=torch.tensor([0, 1, 2, 0, 1, 2]))
    draws = model.draw(batch.chunk.shape, rng=stream(0, "draws"))
    functional_call(model, dict(model.named_parameters()), (batch, draws)).backward()
    gradient = model.instructions.vectors.grad
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


@every
def test_a_sample_depends_on_its_own_instruction_only(name):
    """Row 0 has the same instruction in both batches, row 1 another one."""
    model = built(CASES[name]).eval()
    shown = windows(2, ("left", "left"))
    seen = [model.seen(replace(shown, task=task)).vector for task in (("left", "left"), ("left", "right"))]
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1, :, :3], seen[1][1, :, :3])
    assert not torch.equal(seen[0][1, :, 3:], seen[1][1, :, 3:])
    sampled = model.sample(shown, rng=stream(0, "sample"))
    expected = generator_of(model).sample(model.seen(shown), rng=stream(0, "sample"))
    assert torch.equal(sampled, expected)
    prefix = Prefix(chunk=chunks(2), weights=torch.tensor([1.0, 1.0, 0, 0, 0, 0, 0, 0]))
    held = model.sample(shown, rng=stream(0, "sample"), prefix=prefix)
    assert held.shape == (2, 8, 2)


def test_an_instruction_that_is_left_out_trains_the_vector_of_none():
    model = built(CASES["regression"], replace(LANGUAGE, dropout=0.5))
    batch = batch_of(("left", "right") * 50)
    draws = model.draw(batch.chunk.shape, rng=stream(0, "draws"))
    assert 30 < int(draws.left_out.sum()) < 70
    draws = replace(draws, left_out=torch.ones(100, dtype=torch.bool))
    model.loss(batch, draws).backward()
    assert model.instructions.absent.grad.abs().max() > 0
    assert model.instructions.vectors.grad is None or model.instructions.vectors.grad.abs().max() == 0


@pytest.mark.parametrize("family", GUIDED)
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_guidance_extrapolates_from_the_unconditional_estimate(family, weight):
    """With one step from the same noise, a sample is affine in the network's output, so that it can be checked."""
    model = built(GUIDED[family]).eval()
    if family == "diffusion":
        model = built(replace(GUIDED[family], sampler=Sampler(steps=1, clip=None))).eval()
    shown = windows(4, ("left", "right", "left", "right"))
    conditional = model.sample(shown, rng=stream(0, "sample"))
    unconditional = model.sample(replace(shown, task=("",) * 4), rng=stream(0, "sample"))
    model.language = replace(LANGUAGE, guidance=weight)
    guided = model.sample(shown, rng=stream(0, "sample"))
    assert not torch.allclose(conditional, unconditional, atol=1e-3)
    torch.testing.assert_close(guided, unconditional + weight * (conditional - unconditional), atol=1e-5, rtol=1e-4)


def test_families_without_estimates_cannot_be_guided():
    model = built(CASES["regression"], replace(LANGUAGE, guidance=2.0))
    with pytest.raises(RecipeError, match="cannot be guided by instructions"):
        model.sample(windows(1, ("left",)), rng=stream(0, "sample"))


def test_missing_and_unknown_instructions_are_refused():
    model = built(CASES["regression"])
    with pytest.raises(InterfaceError, match=r"observation has none.*Known instructions: 'left', 'right'"):
        model.sample(windows(1, None), rng=stream(0, "sample"))
    with pytest.raises(InterfaceError, match=r"not trained on the instruction 'rigth'.*Did you mean right"):
        model.sample(windows(1, ("rigth",)), rng=stream(0, "sample"))


def test_features_of_a_text_encoder_are_centred_and_scaled():
    language = replace(LANGUAGE, n_text_features=3)
    model = built(CASES["regression"], language)
    features = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    model.instructions.take(features)
    linear = model.instructions.linear
    # deviations from the mean: (∓1, 0, ∓2), whose root mean square is √(10/6)
    expected = linear(torch.tensor([[-1.0, 0.0, -2.0], [1.0, 0.0, 2.0]]) / (10 / 6) ** 0.5)
    found = model.instructions(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found[:2], expected)
    assert torch.equal(found[2], model.instructions.absent)


def test_pictures_and_instructions_together():
    vision = Vision(
        views=(View(camera="top", height=16, width=16, crop=(12, 12)),),
        encoder=SmallCnn(channels=2, strides=(2, 2)),
        noises=2,
    )
    sizes = replace(SIZES, n_observed=3 + 4 + 5)
    model = Pictured(vision, CASES["diffusion"], sizes, None, LANGUAGE)
    rng = stream(0, "pictures")
    images = {"top": torch.randint(256, (4, 2, 16, 16, 3), generator=rng, dtype=torch.uint8)}
    shown = replace(windows(4, ("left", "right", "left", "")), images=images)
    batch = Batch(observation=shown, chunk=chunks(4), mask=torch.ones(4, 8, dtype=torch.bool))
    draws = model.draw(batch.chunk.shape, rng=stream(0, "draws"))
    assert len(draws.inner.left_out) == 8
    model.loss(batch, draws).backward()
    assert instructed_in(model).instructions.vectors.grad.abs().max() > 0
    seen = model.seen(shown)
    assert seen.vector.shape == (4, 2, 12)
    assert torch.equal(model.seen(seen).vector, seen.vector)
    assert torch.equal(seen.vector[3, 0, 7:], instructed_in(model).instructions.absent)
