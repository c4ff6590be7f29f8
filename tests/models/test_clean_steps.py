"""Clean first steps: what the network is given, what its loss counts, and whether samples continue them."""

import pytest
import torch
from torch import nn

from holdfast.models import Diffusion, Flow, FlowSampler, Sampler, Sizes
from holdfast.models.diffusion import DiffusionDraws
from holdfast.models.flow import FlowDraws
from holdfast.nn import ResidualMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

MLP = ResidualMlp(width=32, blocks=1, embedding=16)
SIZES = Sizes(horizon=3, width=1, n_observed=1)


class Noting(nn.Module):
    """Answers with half of the noisy chunk plus the mean time of a chunk, and notes what it is given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def encode(self, observation):
        return observation

    def forward(self, chunk, times, memory):
        self.seen.append((chunk, times))
        return 0.5 * chunk + times.mean(1)[:, None, None]


def noting(options):
    model = options.build(SIZES).double()
    model.network = Noting()
    return model


def batch_of(known, inside=((1, 1, 1), (1, 1, 0))):
    chunk = torch.tensor([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6]], dtype=torch.float64)[..., None]
    still = Observation(state=torch.zeros(2, 1, 1).double())
    known = None if known is None else torch.tensor(known)
    return Batch(observation=still, chunk=chunk, mask=torch.tensor(inside).bool(), known=known)


NOISE = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.7, -1.1]], dtype=torch.float64)[..., None]
FLOW, DIFFUSION = (
    FlowDraws(torch.tensor([0.25, 0.5], dtype=torch.float64), NOISE),
    DiffusionDraws(torch.tensor([3, 15]), NOISE),
)


def test_flow_counts_the_unknown_steps_only_and_is_given_the_known_ones():
    model = noting(Flow(MLP, clean_prefix=True))
    found = model.loss(batch_of([2, 1]), FLOW)
    chunk, times = model.network.seen[0]
    assert times.tolist() == [[100, 100, 25], [100, 50, 50]]
    assert chunk[:, :, 0].tolist()[0][:2] == [0.1, 0.2]
    assert chunk[1, 0, 0] == -0.4
    # first chunk, last step; second chunk, middle step: the last one is outside its episode
    noisy = (0.75 * 0.5 + 0.25 * 0.3, 0.5 * 0.7 + 0.5 * 0.5)
    errors = (0.5 * noisy[0] + 75 - (0.3 - 0.5), 0.5 * noisy[1] + 200 / 3 - (0.5 - 0.7))
    assert float(found) == pytest.approx((errors[0] ** 2 + errors[1] ** 2) / 2, rel=1e-12)


def test_diffusion_counts_the_unknown_steps_only_and_is_given_the_known_ones():
    model = noting(Diffusion(MLP, levels=20, sampler=Sampler(steps=5), clean_prefix=True))
    found = model.loss(batch_of([2, 1]), DIFFUSION)
    chunk, times = model.network.seen[0]
    assert times.tolist() == [[-1, -1, 3], [-1, 15, 15]]
    assert chunk[0, :2, 0].tolist() == [0.1, 0.2]
    powers = [model.schedule.numbers[level] for level in (3, 15)]
    noisy = [p**0.5 * a + (1 - p) ** 0.5 * e for p, a, e in zip(powers, (0.3, 0.5), (0.5, 0.7), strict=True)]
    errors = (0.5 * noisy[0] + 1 / 3 - 0.3, 0.5 * noisy[1] + 29 / 3 - 0.5)
    assert float(found) == pytest.approx((errors[0] ** 2 + errors[1] ** 2) / 2, rel=1e-12)


@pytest.mark.parametrize("known", [[0, 0], None], ids=["zero", "none"])
@pytest.mark.parametrize(
    ("plain", "clean", "draws"),
    [
        (Flow(MLP), Flow(MLP, clean_prefix=True), FLOW),
        (Diffusion(MLP), Diffusion(MLP, clean_prefix=True), DIFFUSION),
        (Diffusion(MLP, mask_padding=False), Diffusion(MLP, mask_padding=False, clean_prefix=True), DIFFUSION),
    ],
    ids=["flow", "diffusion", "diffusion-unmasked"],
)
def test_without_known_steps_the_objective_is_plain_trainings(plain, clean, draws, known):
    expected = noting(plain).loss(batch_of(None), draws)
    torch.testing.assert_close(noting(clean).loss(batch_of(known), draws), expected, rtol=1e-14, atol=0)


def test_a_batch_without_counted_steps_has_no_loss():
    outside = batch_of([1, 2], inside=((1, 0, 0), (1, 1, 0)))
    assert float(noting(Flow(MLP, clean_prefix=True)).loss(outside, FLOW)) == 0


@pytest.mark.parametrize(
    ("options", "clean"),
    [
        (Flow(MLP, clean_prefix=True, sampler=FlowSampler(steps=3)), 100),
        (Flow(MLP, clean_prefix=True, prediction="sample", sampler=FlowSampler(steps=2, method="heun")), 100),
        (Diffusion(MLP, clean_prefix=True, sampler=Sampler(steps=4, eta=1.0)), -1),
        (Diffusion(MLP, clean_prefix=True, prediction="epsilon", sampler=Sampler(steps=4, order=2)), -1),
    ],
    ids=["flow", "flow-heun", "diffusion", "diffusion-2m"],
)
def test_every_network_call_is_given_the_known_steps_and_the_sample_has_them(options, clean):
    model = noting(options)
    # the second known step is outside of the range to which samples are clipped
    chunk = torch.tensor([[0.3, 1.7, 0.0], [-0.2, 0.0, 0.0]], dtype=torch.float64)[..., None]
    firm = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.float64)
    still = Observation(state=torch.zeros(2, 1, 1).double())
    drawn = model.sample(still, rng=stream(0), prefix=Prefix(chunk=chunk, weights=firm))
    assert torch.equal(drawn[firm == 1], chunk[firm == 1])
    assert len(model.network.seen) >= 3
    for given, times in model.network.seen:
        assert torch.equal(given[firm == 1], chunk[firm == 1])
        assert torch.equal(times == clean, firm == 1)


def test_steps_of_smaller_weight_guide_the_rest():
    model = Flow(MLP, clean_prefix=True).build(SIZES).double()
    chunk, still = torch.full((2, 3, 1), 0.5).double(), Observation(state=torch.zeros(2, 1, 1).double())
    weights = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    mixed = model.sample(still, rng=stream(0), prefix=Prefix(chunk=chunk, weights=weights))
    firm = model.sample(still, rng=stream(0), prefix=Prefix(chunk=chunk, weights=(weights == 1).double()))
    assert torch.equal(mixed[:, 0], chunk[:, 0])
    assert not torch.equal(mixed, firm)


def test_what_the_models_say_of_themselves():
    for plain, clean in (
        (Flow(MLP), Flow(MLP, clean_prefix=True)),
        (Diffusion(MLP), Diffusion(MLP, clean_prefix=True)),
    ):
        without, model = plain.build(SIZES), clean.build(SIZES)
        assert (without.takes_clean_prefix, without.conditioning) == (False, "guidance")
        assert (model.takes_clean_prefix, model.conditioning) == (True, "exact")


FORK = Sizes(horizon=3, width=1, n_observed=1)


def fitted(options, updates=250, batch=256):
    """A model of chunks that go left or right for three steps, by a fair coin, with deviations of 0.05."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = options.build(FORK)
    rng, optimiser = stream(0, "fit"), torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        side = torch.randint(2, (batch, 1, 1), generator=rng) * 2.0 - 1
        chunk = side * torch.tensor([0.3, 0.5, 0.7])[:, None] + 0.05 * torch.randn(batch, 3, 1, generator=rng)
        known = torch.randint(2, (batch,), generator=rng) if options.clean_prefix else None
        still, inside = Observation(state=torch.zeros(batch, 1, 1)), torch.ones(batch, 3).bool()
        data = Batch(observation=still, chunk=chunk, mask=inside, known=known)
        optimiser.zero_grad()
        model(data, model.draw(chunk.shape, rng=rng)).backward()
        optimiser.step()
        schedule.step()
    return model


