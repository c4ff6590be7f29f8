"""Jobs of a study: each is worked once, its results are stored as JSON, and a restarted study reads them.

job ──work──► results ──► <study>/jobs/<key>.json ──► results
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ... import __version__
from ...schema import to_plain
from .pool import run_missing, run_missing_in_groups

__all__ = ["Job", "key_of", "run_jobs", "run_jobs_in_groups"]

R = TypeVar("R")


@runtime_checkable
class Job(Protocol):
    """A unit of work, small enough to be sent to another process."""

    @property
    def key(self) -> str:
        """Name of the job's file; it differs between jobs, settings and versions (see `key_of`)."""
        ...


J = TypeVar("J", bound=Job)


def key_of(label: str, *settings: Any) -> str:
    """A file name: the label and a digest of the settings and of Holdfast's version."""
    plain = json.dumps([__version__, *map(to_plain, settings)], sort_keys=True)
    return f"{label}-{hashlib.sha256(plain.encode()).hexdigest()[:10]}"


def run_jobs(
    jobs: Sequence[J],
    work: Callable[[J], Sequence[Any]],
    folder: Path,
    read: Callable[..., R],
    *,
    tag: str = "",
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[list[R]]:
    """Work all jobs that have no stored results yet, in parallel processes.

    Args:
        jobs: What to work.
        work: Computes a job's results, dataclasses or dictionaries; a module-level function or a partial of one.
        folder: Output directory of the study.
        read: Makes a result from its stored fields, given as keyword arguments.
        tag: Digest of whatever else the results depend on.
        workers: Number of processes. Default: all cores.
        on_done: Called with the number of finished jobs.

    Returns:
        For each job, its results as they were stored.
    """
    path = partial(_path, folder, tag)
    run_missing(jobs, partial(_encoded, work), path, workers=workers, on_done=on_done)
    return [_read(path(job), read) for job in jobs]


def run_jobs_in_groups(
    jobs: Sequence[J],
    work: Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]],
    folder: Path,
    read: Callable[..., R],
    *,
    alike: Callable[[J], str],
    size: int,
    tag: str = "",
    workers: int | None = None,
    in_process: bool = False,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[list[R]]:
    """Like `run_jobs`, for jobs that cost less when several with the same `alike` are worked together.

    Args:
        jobs: What to work.
        work: Computes the results of several jobs; each is stored as soon as it is yielded.
        folder: Output directory of the study.
        read: Makes a result from its stored fields.
        alike: Name of the group that a job may be worked in.
        size: Maximum number of jobs in a group.
        tag: Digest of whatever else the results depend on.
        workers: Number of processes. Default: all cores.
        in_process: Whether to work group after group in this process, as on a GPU.
        on_done: Called with the number of finished jobs.
    """
    path = partial(_path, folder, tag)
    run_missing_in_groups(
        jobs,
        partial(_encoded_group, work),
        path,
        alike=alike,
        size=size,
        workers=workers,
        in_process=in_process,
        on_done=on_done,
    )
    return [_read(path(job), read) for job in jobs]


def _encoded(work: Callable[[J], Sequence[Any]], job: J) -> bytes:
    return _plain(work(job))


def _encoded_group(
    work: Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]], jobs: Sequence[J]
) -> Iterator[tuple[J, bytes]]:
    for job, results in work(jobs):
        yield job, _plain(results)


def _plain(results: Sequence[Any]) -> bytes:
    return json.dumps([item if isinstance(item, dict) else asdict(item) for item in results]).encode()


def _path(folder: Path, tag: str, job: Job) -> Path:
    return folder / "jobs" / f"{job.key}{'-' if tag else ''}{tag}.json"


def _read(path: Path, read: Callable[..., R]) -> list[R]:
    return [read(**plain) for plain in json.loads(path.read_text())]
