"""Arrays that hold no plain real numbers are refused in words, at every door of a policy."""

import numpy as np
import pytest
import torch

from holdfast.errors import DataError
from holdfast.policy import Policy
from holdfast.policy.observed import as_numbers, check_state
from holdfast.types import Observation

TENSORS = {
    "sparse": lambda: torch.eye(6).to_sparse(),
    "meta": lambda: torch.empty(2, 6, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(2, 6), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(6), torch.ones(6)]),
    "complex": lambda: torch.ones(2, 6, dtype=torch.complex64),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_of_other_kinds(tiny_planner, kind):
    policy, odd, plain = Policy(tiny_planner), TENSORS[kind](), torch.ones(2, 6)
    doors = (
        lambda: policy.select_action(odd),
        lambda: policy.select_action(plain, state=odd),
        lambda: check_state(odd, Observation(state=plain), policy.spec),
        lambda: policy.predict_controllers(odd),
    )
    for door in doors:
        with pytest.raises(DataError, match=f"dense tensor of real numbers, got a {kind} one"):
            door()


@pytest.mark.parametrize("rows", [lambda masked: masked, lambda masked: [masked], lambda masked: (0.5, masked[0])])
def test_masked_entries(rows):
    with pytest.raises(DataError, match="got masked entries"):
        as_numbers(rows(np.ma.array([0.5], mask=[True])), "state")


def test_a_masked_array_without_a_masked_entry():
    assert as_numbers(np.ma.array([0.5], mask=[False]), "state").tolist() == [0.5]
