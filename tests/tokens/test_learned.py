"""Learned codes: they are those of the package that fits them, used, and close to what they stand for."""

import pytest
import torch
from vector_quantize_pytorch import FSQ, ResidualVQ

from holdfast.seeding import stream
from holdfast.tokens import Fsq, ResidualVq, fit_tokenizer, measure_tokenizer
from holdfast.tokens.perceptron import run_perceptron

VQ = ResidualVq(groups=2, codes=8, latent=16, hidden=64, updates=400, batch_size=64)


def prototypes(count=800, kinds=24):
    """Chunks of six steps that are one of a few, and a little noise."""
    rng = stream(0, "tests", "prototypes")
    made = 2 * torch.rand(kinds, 6, 2, generator=rng) - 1
    which = torch.randint(kinds, (count,), generator=rng)
    return made[which] + 0.01 * torch.randn(count, 6, 2, generator=rng), which


@pytest.fixture(scope="module")
def quantised():
    chunks, which = prototypes()
    return fit_tokenizer(VQ, chunks, seed=0), chunks, which


def test_residual_codes_are_the_packages(quantised):
    tokenizer, chunks, _ = quantised
    package = ResidualVQ(dim=16, num_quantizers=2, codebook_size=8).eval()
    for layer, codebook in zip(package.layers, tokenizer.tables["codebooks"], strict=True):
        layer._codebook.embed.copy_(codebook[None])
    latents = run_perceptron(tokenizer.tables, "encoder", chunks.flatten(1))
    quantised_latents, indices, _ = package(latents)
    tokens = tokenizer.encode(chunks)
    assert torch.equal(tokens.ids, indices)
    decoded = run_perceptron(tokenizer.tables, "decoder", quantised_latents)
    assert torch.allclose(tokenizer.decode(tokens).flatten(1), decoded, atol=1e-5)


def test_residual_codes_tell_the_prototypes_apart(quantised):
    tokenizer, chunks, which = quantised
    tokens = tokenizer.encode(chunks)
    assert tokens.ids.shape == (800, 2)
    # of 24 equally frequent kinds: nearly as many codes, and most of each codebook's 8 entries
    pairs = tokens.ids[:, 0] * 8 + tokens.ids[:, 1]
    assert len(pairs.unique()) >= 15
    for group in range(2):
        shares = torch.bincount(tokens.ids[:, group], minlength=8) / 800
        assert float(torch.special.entr(shares).sum().exp()) > 4
    # a code mostly means one kind
    common = sum(int(torch.bincount(which[pairs == pair]).max()) for pair in pairs.unique())
    assert common > 0.7 * 800
    error = (tokenizer.decode(tokens) - chunks).square().mean()
    assert float(error) < 0.35 * float(chunks.var())


def test_more_groups_say_more():
    chunks, _ = prototypes()
    errors = []
    for groups in (1, 4):
        options = ResidualVq(groups=groups, codes=4, latent=16, hidden=64, updates=300, batch_size=64)
        tokenizer = fit_tokenizer(options, chunks, seed=0)
        errors.append(measure_tokenizer(tokenizer, chunks, rng=stream(0, "tests")).rms_error[0])
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3,), (4, 7)])
def test_rounded_codes_are_the_packages(levels, smooth):
    chunks = smooth(100).float()
    tokenizer = fit_tokenizer(Fsq(levels=levels, hidden=16, updates=20, batch_size=32), chunks, seed=0)
    assert tokenizer.vocabulary == torch.tensor(levels).prod()
    package = FSQ(levels=list(levels))
    # ids ↔ numbers of the latent: all of them, both ways
    ids = torch.arange(tokenizer.vocabulary)
    numbers = package.indices_to_codes(ids)
    assert torch.equal(package.codes_to_indices(numbers).long(), ids)
    # the encoder's numbers, rounded by the package
    seen = torch.zeros(100, 3, 23)
    for block, end in enumerate((4, 8, 10)):
        seen[:, block, : 2 * end] = chunks[:, :end].flatten(1)
        seen[:, block, 20 + block] = 1
    rounded, indices = package(run_perceptron(tokenizer.tables, "encoder", seen.flatten(0, 1)).view(100, 3, -1))
    tokens = tokenizer.encode(chunks)
    assert torch.equal(tokens.ids, indices.long())
    decoded = run_perceptron(tokenizer.tables, "decoder", rounded.flatten(1))
    assert torch.allclose(tokenizer.decode(tokens).flatten(1), decoded, atol=1e-5)


def test_tokens_know_nothing_of_later_steps(smooth):
    chunks = smooth(100)
    tokenizer = fit_tokenizer(Fsq(hidden=32, updates=100), chunks, seed=0)
    changed = chunks.clone()
    changed[:, 4:] += 0.5
    one, other = tokenizer.encode(chunks).ids, tokenizer.encode(changed).ids
    assert one.shape == (100, 3)
    assert torch.equal(one[:, 0], other[:, 0])
    assert bool((one[:, 1] != other[:, 1]).any())


def test_rounded_codes_carry_chunks(smooth):
    chunks = smooth(600)
    tokenizer = fit_tokenizer(Fsq(hidden=64, updates=500), chunks[:500], seed=0)
    found = measure_tokenizer(tokenizer, chunks[500:], rng=stream(0, "tests"))
    # a policy that knew only the mean would miss by the spread of the chunks
    assert max(found.rms_error) < 0.45 * float(chunks.std())
    assert found.tokens == 3
    assert found.perplexity > 50
