"""The causal transformer: causal indeed, decoding equal to teacher forcing, size by hand, variants, training."""

import pytest
import torch
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError, ShapeError
from holdfast.nn import CausalTransformer, Gpt
from holdfast.seeding import stream

VOCABULARY, LENGTH = 7, 6


def network(seed=0, *, length=LENGTH, n_obs_steps=3, options=None):
    """Away from its start, where everything counts."""
    options = options or Gpt(layers=2, heads=2, width=8)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = CausalTransformer(options, vocabulary=VOCABULARY, length=length, n_obs_steps=n_obs_steps, n_observed=4)
        net = net.double()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return net


def sequences(batch=5, length=LENGTH, seed=0):
    return torch.randint(VOCABULARY, (batch, length), generator=stream(seed, "tests", "ids"))


def decoded(net, ids, memory):
    """Logits of every token, one step after the other."""
    logits, cache = net.start(memory)
    found, states = [logits], [cache.hidden]
    for token in ids[:, :-1].unbind(1):
        logits, cache = net.step(token, cache)
        found.append(logits)
        states.append(cache.hidden)
    return torch.stack(found, 1), torch.stack(states, 1)


@pytest.mark.parametrize(("length", "n_obs_steps"), [(LENGTH, 3), (LENGTH, 1), (2, 2), (1, 2)])
def test_decoding_equals_teacher_forcing(gaussian, length, n_obs_steps):
    net = network(length=length, n_obs_steps=n_obs_steps)
    ids, memory = sequences(length=length), net.encode(gaussian(0, 5, n_obs_steps, 4))
    logits, states = decoded(net, ids, memory)
    assert logits.shape == (5, length, VOCABULARY)
    torch.testing.assert_close(net(ids, memory), logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(net.hidden(ids, memory), states, rtol=0, atol=1e-10)
    torch.testing.assert_close(net.logits(states), logits, rtol=0, atol=1e-10)


def test_a_token_counts_for_those_after_it_alone(gaussian):
    net, ids = network(), sequences()
    memory = net.encode(gaussian(0, 5, 3, 4))
    before = net(ids, memory)
    for changed in range(LENGTH):
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % VOCABULARY
        after = net(other, memory)
        assert torch.equal(after[:, : changed + 1], before[:, : changed + 1])
        moved = (after[:, changed + 1 :] - before[:, changed + 1 :]).abs().amax((0, 2))
        assert bool((moved > 1e-6).all())


def test_every_observation_counts_for_every_token(gaussian):
    net, ids, window = network(), sequences(1), gaussian(0, 1, 3, 4)
    slopes = torch.autograd.functional.jacobian(lambda seen: net(ids, net.encode(seen)), window)
    # tokens against observation steps
    assert bool((slopes.abs().amax((0, 2, 3, 5)) > 1e-8).all())


def test_a_shorter_sequence_is_the_beginning_of_a_longer_one(gaussian):
    net, ids = network(), sequences()
    memory = net.encode(gaussian(0, 5, 3, 4))
    torch.testing.assert_close(net(ids[:, :4], memory), net(ids, memory)[:, :4], rtol=0, atol=1e-12)


def test_rows_are_independent(gaussian):
    net, ids, window = network(), sequences(), gaussian(0, 5, 3, 4)
    together = net(ids, net.encode(window))
    for row in range(5):
        alone = net(ids[row, None], net.encode(window[row, None]))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


def test_by_hand(gaussian):
    """One layer, one head, one observation: two tokens, whose attention is a mean of two values."""
    net = network(n_obs_steps=1, options=Gpt(layers=1, heads=1, width=8))
    ids, window, norm = sequences(1), gaussian(0, 1, 1, 4), torch.nn.functional.layer_norm
    (block,) = net.blocks
    tokens = torch.cat([net.observe(window)[0], net.embed.weight[ids[0, :1]]]) + net.positions[:2]
    normed = norm(tokens, (8,), block.norm_attention.weight, block.norm_attention.bias)
    queries, keys, values = (normed @ block.project.weight.T + block.project.bias).split(8, 1)
    shares = torch.softmax(keys @ queries[1] / 8**0.5, 0)
    hidden = tokens[1] + block.contract(shares[0] * values[0] + shares[1] * values[1])
    inner = block.perceptron.expand(norm(hidden, (8,), block.norm_perceptron.weight, block.norm_perceptron.bias))
    # gelu(x) = x Φ(x)
    hidden = hidden + block.perceptron.contract(inner * 0.5 * (1 + torch.erf(inner / 2**0.5)))
    expected = net.head(norm(hidden, (8,), net.norm.weight, net.norm.bias))
    torch.testing.assert_close(net(ids, net.encode(window))[0, 1], expected)


def test_size_by_hand():
    w, layers, observed = 8, 2, 4
    block = (3 * w * w + 3 * w) + (w * w + w) + (8 * w * w + 5 * w) + 4 * w
    ends = (observed * w + w) + VOCABULARY * w + (3 + LENGTH - 1) * w + 2 * w + (w * VOCABULARY + VOCABULARY)
    assert sum(parameter.numel() for parameter in network().parameters()) == layers * block + ends


def test_variants_side_by_side_equal_each_alone(gaussian):
    nets = [network(0), network(1)]
    stacked = {
        name: torch.stack([dict(net.named_parameters())[name] for net in nets])
        for name, _ in nets[0].named_parameters()
    }
    ids, window = sequences(), gaussian(0, 5, 3, 4)

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets[0]

        def forward(self, ids, window):
            memory = self.net.encode(window)
            return self.net(ids, memory), decoded(self.net, ids, memory)[0]

    def call(parameters):
        named = {f"net.{name}": value for name, value in parameters.items()}
        return functional_call(Whole(), named, (ids, window))

    forced, stepped = vmap(call)(stacked)
    for index, net in enumerate(nets):
        alone = net(ids, net.encode(window))
        torch.testing.assert_close(forced[index], alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(stepped[index], alone, rtol=0, atol=1e-10)


def test_it_learns_a_rule_that_needs_tokens_and_observation():
    """Each token repeats the one before it, raised by the sign of the observation: learned by heart, without error."""
    rng = stream(0, "tests", "rule")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CausalTransformer(Gpt(layers=1, heads=2, width=32), vocabulary=5, length=4, n_obs_steps=1, n_observed=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(250):
        sign = torch.randint(2, (64, 1), generator=rng)
        ids = (torch.randint(5, (64, 1), generator=rng) + (2 * sign - 1) * torch.arange(4)) % 5
        logits = net(ids, net.encode(2 * sign[..., None] - 1.0))
        loss = torch.nn.functional.cross_entropy(logits[:, 1:].flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # a guess costs log 5 = 1.6
    assert float(loss.detach()) < 0.02


def test_refusals(gaussian):
    net = network()
    memory = net.encode(gaussian(0, 5, 3, 4))
    for length in (0, LENGTH + 1):
        with pytest.raises(ShapeError, match=f"1 to {LENGTH} tokens, got {length}"):
            net(sequences(length=length), memory)
    single = network(length=1)
    _, cache = single.start(single.encode(gaussian(0, 5, 3, 4)))
    with pytest.raises(ShapeError, match="a sequence of 1 tokens is complete"):
        single.step(sequences(length=1)[:, 0], cache)
    with pytest.raises(RecipeError, match="divisible by"):
        Gpt(heads=3)
    with pytest.raises(RecipeError, match="at least 1, got 0"):
        CausalTransformer(Gpt(), vocabulary=0, length=1, n_obs_steps=1, n_observed=1)
