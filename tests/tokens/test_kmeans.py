"""Centres: fixed points of Lloyd's algorithm, found where they are."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.tokens import KMeans, fit_tokenizer
from holdfast.tokens.kmeans import _spread, lloyd

BLOBS = np.array([[0, 0], [1, 0], [0, 1], [-1, -0.5], [0.7, 0.8]])


def blobs(count=200, spread=0.02):
    rng = stream(0, "tests", "blobs")
    which = torch.randint(len(BLOBS), (count, 4), generator=rng)
    noise = torch.randn(count, 4, 2, generator=rng, dtype=torch.float64)
    return torch.as_tensor(BLOBS)[which] + spread * noise, which


def test_centres_are_fixed_points(smooth):
    chunks = smooth(100)
    centres = fit_tokenizer(KMeans(clusters=9, iterations=300), chunks, seed=0).tables["centres"].numpy()
    steps = chunks.numpy().reshape(-1, 2)
    nearest = np.array([np.argmin(((centres - step) ** 2).sum(1)) for step in steps])
    for place, centre in enumerate(centres):
        assert np.allclose(steps[nearest == place].mean(0), centre, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_blobs_are_found(seed):
    chunks, which = blobs()
    tokenizer = fit_tokenizer(KMeans(clusters=5), chunks, seed=seed)
    centres = tokenizer.tables["centres"].numpy()
    distances = np.linalg.norm(centres[:, None] - BLOBS[None], axis=2)
    assert sorted(distances.argmin(1).tolist()) == [0, 1, 2, 3, 4]
    assert distances.min(1).max() < 0.01
    # one token a step, the same for all steps of a blob
    ids = tokenizer.encode(chunks).ids
    assert ids.shape == (200, 4)
    assert torch.equal(torch.as_tensor(distances.argmin(1))[ids], which)
    assert tokenizer.step_of.tolist() == [0, 1, 2, 3]


def test_first_centres_follow_the_law_of_squared_distances():
    """Three of the steps 0, 1, 10 and 14: all orders enumerated, beside a thousand seeds."""
    values = [0.0, 1.0, 10.0, 14.0]
    law = dict.fromkeys(map(frozenset, itertools.combinations(range(4), 3)), 0.0)
    for order in itertools.permutations(range(4), 3):
        chance = 1 / 4
        for place in (1, 2):
            squares = [min((value - values[known]) ** 2 for known in order[:place]) for value in values]
            chance *= squares[order[place]] / sum(squares)
        law[frozenset(order)] += chance
    assert sum(law.values()) == pytest.approx(1)
    steps = torch.tensor(values)[:, None]
    drawn = [frozenset(_spread(steps, 3, stream(seed, "law")).flatten().tolist()) for seed in range(1000)]
    counts = [drawn.count(frozenset(values[index] for index in chosen)) for chosen in law]
    assert stats.chisquare(counts, [1000 * chance for chance in law.values()]).pvalue > 1e-3


def test_a_step_becomes_its_nearest_centre(smooth):
    tokenizer = fit_tokenizer(KMeans(clusters=9), smooth(100), seed=0)
    chunks = smooth(20, seed=1)
    centres = tokenizer.tables["centres"]
    least = torch.stack([(chunks - centre).norm(dim=2) for centre in centres]).amin(0)
    assert torch.allclose((tokenizer.decode(tokenizer.encode(chunks)) - chunks).norm(dim=2), least, atol=1e-12)


def test_empty_clusters_move_to_what_is_served_worst():
    steps = torch.tensor([[0.0], [0.2], [1.0], [3.0]])
    moved = lloyd(steps, torch.tensor([[0.0], [50.0], [0.9], [60.0]]))
    # nearest to 0: 0 and 0.2; to 0.9: 1 and 3, of which 3 is farthest from its centre, then 0.2
    assert moved.flatten().tolist() == pytest.approx([0.1, 3.0, 2.0, 0.2])


def test_too_few_steps():
    chunks = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1).repeat(50, 1, 1)
    assert sorted(fit_tokenizer(KMeans(clusters=3), chunks, seed=0).tables["centres"].flatten().tolist()) == [0, 1, 2]
    with pytest.raises(DataError, match=r"at least 4 different steps, one per cluster, got 3\. Lower clusters"):
        fit_tokenizer(KMeans(clusters=4), chunks, seed=0)
