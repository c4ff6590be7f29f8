"""Fits on sets of episodes from their moments, against fits on the rows themselves."""

import numpy as np
import pytest

from holdfast.data.doctor.consistency.moments import RIDGE, moments_of

EPISODES, ROWS = 12, 30


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(EPISODES * ROWS, 2))
    y = x @ [[1.0], [-2.0]] + 0.1 * rng.normal(size=(EPISODES * ROWS, 1)) + 0.3
    return x, y, np.repeat(np.arange(EPISODES), ROWS)


def crossed_by_rows(x, y, owner, group):
    """Squared error of the episodes of each parity within a group, by a fit on those of the other."""
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    total = 0.0
    for parity in (0, 1):
        held, fitted = (np.isin(owner, group[start::2]) for start in (parity, 1 - parity))
        gram = wide[fitted].T @ wide[fitted] + RIDGE * fitted.sum() * np.eye(3)
        weights = np.linalg.solve(gram, wide[fitted].T @ y[fitted])
        total += float(((y[held] - wide[held] @ weights) ** 2).sum()) + 1e-9 * held.sum()
    return total


def test_the_error_of_crossed_fits(rows):
    moments, first = moments_of(*rows, labels=("y",), episodes=EPISODES), np.arange(EPISODES) < 5
    wanted = sum(crossed_by_rows(*rows, group) for group in (range(5), range(5, EPISODES)))
    assert moments.crossed([first, ~first]) == pytest.approx([wanted], rel=1e-9)


def test_an_episode_without_rows_has_no_share_in_a_fit(rows):
    """Rows of changes begin with the third step, so that a short episode has none, wherever it stands."""
    x, y, owner = rows
    full = moments_of(x, y, owner, labels=("y",), episodes=EPISODES)
    for gap in (0, 5, EPISODES):
        shifted = moments_of(x, y, owner + (owner >= gap), labels=("y",), episodes=EPISODES + 1)
        assert shifted.rows.tolist() == [*full.rows[:gap], 0, *full.rows[gap:]]
        everything = np.ones(EPISODES + 1, dtype=bool)
        np.testing.assert_allclose(shifted.fit(everything), full.fit(everything[1:]), rtol=1e-12)


def test_several_groupings_of_episodes_in_another_order(rows):
    moments, order = moments_of(*rows, labels=("y",), episodes=EPISODES), np.random.default_rng(4).permutation(EPISODES)
    places = (4, 6, 7)
    after = np.stack([np.arange(EPISODES) >= place for place in places])
    found = moments.crossed_each(np.stack([~after, after], axis=1), order)
    wanted = [[sum(crossed_by_rows(*rows, part) for part in (order[:place], order[place:]))] for place in places]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
