"""Jobs in processes: each done once, kept, and gone on with."""

from functools import partial
from pathlib import Path

import pytest

from holdfast.study.pool import run_kept


def _square(job: int) -> bytes:
    if job < 0:
        raise ValueError("a negative job")
    return str(job * job).encode()


def _path(folder: Path, job: int) -> Path:
    return folder / f"{job}.txt"


def test_finished_jobs_are_kept_and_not_done_again(tmp_path):
    (tmp_path / "3.txt").write_text("kept from before")
    done = list[int]()
    run_kept([2, 3, 4], _square, partial(_path, tmp_path), workers=2, on_done=done.append)
    assert [(tmp_path / f"{job}.txt").read_text() for job in (2, 3, 4)] == ["4", "kept from before", "16"]
    assert done == [1, 2, 3]


def test_a_failure_reaches_the_caller_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="a negative job"):
        run_kept([-1], _square, partial(_path, tmp_path), workers=1)
    assert not list(tmp_path.iterdir())
