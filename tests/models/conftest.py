"""Laws that are known in closed form: what a perfectly trained network would say, and how far samples are from it."""

from dataclasses import dataclass

import pytest
import torch

from holdfast.models import Sizes
from holdfast.seeding import stream
from holdfast.types import Batch, Observation


@dataclass(frozen=True)
class Mixture:
    """Two-step chunks of one number: Gaussians of unequal weight, place and width."""

    shares: torch.Tensor
    means: torch.Tensor
    stds: torch.Tensor

    def draw(self, count, rng):
        which = torch.multinomial(self.shares, count, replacement=True, generator=rng)
        noise = torch.randn(count, 2, dtype=torch.float64, generator=rng)
        return (self.means[which] + self.stds[which, None] * noise)[..., None]

    def clean(self, noisy, scale, noise):
        """E[a | scale a + noise ε]: each component's regression, weighted by how likely it made the value."""
        x = noisy[:, None, :, 0]
        variance = scale**2 * self.stds**2 + noise**2
        offset = x - scale * self.means
        log = self.shares.log() - variance.log() - offset.square().sum(-1) / (2 * variance)
        of_component = self.means + (scale * self.stds**2 / variance)[:, None] * offset
        return (log.softmax(-1)[..., None] * of_component).sum(1)[..., None]


@pytest.fixture(scope="session")
def mixture() -> Mixture:
    return Mixture(
        shares=torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
        means=torch.tensor([[-0.6, -0.6], [0.5, -0.3], [0.1, 0.7]], dtype=torch.float64),
        stds=torch.tensor([0.1, 0.15, 0.2], dtype=torch.float64),
    )


@pytest.fixture(scope="session")
def sliced():
    """Sliced Wasserstein distance: the mean distance of sorted projections on 32 directions."""
    angles = torch.arange(32, dtype=torch.float64) * torch.pi / 32
    directions = torch.stack([angles.cos(), angles.sin()])

    def distance(first, second):
        a, b = (chunks.flatten(1) @ directions for chunks in (first, second))
        return float((a.sort(dim=0).values - b.sort(dim=0).values).abs().mean())

    return distance


@pytest.fixture(scope="session")
def chance(mixture, sliced):
    """What the distance of 4000 true chunks from 4000 others hardly exceeds: mean and 4 deviations of 30 pairs."""
    rng = stream(0, "tests", "chance")
    pairs = torch.tensor([sliced(mixture.draw(4000, rng), mixture.draw(4000, rng)) for _ in range(30)])
    return float(pairs.mean() + 4 * pairs.std())


class Known(torch.nn.Module):
    """In a network's place: says what a function of (chunk, times) says, plus an error that can be learnt."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.error = answer, torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def encode(self, observation):
        return observation

    def forward(self, chunk, times, memory):
        return self.answer(chunk, times) + self.error


@pytest.fixture(scope="session")
def known():
    return Known


class TwoModes:
    """(0.7, −0.7) or (−0.7, 0.7) by a fair coin, give or take 0.05: the mean, zero, is the worst answer."""

    def __init__(self):
        self.models = {}

    def trained(self, family, options, steps=400, batch=128):
        """A model fitted to the law, once a session."""
        if options not in self.models:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = family(options, Sizes(horizon=1, width=2, n_observed=1))
            rng, inside = stream(0, "fit"), torch.ones(batch, 1, dtype=torch.bool)
            optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
            for _ in range(steps):
                sign = torch.randint(2, (batch, 1, 1), generator=rng) * 2.0 - 1
                chunk = sign * torch.tensor([0.7, -0.7]) + 0.05 * torch.randn(batch, 1, 2, generator=rng)
                data = Batch(observation=Observation(state=torch.zeros(batch, 1, 1)), chunk=chunk, mask=inside)
                optimiser.zero_grad()
                model(data, model.draw(chunk.shape, rng=rng)).backward()
                optimiser.step()
                schedule.step()
            self.models[options] = model
        return self.models[options]

    def found(self, model):
        """Shares of 2000 samples that are near a mode, and in the first of them."""
        drawn = model.sample(Observation(state=torch.zeros(2000, 1, 1)), rng=stream(1))[:, 0]
        near = ((drawn.abs() - 0.7).abs() < 0.2).all(dim=1) & (drawn.prod(dim=1) < 0)
        return float(near.double().mean()), float((drawn[:, 0] > 0).double().mean())


@pytest.fixture(scope="session")
def two_modes() -> TwoModes:
    return TwoModes()
