"""Independent jobs on all cores; each finished one is kept on disk, so that a stopped study goes on where it was."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TypeVar

import torch

from ..atomic import write_atomically

__all__ = ["run_kept"]

Job = TypeVar("Job")


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
    missing = [job for job in jobs if not path_of(job).exists()]
    on_done(len(jobs) - len(missing))
    count = min(workers or os.cpu_count() or 1, max(len(missing), 1))
    # spawned, because a fork of a process that has used torch's threads can deadlock
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            futures = [pool.submit(_do_and_keep, work, job, path_of(job)) for job in missing]
            for done, future in enumerate(as_completed(futures), start=1 + len(jobs) - len(missing)):
                future.result()
                on_done(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _do_and_keep(work: Callable[[Job], bytes], job: Job, path: Path) -> None:
    write_atomically(path, work(job))


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
