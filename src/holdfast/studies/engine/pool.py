"""Independent jobs on all cores; each finished one is kept on disk, so that a stopped study goes on where it was."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from itertools import groupby, pairwise
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TypeVar

import torch

from ...atomic import write_atomically
from ...cores import usable_cores

__all__ = ["run_kept", "run_together"]

Job = TypeVar("Job")

Together = Callable[[Sequence[Job]], Iterable[tuple[Job, bytes]]]
"""Does several jobs, and gives each one's result as soon as it has it."""

LOOK = 1.0
"""How often finished jobs are counted [s]."""


def run_kept(
    jobs: Sequence[Job],
    work: Callable[[Job], bytes],
    path_of: Callable[[Job], Path],
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> None:
    """Do the jobs whose file is missing, and keep what each returns in its file.

    Args:
        jobs: What to do, each a value that can be sent to another process.
        work: Does one job in a process of its own with one thread; a function of a module, or a partial of one.
        path_of: The file that keeps a job's result.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of jobs done.
    """
    one_by_one = partial(_alone, work)
    _run_groups([(job,) for job in _missing(jobs, path_of)], jobs, one_by_one, path_of, workers, on_done)


def run_together(
    jobs: Sequence[Job],
    work: Together[Job],
    path_of: Callable[[Job], Path],
    *,
    alike: Callable[[Job], str],
    size: int,
    workers: int | None = None,
    here: bool = False,
    on_done: Callable[[int], None] = lambda done: None,
) -> None:
    """As `run_kept`, for jobs that cost less when some of them are done as one.

    Args:
        jobs: What to do.
        work: Does several jobs; what it gives is kept at once.
        path_of: The file that keeps a job's result.
        alike: Jobs of which it says the same can be done as one.
        size: Most jobs that are done as one.
        workers: Processes; all cores if nothing is said.
        here: In this process, group after group, as on a graphics card, which holds as many as fit.
        on_done: Called with the number of jobs done.
    """
    count = 1 if here else workers or usable_cores()
    missing = sorted(_missing(jobs, path_of), key=alike)
    groups = [part for _, group in groupby(missing, key=alike) for part in _dealt(list(group), size, count)]
    if here:
        _run_here(groups, jobs, work, path_of, on_done)
    else:
        _run_groups(sorted(groups, key=len, reverse=True), jobs, work, path_of, workers, on_done)


def _missing(jobs: Sequence[Job], path_of: Callable[[Job], Path]) -> list[Job]:
    return [job for job in jobs if not path_of(job).exists()]


def _alone(work: Callable[[Job], bytes], jobs: Sequence[Job]) -> Iterable[tuple[Job, bytes]]:
    return [(job, work(job)) for job in jobs]


def _dealt(jobs: Sequence[Job], size: int, workers: int) -> list[tuple[Job, ...]]:
    """Groups of about equal size, a multiple of the workers where there are jobs enough."""
    rounds = -(-len(jobs) // (size * workers))
    count = min(rounds * workers, len(jobs))
    cuts = [round(part * len(jobs) / count) for part in range(count + 1)]
    return [tuple(jobs[a:b]) for a, b in pairwise(cuts)]


def _run_groups(
    groups: Sequence[tuple[Job, ...]],
    jobs: Sequence[Job],
    work: Together[Job],
    path_of: Callable[[Job], Path],
    workers: int | None,
    on_done: Callable[[int], None],
) -> None:
    done = len(jobs) - sum(map(len, groups))
    on_done(done)
    count = min(workers or usable_cores(), max(len(groups), 1))
    # spawned, because a fork of a process that has used torch's threads can deadlock
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            pending = {pool.submit(_do_and_keep, work, group, path_of) for group in groups}
            while pending:
                finished, pending = wait(pending, timeout=LOOK, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                # a group's results come one after another, so the files say more than the futures
                before, done = done, len(jobs) - len(_missing(jobs, path_of))
                if done > before:
                    on_done(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _run_here(
    groups: Sequence[tuple[Job, ...]],
    jobs: Sequence[Job],
    work: Together[Job],
    path_of: Callable[[Job], Path],
    on_done: Callable[[int], None],
) -> None:
    done = len(jobs) - sum(map(len, groups))
    on_done(done)
    for job, result in (each for group in groups for each in work(group)):
        write_atomically(path_of(job), result)
        done += 1
        on_done(done)


def _do_and_keep(work: Together[Job], jobs: Sequence[Job], path_of: Callable[[Job], Path]) -> None:
    for job, result in work(jobs):
        write_atomically(path_of(job), result)


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group of processes; the parent decides what becomes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # a killed study must not leave workers behind that wait for it, or train on, for ever
    if (parent := parent_process()) is not None:
        parent.join()
    os._exit(1)
