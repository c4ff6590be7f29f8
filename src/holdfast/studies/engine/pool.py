"""Independent jobs in worker processes; each result is written to its file, so that a stopped study can continue."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby, pairwise
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TypeVar

import torch

from ...atomic import write_atomically
from ...cores import usable_cores
from ...errors import WorkerError

Job = TypeVar("Job")

GroupWork = Callable[[Sequence[Job]], Iterable[tuple[Job, bytes]]]
"""Works several jobs and yields the result of each as soon as it is finished."""

INTERVAL = 1.0
"""Interval at which finished jobs are counted [s]."""


def run_missing(
    jobs: Sequence[Job],
    work: GroupWork[Job],
    path_of: Callable[[Job], Path],
    *,
    alike: Callable[[Job], str] = lambda job: "",
    size: int = 1,
    workers: int | None = None,
    in_process: bool = False,
    on_done: Callable[[int], None] = lambda done: None,
) -> None:
    """Work the jobs whose file is missing, in processes with one thread, and write each result when it is yielded."""
    count = 1 if in_process else workers or usable_cores()
    missing = sorted(_missing(jobs, path_of), key=alike)
    groups = [part for _, group in groupby(missing, key=alike) for part in _dealt(list(group), size, count)]
    if in_process:
        _run_here(groups, jobs, work, path_of, on_done)
    else:
        _run_groups(sorted(groups, key=len, reverse=True), jobs, work, path_of, workers, on_done)


def _missing(jobs: Sequence[Job], path_of: Callable[[Job], Path]) -> list[Job]:
    return [job for job in jobs if not path_of(job).exists()]


def _dealt(jobs: Sequence[Job], size: int, workers: int) -> list[tuple[Job, ...]]:
    """Groups of about equal size, their number a multiple of the workers if there are enough jobs."""
    rounds = -(-len(jobs) // (size * workers))
    count = min(rounds * workers, len(jobs))
    cuts = [round(part * len(jobs) / count) for part in range(count + 1)]
    return [tuple(jobs[a:b]) for a, b in pairwise(cuts)]


def _run_groups(
    groups: Sequence[tuple[Job, ...]],
    jobs: Sequence[Job],
    work: GroupWork[Job],
    path_of: Callable[[Job], Path],
    workers: int | None,
    on_done: Callable[[int], None],
) -> None:
    done = len(jobs) - sum(map(len, groups))
    on_done(done)
    count = min(workers or usable_cores(), max(len(groups), 1))
    # spawned, because forking a process that has used torch's threads can deadlock
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            pending = {pool.submit(_work_and_write, work, group, path_of) for group in groups}
            while pending:
                finished, pending = wait(pending, timeout=INTERVAL, return_when=FIRST_COMPLETED)
                for future in finished:
                    _check(future)
                # a group's results come one after another, so count files instead of futures
                before, done = done, len(jobs) - len(_missing(jobs, path_of))
                if done > before:
                    on_done(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _check(finished: Future[None]) -> None:
    """Raise what a group of jobs raised."""
    try:
        finished.result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process was ended from outside, for example because memory ran out. Finished parts are saved, "
            "and the same command continues from there; --workers sets the number of processes."
        ) from error


def _run_here(
    groups: Sequence[tuple[Job, ...]],
    jobs: Sequence[Job],
    work: GroupWork[Job],
    path_of: Callable[[Job], Path],
    on_done: Callable[[int], None],
) -> None:
    done = len(jobs) - sum(map(len, groups))
    on_done(done)
    for job, result in (each for group in groups for each in work(group)):
        write_atomically(path_of(job), result)
        done += 1
        on_done(done)


def _work_and_write(work: GroupWork[Job], jobs: Sequence[Job], path_of: Callable[[Job], Path]) -> None:
    for job, result in work(jobs):
        write_atomically(path_of(job), result)


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C and the end of a terminal reach all processes; the parent handles them and ends the workers by SIGTERM
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # the workers of a killed study must end with it
    if (parent := parent_process()) is not None:
        parent.join()
    os._exit(1)
