"""Laws of composite actions: d_max by hand and by its definition, Δ_ε under W₁ / ε."""

import pytest
import torch

from holdfast.analysis.composite import composite_distances
from holdfast.analysis.matching import total_variation, wasserstein
from holdfast.errors import ShapeError
from holdfast.seeding import stream
from holdfast.types import PrimitiveControllers


def chunks(seed, *leading, m=2, n=3, scale=1.0):
    rng = stream(seed, "composite")

    def normal(*shape):
        return scale * torch.randn(*leading, *shape, generator=rng, dtype=torch.float64)

    return PrimitiveControllers(actions=normal(m), states=normal(n), gains=normal(m, n))


def d_max(a, b):
    """As it is defined, one pair at a time, the operator norm as the root of the largest eigenvalue of KᵀK."""
    largest = 0.0
    for step in range(a.actions.shape[0]):
        one, other = a.at(step), b.at(step)
        gap = one.gains - other.gains
        norm = torch.linalg.eigvalsh(gap.mT @ gap)[-1].clamp(min=0).sqrt()
        total = (one.actions - other.actions).norm() + (one.states - other.states).norm() + norm
        largest = max(largest, float(total))
    return largest


@pytest.mark.parametrize(("m", "n"), [(1, 3), (2, 3), (3, 1)])
def test_distances_are_those_of_the_definition(m, n):
    one, other = chunks(0, 3, 4, m=m, n=n), chunks(1, 5, 4, m=m, n=n)
    found = composite_distances(one, other)
    assert found.shape == (3, 5)

    def pick(c, i):
        return PrimitiveControllers(actions=c.actions[i], states=c.states[i], gains=c.gains[i])

    expected = [[d_max(pick(one, i), pick(other, j)) for j in range(5)] for i in range(3)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(composite_distances(other, one), found.mT)
    assert not composite_distances(one, one).diagonal().any()


def test_the_operator_norm_is_not_the_frobenius_norm():
    none = PrimitiveControllers(
        actions=torch.zeros(1, 1, 2), states=torch.zeros(1, 1, 2), gains=torch.zeros(1, 1, 2, 2)
    )
    unit = PrimitiveControllers(actions=none.actions, states=none.states, gains=torch.eye(2)[None, None])
    assert float(composite_distances(none, unit)) == 1.0


def test_leading_axes_are_sets_of_their_own():
    one, other = chunks(0, 2, 3, 4, 5), chunks(1, 2, 3, 4, 5)
    found = composite_distances(one, other)
    assert found.shape == (2, 3, 4, 4)

    def pick(c):
        return PrimitiveControllers(actions=c.actions[1, 2], states=c.states[1, 2], gains=c.gains[1, 2])

    torch.testing.assert_close(found[1, 2], composite_distances(pick(one), pick(other)))
    assert total_variation(found, [1.0, 5.0]).shape == (2, 3, 2)


def test_delta_is_under_w1_over_epsilon():
    """Markov's inequality; and with ε near 0 two continuous laws share nothing, with ε large everything."""
    distances = composite_distances(chunks(0, 30, 4, scale=0.1), chunks(1, 30, 4, scale=0.1))
    epsilons = torch.logspace(-2, 1, 60, dtype=torch.float64)
    delta = total_variation(distances, epsilons)
    assert (delta <= wasserstein(distances) / epsilons + 1e-12).all()
    assert delta[0] == 1
    assert delta[-1] == 0
    assert ((delta > 0) & (delta < 1)).any()


def test_states_differ_as_the_system_says():
    one = PrimitiveControllers.open_loop(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.1))
    other = PrimitiveControllers.open_loop(torch.zeros(1, 1, 1), torch.full((1, 1, 1), -3.1))

    def wrapped(x, y):
        return torch.remainder(x - y + torch.pi, 2 * torch.pi) - torch.pi

    assert float(composite_distances(one, other)) == pytest.approx(6.2)
    assert float(composite_distances(one, other, difference=wrapped)) == pytest.approx(2 * torch.pi - 6.2, abs=1e-5)


def test_chunks_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match="differ in the number of samples at most"):
        composite_distances(chunks(0, 3, 4), chunks(1, 3, 5))
    with pytest.raises(ShapeError, match="states"):
        composite_distances(chunks(0, 3, 4), chunks(1, 3, 4, n=2))
    with pytest.raises(ShapeError, match="samples, steps"):
        composite_distances(chunks(0, 4), chunks(1, 4))
