"""Attention by hand, its mask, its derivatives, the block, first weights."""

import math

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn.attention import TransformerBlock, attend, check_tokens, first_weights


def by_hand(queries, keys_values, heads, visible):
    """One row, one head, one query at a time: weights exp(q·k / √d) over the visible tokens, divided by their sum."""
    batch, n_queries, width = queries.shape
    size = width // heads
    out = torch.zeros_like(queries)
    for row in range(batch):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            keys, values = keys_values[row, :, :width][:, part], keys_values[row, :, width:][:, part]
            for i in range(n_queries):
                weights = [math.exp(float(queries[row, i, part] @ keys[j]) / math.sqrt(size)) for j in visible(i)]
                mean = sum(weight * values[j] for weight, j in zip(weights, visible(i), strict=True))
                out[row, i, part] = mean / sum(weights)
    return out


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_is_a_mean_of_values_weighted_by_exponentials(gaussian, heads):
    queries, keys_values = gaussian(0, 2, 4, 6), gaussian(1, 2, 7, 12)
    expected = by_hand(queries, keys_values, heads, lambda i: range(7))
    torch.testing.assert_close(attend(queries, keys_values, heads=heads), expected)
    # the four queries are the last of the seven tokens
    expected = by_hand(queries, keys_values, heads, lambda i: range(4 + i))
    torch.testing.assert_close(attend(queries, keys_values, heads=heads, causal=True), expected)


def test_attention_equals_pytorchs(gaussian):
    queries, keys, values = gaussian(0, 2, 3, 5, 4), gaussian(1, 2, 3, 5, 4), gaussian(2, 2, 3, 5, 4)
    for causal in (False, True):
        expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        flat = [part.transpose(1, 2).flatten(2) for part in (queries, keys, values)]
        found = attend(flat[0], torch.cat(flat[1:], -1), heads=3, causal=causal)
        torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2))


def test_attention_has_forward_and_second_derivatives(gaussian):
    """MeanFlow differentiates forward, guidance that is trained through differentiates twice."""
    queries, keys_values = gaussian(0, 1, 3, 4).requires_grad_(), gaussian(1, 1, 3, 8).requires_grad_()
    inputs = (queries, keys_values)
    causal = lambda q, kv: attend(q, kv, heads=2, causal=True)  # noqa: E731
    assert torch.autograd.gradcheck(causal, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(causal, inputs)


def test_the_block_continues_from_a_past(gaussian):
    """Two tokens after three is what five at once make of the last two."""
    torch.manual_seed(0)
    block, tokens = TransformerBlock(6, 2).double(), gaussian(0, 2, 5, 6)
    whole, seen = block(tokens, causal=True)
    first, past = block(tokens[:, :3], causal=True)
    later, grown = block(tokens[:, 3:], past, causal=True)
    torch.testing.assert_close(torch.cat([first, later], 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(grown, seen, rtol=0, atol=1e-12)
    assert seen.shape == (2, 5, 12)


def test_size_of_a_block_by_hand():
    """Projections 3w² + w², perceptron 8w², their biases and two normalisations."""
    w = 8
    expected = (3 * w * w + 3 * w) + (w * w + w) + (4 * w * w + 4 * w) + (4 * w * w + w) + 2 * 2 * w
    assert sum(parameter.numel() for parameter in TransformerBlock(w, 2).parameters()) == expected


def test_first_weights(gaussian):
    torch.manual_seed(0)
    block = TransformerBlock(64, 2)
    first_weights(block, additions=4)
    assert float(block.project.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    for layer in (block.contract, block.perceptron.contract):
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
        assert not layer.bias.detach().any()


@pytest.mark.parametrize(
    ("width", "heads", "layers", "text"),
    [(8, 3, 1, "divisible by 3 heads"), (0, 1, 1, "at least 1"), (8, 0, 1, "at least 1"), (8, 2, 0, "at least 1")],
)
def test_refusals(width, heads, layers, text):
    with pytest.raises(RecipeError, match=text):
        check_tokens(width=width, heads=heads, layers=layers)
