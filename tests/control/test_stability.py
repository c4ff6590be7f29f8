"""Products of closed-loop Jacobians along demonstrations."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import Tvlqr, closed_loop, linearize, products, synthesize
from holdfast.errors import ShapeError


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_products_are_chained_in_time(steps, rng):
    jacobians = torch.randn(2, 7, 3, 3, dtype=torch.float64, generator=rng)
    found = products(jacobians, steps)
    assert found.shape == (2, 8 - steps, 3, 3)
    for start in range(8 - steps):
        window = [jacobians[1, t] for t in reversed(range(start, start + steps))]
        expected = torch.linalg.multi_dot(window) if steps > 1 else window[0]
        assert_close(found[1, start], expected)


@pytest.mark.parametrize("steps", [0, 8])
def test_products_refuse_more_steps_than_there_are(steps):
    with pytest.raises(ShapeError, match=f"expected 1 to 7 steps.*got {steps}"):
        products(torch.zeros(7, 2, 2), steps)


def test_feedback_contracts_where_open_loop_grows(demonstrations, quadrotor):
    along = linearize(quadrotor, demonstrations.states[:, :-1], demonstrations.actions)
    K = synthesize(Tvlqr(), quadrotor, demonstrations).gains
    opened = torch.linalg.matrix_norm(products(along.A, 50), 2)
    closed = torch.linalg.matrix_norm(products(closed_loop(along.A, along.B, K), 50), 2)
    # Over any 50 steps of any demonstration, not only in the median.
    assert float(opened.min()) > 40
    assert float(closed.max()) <= 2
