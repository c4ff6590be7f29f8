"""The update against torch's own optimiser and averaged model, and the rates against their formulas."""

import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, vmap
from torch.optim.swa_utils import AveragedModel

from holdfast.learn.gradients import gradients_of
from holdfast.learn.optimise import ema_decay_at, learning_rate_at, train_step, zero_moments
from holdfast.models import ChunkModel, Diffusion, DiffusionModel, Sizes
from holdfast.nn import FilmMlp
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.types import Batch, Observation

OPTIONS = Training(steps=12, warmup_steps=3, learning_rate=3e-3, weight_decay=0.1, ema_decay=0.2)


def by_formula(step):
    """Warm-up to the full rate in three updates, then half a cosine over the other nine."""
    return 3e-3 * (step + 1) / 3 if step < 3 else 3e-3 * (1 + math.cos(math.pi * (step - 3) / 9)) / 2


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = Diffusion(network=FilmMlp(widths=(8, 8), embedding=4), levels=10)
        return DiffusionModel(options, Sizes(horizon=2, width=2, n_observed=3)).double()


def batches(count):
    rng = stream(0, "tests", "optimise")
    for _ in range(count):
        chunk = torch.randn(6, 2, 2, dtype=torch.float64, generator=rng)
        window = torch.randn(6, 1, 3, dtype=torch.float64, generator=rng)
        batch = Batch(observation=Observation(state=window), chunk=chunk, mask=torch.ones(6, 2, dtype=torch.bool))
        yield batch, model().draw(chunk.shape, rng=rng)


def test_five_updates_equal_torchs_adamw_and_averaged_model():
    theirs, structure = model(), model()
    parameters = {name: value.detach().clone() for name, value in structure.named_parameters()}
    average = {name: value.clone() for name, value in parameters.items()}
    moments = zero_moments(parameters)
    optimiser = torch.optim.AdamW(theirs.parameters(), weight_decay=0.1, foreach=False, fused=False)
    averaged = AveragedModel(
        theirs,
        avg_fn=lambda mean, new, count: mean + (1 - min(0.2, int(count) / (9 + int(count)))) * (new - mean),
    )
    averaged.update_parameters(theirs)  # its first call copies
    for step, (batch, draws) in enumerate(batches(5)):
        for group in optimiser.param_groups:
            group["lr"] = by_formula(step)
        optimiser.zero_grad()
        expected = theirs(batch, draws)
        expected.backward()
        optimiser.step()
        averaged.update_parameters(theirs)
        loss = train_step(
            gradients_of(structure), parameters, moments, average, batch, draws, step=step, options=OPTIONS
        )
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=0)
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(parameters[name], value.detach(), rtol=1e-9, atol=1e-12)
        mean = averaged.module.get_parameter(name).detach()
        torch.testing.assert_close(average[name], mean, rtol=1e-9, atol=1e-12)
        assert not torch.equal(mean, value.detach())


class Turned(ChunkModel):
    """A model whose gradient lies in memory column by column, while its parameter lies row by row."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3))

    def draw(self, shape, *, rng):
        raise NotImplementedError

    def generate(self, observation, *, rng, prefix):
        raise NotImplementedError

    def loss(self, batch, draws):
        return (batch.observation.vector[:, 0] @ self.weight.T.contiguous()).square().mean()


def test_gradients_that_lie_otherwise_than_their_parameters():
    theirs, parameters = Turned(), {"weight": Turned().weight.detach().clone()}
    average, moments = {"weight": parameters["weight"].clone()}, zero_moments(parameters)
    optimiser = torch.optim.AdamW(theirs.parameters(), weight_decay=0.1, foreach=False, fused=False)
    for step, (batch, draws) in enumerate(batches(3)):
        optimiser.param_groups[0]["lr"] = by_formula(step)
        optimiser.zero_grad()
        theirs(batch, draws).backward()
        assert not torch.autograd.grad(theirs(batch, draws), [theirs.weight])[0].is_contiguous()
        optimiser.step()
        train_step(gradients_of(Turned()), parameters, moments, average, batch, draws, step=step, options=OPTIONS)
    torch.testing.assert_close(parameters["weight"], theirs.weight.detach(), rtol=1e-9, atol=1e-12)


def test_the_structures_own_parameters_are_not_read_or_written():
    structure = model()
    before = {name: value.detach().clone() for name, value in structure.named_parameters()}
    parameters = {name: value + 0.1 for name, value in before.items()}
    (batch, draws), *_ = batches(1)
    train_step(
        gradients_of(structure),
        parameters,
        zero_moments(parameters),
        dict(before),
        batch,
        draws,
        step=0,
        options=OPTIONS,
    )
    fresh = model()
    assert all(torch.equal(value, dict(fresh.named_parameters())[n]) for n, value in structure.named_parameters())


def test_learning_rate():
    assert [learning_rate_at(step, OPTIONS) for step in range(12)] == pytest.approx([by_formula(s) for s in range(12)])
    rates = [learning_rate_at(step, replace(OPTIONS, warmup_steps=0)) for step in range(12)]
    assert rates[0] == pytest.approx(3e-3)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.02 * rates[0]


def test_a_warm_up_longer_than_the_training_only_rises():
    rates = [learning_rate_at(step, replace(OPTIONS, warmup_steps=50)) for step in range(12)]
    assert rates == sorted(rates)


def test_the_average_forgets_quickly_first():
    decays = [ema_decay_at(step, 0.999) for step in range(20_000)]
    assert decays[0] == pytest.approx(0.1)
    assert decays == sorted(decays)
    assert decays[90] == pytest.approx(0.91)
    assert max(decays) == 0.999


def test_variants_of_parameters_train_as_one_program():
    """The gradient of the summed, vmapped loss of stacked parameters is each variant's own."""
    structure = model()
    batch, draws = next(batches(1))
    first = {name: value.detach().clone() for name, value in structure.named_parameters()}
    second = {name: value + 0.1 for name, value in first.items()}
    stacked = {name: torch.stack([first[name], second[name]]).requires_grad_(True) for name in first}

    def loss_of(parameters):
        return functional_call(structure, parameters, (batch, draws))

    together = torch.autograd.grad(vmap(loss_of)(stacked).sum(), list(stacked.values()))
    for index, variant in enumerate((first, second)):
        leaves = {name: value.requires_grad_(True) for name, value in variant.items()}
        alone = torch.autograd.grad(loss_of(leaves), list(leaves.values()))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[index], b)
