"""Windows against a loop that walks each episode as a list."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.data import Windows, gathered
from holdfast.errors import DataError, ShapeError


def naive(lengths, n_obs_steps, horizon):
    """Windows by padding each episode's own list of rows, step by step."""
    observations, chunks, masks = [], [], []
    row = 0
    for length in lengths:
        own = list(range(row, row + length))
        row += length
        padded = [own[0]] * (n_obs_steps - 1) + own
        for now in range(length):
            observations.append(padded[now : now + n_obs_steps])
            inside = own[now : now + horizon]
            masks.append([True] * len(inside) + [False] * (horizon - len(inside)))
            chunks.append(inside + [own[-1]] * (horizon - len(inside)))
    return observations, chunks, masks


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 16))
def test_equals_a_loop(lengths, n_obs_steps, horizon):
    windows = Windows(lengths=torch.tensor(lengths), n_obs_steps=n_obs_steps, horizon=horizon)
    observations, chunks, masks = naive(lengths, n_obs_steps, horizon)
    assert len(windows) == sum(lengths)
    rows, mask = windows.chunk_rows(torch.arange(len(windows)))
    assert rows.tolist() == chunks
    assert mask.tolist() == masks
    assert windows.observation_rows(torch.arange(len(windows))).tolist() == observations


def test_now_is_in_both_and_inside():
    windows = Windows(lengths=torch.tensor([1, 2, 30]), n_obs_steps=3, horizon=8)
    every = torch.arange(33)
    rows, mask = windows.chunk_rows(every)
    assert torch.equal(rows[:, 0], every)
    assert torch.equal(windows.observation_rows(every)[:, -1], every)
    assert bool(mask[:, 0].all())


def test_mask_counts_the_real_steps():
    lengths, horizon = [5, 9], 4
    windows = Windows(lengths=torch.tensor(lengths), n_obs_steps=1, horizon=horizon)
    _, mask = windows.chunk_rows(torch.arange(14))
    # An episode of L >= h steps loses 1 + 2 + … + (h - 1) steps off its end.
    assert int(mask.sum()) == sum(length * horizon - horizon * (horizon - 1) // 2 for length in lengths)


def test_episode_shorter_than_any_window_is_kept_padded():
    windows = Windows(lengths=torch.tensor([4, 1, 4]), n_obs_steps=3, horizon=6)
    assert windows.observation_rows(torch.tensor([4])).tolist() == [[4, 4, 4]]
    rows, mask = windows.chunk_rows(torch.tensor([4]))
    assert rows.tolist() == [[4] * 6]
    assert mask.tolist() == [[True] + [False] * 5]


def test_any_rows_in_any_order():
    windows = Windows(lengths=torch.tensor([3, 7], dtype=torch.int32), n_obs_steps=2, horizon=3)
    every, some = torch.arange(10), torch.tensor([9, 0, 0, 4])
    assert torch.equal(windows.observation_rows(some), windows.observation_rows(every)[some])
    assert torch.equal(windows.chunk_rows(some)[0], windows.chunk_rows(every)[0][some])
    assert windows.chunk_rows(some[:0])[0].shape == (0, 3)


def test_refusals():
    with pytest.raises(DataError, match="at least one step"):
        Windows(lengths=torch.tensor([3, 0]), n_obs_steps=1, horizon=1)
    with pytest.raises(DataError, match="at least one step"):
        Windows(lengths=torch.tensor([], dtype=torch.int64), n_obs_steps=1, horizon=1)
    for steps in ((0, 1), (1, 0)):
        with pytest.raises(ShapeError, match="n_obs_steps >= 1 and horizon >= 1"):
            Windows(lengths=torch.tensor([3]), n_obs_steps=steps[0], horizon=steps[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(10,), (10, 3), (10, 2, 3)])
def test_gathered_rows_are_those_of_an_index(dtype, shape):
    values = torch.arange(torch.Size(shape).numel()).view(shape).to(dtype)
    rows = torch.tensor([[9, 0, 3], [3, 3, 1]])
    for one in (values, values.flip(-1), values[::2].repeat_interleave(2, 0), values.expand(shape)):
        found = gathered(one, rows)
        assert found.dtype == dtype
        assert torch.equal(found, torch.stack([torch.stack([one[row] for row in line]) for line in rows.tolist()]))


def test_gathered_rows_are_a_copy_and_follow_gradients():
    values = torch.ones(4, 2)
    gathered(values, torch.tensor([0, 1])).zero_()
    assert bool((values == 1).all())
    weights = torch.ones(4, 2, requires_grad=True)
    gathered(weights, torch.tensor([1, 1])).sum().backward()
    assert weights.grad.tolist() == [[0, 0], [2, 2], [0, 0], [0, 0]]


def test_rows_outside_are_refused():
    with pytest.raises(IndexError):
        gathered(torch.ones(4, 2), torch.tensor([4]))


def test_gathering_asks_no_other_thread():
    """An operation of PyTorch would divide this batch among its threads, and wait for each."""
    seen = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    values, rows = torch.ones(100, 32), torch.zeros(256, 16, dtype=torch.int64)
    with Seen():
        gathered(values, rows)
        assert not [name for name in seen if "index" in name]
        _ = values[rows]
    assert [name for name in seen if "index" in name]
