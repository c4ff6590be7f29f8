"""Signs of quaternions: continuous within episodes, w ≥ 0 at their start."""

import pytest
import torch

from holdfast.rotations import continuous, quaternion_from_vector
from holdfast.seeding import stream


@pytest.mark.parametrize("scalar", [3, 0])
def test_signs_are_those_of_a_loop_over_rows(scalar):
    lengths = torch.tensor([30, 1, 25, 44])
    turns = torch.linspace(0, 14, 100, dtype=torch.float64)[:, None] * torch.tensor(
        [0.6, 0.0, 0.8], dtype=torch.float64
    )
    smooth = quaternion_from_vector(turns).roll(0 if scalar == 3 else 1, -1)
    signs = torch.randint(0, 2, (100, 1), generator=stream(0, "signs")) * 2 - 1
    found = continuous(signs * smooth, lengths, scalar=scalar)
    row = 0
    for length in lengths.tolist():
        assert float(found[row, scalar]) >= 0
        for step in range(row + 1, row + length):
            assert float(found[step] @ found[step - 1]) > 0
        row += length
    assert torch.equal(found.abs(), smooth.abs())
