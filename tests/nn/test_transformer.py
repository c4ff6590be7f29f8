"""The transformer: equal to PyTorch's own with the same weights, causal where it says so, its size by hand."""

import pytest
import torch
from torch import nn

from holdfast.errors import RecipeError
from holdfast.nn import Ports, Transformer
from holdfast.nn.attention import TokenTimes

PORTS = Ports(horizon=5, n_in=3, n_out=2, n_times=1, n_obs_steps=2, n_observed=4)


def copied(target, weights):
    """PyTorch's layer with our weights; every one of its parameters must be among them."""
    target.load_state_dict({name: value.detach() for name, value in weights.items()})
    return target


def perceptron(part):
    weights = {"linear1": part.expand, "linear2": part.contract}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in weights.items() for kind in ("weight", "bias")}


def norms(*parts):
    return {f"norm{i}.{kind}": getattr(part, kind) for i, part in enumerate(parts, 1) for kind in ("weight", "bias")}


def attention(name, projection, contraction):
    return {
        f"{name}.in_proj_weight": projection[0],
        f"{name}.in_proj_bias": projection[1],
        f"{name}.out_proj.weight": contraction.weight,
        f"{name}.out_proj.bias": contraction.bias,
    }


def pytorchs(kind, width, heads):
    return kind(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True).double()


def encoder_layer(block, width, heads):
    weights = norms(block.norm_attention, block.norm_perceptron) | perceptron(block.perceptron)
    weights |= attention("self_attn", (block.project.weight, block.project.bias), block.contract)
    return copied(pytorchs(nn.TransformerEncoderLayer, width, heads), weights)


def decoder_layer(block, of_memory, width, heads):
    weights = norms(*block.norms) | perceptron(block.perceptron)
    weights |= attention("self_attn", (block.project.weight, block.project.bias), block.contract)
    joined = [
        torch.cat([getattr(block.ask, kind), part]) for kind, part in zip(("weight", "bias"), of_memory, strict=True)
    ]
    weights |= attention("multihead_attn", joined, block.memory_contract)
    return copied(pytorchs(nn.TransformerDecoderLayer, width, heads), weights)


@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_pytorchs_transformer(built, gaussian, causal):
    options = Transformer(layers=2, heads=2, width=8, encoder_layers=2, embedding=8, causal=causal)
    net = built(options, PORTS, shaken=0.2)
    chunk, times, window = gaussian(0, 4, 5, 3), 50 + gaussian(1, 4, 1), gaussian(2, 4, 2, 4)
    memory = net.observe(window) + net.observe_positions
    for block in net.encoder:
        memory = encoder_layer(block, 8, 2)(memory)
    memory = net.encoder_norm(memory)
    told = net.times.embed(times)[:, None].expand(4, 5, 8)
    tokens = net.enter(torch.cat([chunk, told], 2)) + net.positions
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    of_layers = [(net.remember.weight[16 * i : 16 * (i + 1)], net.remember.bias[16 * i : 16 * (i + 1)]) for i in (0, 1)]
    for block, of_memory in zip(net.decoder, of_layers, strict=True):
        tokens = decoder_layer(block, of_memory, 8, 2)(tokens, memory, tgt_mask=mask)
    expected = net.head(net.norm(tokens))
    torch.testing.assert_close(net(chunk, times, net.encode(window)), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_causal_steps_see_earlier_steps_alone(built, gaussian, causal):
    net = built(Transformer(layers=2, heads=2, width=8, embedding=8, causal=causal), PORTS, shaken=0.2)
    times, memory = 50 + gaussian(1, 1, 1), net.encode(gaussian(2, 1, 2, 4)).detach()
    slopes = torch.autograd.functional.jacobian(lambda chunk: net(chunk, times, memory), gaussian(0, 1, 5, 3))
    # steps that come out against steps that go in
    seen = slopes.abs().amax((0, 2, 3, 5)) > 0
    every = torch.ones(5, 5, dtype=torch.bool)
    assert torch.equal(seen, every.tril() if causal else every)


def test_steps_with_their_own_times_may_change_places(built, gaussian):
    """Without positions, exchanging the steps of the chunk and their times exchanges the steps that come out."""
    ports = Ports(horizon=5, n_in=3, n_out=2, n_times=5, n_obs_steps=2, n_observed=4)
    net = built(Transformer(layers=2, heads=2, width=8, embedding=8), ports, shaken=0.2)
    net.positions.data.zero_()
    chunk, times, memory = gaussian(0, 4, 5, 3), 50 + 20 * gaussian(1, 4, 5), net.encode(gaussian(2, 4, 2, 4))
    order = torch.tensor([3, 0, 4, 1, 2])
    out = net(chunk, times, memory)
    torch.testing.assert_close(net(chunk[:, order], times[:, order], memory), out[:, order], rtol=0, atol=1e-12)
    assert not torch.allclose(net(chunk[:, order], times, memory), out[:, order])


@pytest.mark.parametrize(("horizon", "n_times", "own"), [(5, 5, True), (5, 2, False), (2, 2, False), (1, 1, False)])
def test_whose_times_a_token_is_told(horizon, n_times, own):
    """Two times of a chunk of two steps may be start and end of a jump: every token is told both."""
    ports = Ports(horizon=horizon, n_in=1, n_out=1, n_times=n_times, n_observed=1)
    told = TokenTimes(ports, 8)(torch.arange(3.0 * n_times).view(3, n_times))
    assert told.shape == (3, horizon if own else 1, 8)


def test_no_times_nothing_told():
    times = TokenTimes(Ports(horizon=5, n_in=1, n_out=1, n_observed=1), 8)
    assert times.size == 0
    assert times(torch.zeros(3, 0)).shape == (3, 1, 0)


def test_size_by_hand(built, size):
    """Width 8, embedding 4: an encoder layer 12w² + 13w, a decoder layer 2w² more and 2w² in the memory's keys."""
    w, layers = 8, 3
    encoder = 12 * w * w + 13 * w
    decoder = (4 * w * w + 4 * w) + (2 * w * w + 2 * w) + (8 * w * w + 5 * w) + 6 * w
    embedding = (4 * 16 + 16) + (16 * 4 + 4)
    memory = (4 * w + w) + 2 * w + 2 * w + (w + 1) * layers * 2 * w
    ends = ((3 + 4) * w + w) + 5 * w + 2 * w + (2 * w + 2)
    net = built(Transformer(layers=layers, heads=2, width=w, encoder_layers=2, embedding=4), PORTS)
    assert size(net) == 2 * encoder + layers * decoder + embedding + memory + ends


@pytest.mark.parametrize("options", [{"heads": 3}, {"layers": 0}, {"encoder_layers": -1}, {"embedding": 3}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        Transformer(**options)
