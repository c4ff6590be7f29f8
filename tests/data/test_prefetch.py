"""Decoding ahead: the same pictures in the same order, never more than asked for, errors where they are due."""

import threading
import time
from dataclasses import dataclass, field

import pytest
import torch

from holdfast.data.pictures import Frames
from holdfast.data.prefetch import prefetched, read_windows
from holdfast.errors import DataError, RecipeError

VALUES = torch.arange(40, dtype=torch.uint8).reshape(10, 2, 2, 1)


@dataclass
class Watched:
    """Pictures that take a while, note what was read, and are damaged at one row."""

    damaged: int = -1
    seconds: float = 0.0
    seen: list = field(default_factory=list)

    shape = (2, 2, 1)

    def __len__(self):
        return 10

    def read(self, rows):
        # earlier rows take longer, so that threads finish out of order
        time.sleep(self.seconds * (10 - int(rows[0])))
        self.seen.append(rows.tolist())
        if self.damaged in rows.tolist():
            raise DataError(f"row {self.damaged} is damaged")
        return VALUES[rows]


def batches(count):
    return [torch.tensor([row, row]) for row in range(count)]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 4), (8, 2), (2, 50)])
def test_order_and_content(workers, ahead):
    cameras = {"a": Watched(seconds=0.001), "b": Frames(VALUES + 100)}
    found = list(prefetched(cameras, batches(10), threads=workers, ahead=ahead))
    assert [rows.tolist() for rows, _ in found] == [[row, row] for row in range(10)]
    for rows, pictures in found:
        assert torch.equal(pictures["a"], VALUES[rows])
        assert torch.equal(pictures["b"], VALUES[rows] + 100)
    assert not threads()


def test_never_further_ahead_than_asked():
    taken = []

    def counted():
        for rows in batches(10):
            taken.append(rows)
            yield rows

    running = prefetched({"a": Watched()}, counted(), threads=2, ahead=3)
    assert not taken
    for due in range(1, 9):
        next(running)
        assert len(taken) <= due + 2
    running.close()


def test_an_error_comes_where_it_is_due():
    running = prefetched({"a": Watched(damaged=4, seconds=0.001)}, batches(10), threads=4, ahead=6)
    assert [int(next(running)[0][0]) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(DataError, match="row 4 is damaged"):
        next(running)
    assert not threads()


def test_left_behind():
    pictures = Watched(seconds=0.002)
    running = prefetched({"a": pictures}, batches(10), threads=1, ahead=8)
    next(running)
    running.close()
    assert not threads()
    assert len(pictures.seen) <= 3


def test_windows_decode_a_row_once():
    pictures = Watched()
    rows = torch.tensor([[[0, 1], [1, 2]], [[2, 3], [9, 9]]])
    assert torch.equal(read_windows(pictures, rows), VALUES[rows])
    assert pictures.seen == [[0, 1, 2, 3, 9]]


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"ahead": 0}])
def test_numbers_are_checked_at_once(wrong):
    with pytest.raises(RecipeError, match="threads >= 1 and ahead >= 1"):
        prefetched({}, [], **wrong)