def left_given_left(model, count=1000):
    """Share of chunks whose last step goes left, given a first step to the left."""
    first = torch.full((count, 1, 1), -0.3)
    drawn = model.sample(
        Observation(state=torch.zeros(count, 1, 1)), rng=stream(1), prefix=Prefix(chunk=first, weights=torch.ones(1))
    )
    return float((drawn[:, 2, 0] < -0.4).double().mean())


@pytest.mark.parametrize(
    ("plain", "clean"),
    [
        (Flow(MLP, sampler=FlowSampler(steps=8)), Flow(MLP, sampler=FlowSampler(steps=8), clean_prefix=True)),
        (Diffusion(MLP, prediction="velocity"), Diffusion(MLP, prediction="velocity", clean_prefix=True)),
    ],
    ids=["flow", "diffusion"],
)
def test_a_clean_prefix_of_one_mode_stays_in_it_and_guidance_often_leaves_it(plain, clean):
    model = fitted(clean)
    given, guided = left_given_left(model), left_given_left(fitted(plain))
    assert given > 0.93
    assert 1 - guided > 4 * (1 - given) + 0.02
    # without a known step the model of clean first steps has both modes
    free = model.sample(Observation(state=torch.zeros(1000, 1, 1)), rng=stream(2))
    assert float((free[:, 2, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.12)
