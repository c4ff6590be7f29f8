"""Jobs in processes: each done once, kept, and gone on with."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from holdfast.errors import RunError
from holdfast.studies.engine.jobs import each, run_jobs
from holdfast.studies.engine.pool import run_missing


def _square(jobs):
    for job in jobs:
        if job < 0:
            raise ValueError("a negative job")
        yield job, str(job * job).encode()


def _path(folder: Path, job: int) -> Path:
    return folder / f"{job}.txt"


def test_finished_jobs_are_kept_and_not_done_again(tmp_path):
    (tmp_path / "3.txt").write_text("kept from before")
    done = list[int]()
    run_missing([2, 3, 4], _square, partial(_path, tmp_path), workers=2, on_done=done.append)
    assert [(tmp_path / f"{job}.txt").read_text() for job in (2, 3, 4)] == ["4", "kept from before", "16"]
    assert (done[0], done[-1]) == (1, 3)
    assert done == sorted(done)


def _together(jobs):
    for job in jobs:
        yield job, f"{job} of {len(jobs)}".encode()
        if job == 13:
            raise ValueError("thirteen")


def _parity(job: int) -> str:
    return "odd" if job % 2 else "even"


def test_jobs_alike_are_done_together_in_parts_of_like_size(tmp_path):
    (tmp_path / "4.txt").write_text("kept from before")
    path = partial(_path, tmp_path)
    run_missing(range(9), _together, path, alike=_parity, size=3, workers=1)
    texts = [path(job).read_text() for job in range(9)]
    # even: 0, 2, 6, 8 in two parts; odd: 1, 3, 5, 7
    assert texts == ["0 of 2", "1 of 2", "2 of 2", "3 of 2", "kept from before", "5 of 2", "6 of 2", "7 of 2", "8 of 2"]


def test_what_a_group_gave_before_it_failed_is_kept(tmp_path):
    path = partial(_path, tmp_path)
    with pytest.raises(ValueError, match="thirteen"):
        run_missing([11, 13, 15], _together, path, alike=_parity, size=8, workers=1)
    assert path(11).read_text() == "11 of 3"
    assert not path(15).exists()
    run_missing([11, 15], _together, path, alike=_parity, size=8, workers=2)
    assert path(15).read_text() == "15 of 1"


def test_a_failure_reaches_the_caller_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="a negative job"):
        run_missing([-1], _square, partial(_path, tmp_path), workers=1)
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Numbered:
    number: int

    @property
    def key(self) -> str:
        return f"cell-{self.number}"


@dataclass(frozen=True)
class Row:
    score: float


def _score(job):
    return [Row(float(job.number))]


DAMAGED = {
    "cut short": b'[{"score": 1',
    "empty": b"",
    "no text": b"\xff\xfe",
    "deep": b"[" * 5000 + b"]" * 5000,
    "giant number": b'[{"score": ' + b"9" * 5000 + b"}]",
    "other fields": b'[{"score": 1, "more": 2}]',
    "a dictionary": b'{"score": 1}',
    "a number": b"3",
    "a list of numbers": b"[3]",
    "nothing": b"null",
    "a text as a score": b'[{"score": "1"}]',
    "a truth value as a score": b'[{"score": true}]',
    "a list as a score": b'[{"score": [1]}]',
    "no score": b'[{"score": null}]',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_results_are_refused_with_a_way_out(tmp_path, name):
    def run():
        return run_jobs([Numbered(1), Numbered(2)], each(_score), tmp_path, Row, in_process=True)

    sound = run()
    (tmp_path / "jobs" / "cell-1.json").write_bytes(DAMAGED[name])
    with pytest.raises(RunError, match=r"cell-1\.json is damaged \(.*Remove it") as refused:
        run()
    assert "\n" not in str(refused.value)
    (tmp_path / "jobs" / "cell-1.json").unlink()
    assert run() == sound == [[Row(1.0)], [Row(2.0)]]
