"""What the benchmarks call the peers' way is the same work as ours: same network, same items, same plan."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast.models import Diffusion, DiffusionModel, Sampler, Sizes
from holdfast.nn.unet1d import UNet1dNet
from holdfast.types import Observation

pytest.importorskip("diffusers")
pytest.importorskip("scipy")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    """The modules of the benchmark, which live outside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import peers_loop
        import peers_unet
    finally:
        sys.path.remove(str(BENCHMARKS))
    return peers_unet, peers_loop


@pytest.fixture
def small(peers):
    """Both peers with narrow networks."""
    narrow = {"channels": (16, 32), "embedding": 16, "batch": 4, "workers": 0}
    return [replace(peer, **narrow) for peer in (peers[0].DIFFUSION_POLICY, peers[0].LEROBOT)]


def shaken(network):
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel()))
    return network


def test_the_network_is_ours_with_its_numbers_elsewhere(peers, small):
    unet = peers[0]
    for peer in small:
        ours = shaken(unet.network_of(peer, n_actions=2, n_observed=5))
        theirs = unet.copied(ours)
        assert unet.count(ours) == unet.count(theirs)
        assert unet.apart(ours, theirs) < 1e-4
        # and it is the weights that make them equal
        ours.head.weight.data += 0.1
        assert unet.apart(ours, theirs) > 0.1


def test_items_are_windows_that_stop_at_the_ends_of_their_episode(peers, small):
    _, loop = peers
    episodes = loop.pusht_like(3, steps=20)
    sliced, table = loop.Slices(episodes, 16), loop.Rows(episodes, 16)
    place = 0
    for first_row in (0, 20, 40):
        for first in range(-1, 20 - 16 + 8):
            rows = first_row + (first + torch.arange(16)).clamp(0, 19)
            assert torch.equal(sliced[place]["action"], episodes.actions[rows])
            seen = episodes.observed
            assert torch.equal(sliced[place]["observation"][:, -2:], seen.state[rows])
            assert torch.equal(sliced[place]["observation"][:, :-2], seen.environment_state[rows])
            # the other peer names an item by its newest observation
            other = table[int(first_row + first + 1)]
            torch.testing.assert_close(other["action"], episodes.actions[rows])
            torch.testing.assert_close(other["observation.state"], seen.state[rows[:2]])
            place += 1
    assert place == len(sliced)


def test_a_plan_is_the_same_plan(peers, small):
    """With the same weights and the same random numbers."""
    unet, loop = peers
    episodes = loop.pusht_like(2, steps=20)
    for peer in small:
        options = Diffusion(network=peer.options, levels=100, prediction="epsilon", sampler=Sampler(steps=100, eta=1.0))
        sizes = Sizes(horizon=peer.horizon, width=2, n_obs_steps=2, n_observed=20)
        model = DiffusionModel(options, sizes)
        assert isinstance(model.network, UNet1dNet)
        theirs = loop.Loop(peer, unet.copied(shaken(model.network)), episodes)
        seen = torch.cat([episodes.observed.environment_state, episodes.observed.state], -1)[None, :2]
        expected = model.sample(
            Observation(state=theirs.scales["observation"].normalised(seen)), rng=torch.Generator().manual_seed(3)
        )
        torch.manual_seed(3)
        planned = theirs.scales["action"].normalised(theirs.plan(seen))
        torch.testing.assert_close(planned, expected[:, 1:9], rtol=0, atol=2e-3)


def test_their_updates_move_every_weight(peers, small):
    unet, loop = peers
    for peer in small:
        network = unet.PeerUnet(peer.options, 2, 40)
        before = [value.clone() for value in network.parameters()]
        updates = loop.Loop(peer, network, loop.pusht_like(2, steps=30)).losses(workers=0)
        # the first has a learning rate of zero: their warm-up starts there
        assert all(0 < next(updates) < 10 for _ in range(2))
        assert not any(torch.equal(value, old) for value, old in zip(network.parameters(), before, strict=True))


def test_their_average_by_hand(peers):
    """Decays 0, 0, 1 − 2^−0.75, 1 − 3^−0.75."""
    layer = torch.nn.Linear(1, 1)
    average = peers[1].Average(layer)
    for value in (1.0, 2.0, 3.0, 5.0):
        layer.weight.data.fill_(value)
        average.step(layer)
    third = (1 - 2**-0.75) * 2 + 2**-0.75 * 3
    assert float(average.network.weight) == pytest.approx((1 - 3**-0.75) * third + 3**-0.75 * 5, rel=1e-6)
