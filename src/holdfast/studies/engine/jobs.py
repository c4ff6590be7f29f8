"""Jobs of a study: each is worked once, its results are stored as JSON, and a restarted study reads them.

job ──work──► results ──► <study>/jobs/<key>.json ──► results
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from ... import __version__
from ...errors import HoldfastError, RunError
from ...files import read_json, shown
from ...schema import to_plain
from .pool import run_missing
from .stored_types import check_fields

K = TypeVar("K")
R = TypeVar("R")

_AGAIN = "Remove it, and give the same command again: only this part is measured again."


@runtime_checkable
class Job(Protocol):
    """A unit of work, small enough to be sent to another process."""

    @property
    def key(self) -> str: ...


J = TypeVar("J", bound=Job)


def key_of(label: str, *settings: Any) -> str:
    """A file name: the label and a digest of the settings and of Holdfast's version."""
    plain = json.dumps([__version__, *map(to_plain, settings)], sort_keys=True)
    return f"{label}-{hashlib.sha256(plain.encode()).hexdigest()[:10]}"


def run_jobs(
    jobs: Sequence[J],
    work: Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]],
    folder: Path,
    read: Callable[..., R],
    *,
    alike: Callable[[J], str] = lambda job: "",
    size: int = 1,
    tag: str = "",
    workers: int | None = None,
    in_process: bool = False,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[list[R]]:
    """Work all jobs that have no stored results yet, in parallel processes.

    Args:
        jobs: Jobs to work.
        work: Yields the results, dataclasses or dictionaries, of each of several jobs (see `each`); a module-level
            function or a partial of one.
        folder: Output directory of the study.
        read: Makes a result from its stored fields, given as keyword arguments.
        alike: Name of a job's kind; jobs of one kind cost less when they are worked together.
        size: Maximum number of jobs in a group.
        tag: Digest of other inputs of the results.
        workers: Number of processes. Default: all cores.
        in_process: Whether to work one group after another in this process, as on a GPU.
        on_done: Called with the number of finished jobs.
    """
    path = partial(_path, folder, tag)
    options: dict[str, Any] = {"size": size, "workers": workers, "in_process": in_process, "on_done": on_done}
    run_missing(jobs, partial(_encoded, work), path, alike=alike, **options)
    return [_read(path(job), read) for job in jobs]


def each(work: Callable[[J], Sequence[Any]]) -> Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]]:
    """Work on several jobs, one after another."""
    return partial(_one_by_one, work)


def grouped(pairs: Iterable[tuple[K, R]]) -> dict[K, list[R]]:
    """Values of each key, in order.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    {'a': [1, 3], 'b': [2]}
    """
    found = dict[K, list[R]]()
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _one_by_one(work: Callable[[J], Sequence[Any]], jobs: Sequence[J]) -> Iterator[tuple[J, Sequence[Any]]]:
    return ((job, work(job)) for job in jobs)


def _encoded(
    work: Callable[[Sequence[J]], Iterable[tuple[J, Sequence[Any]]]], jobs: Sequence[J]
) -> Iterator[tuple[J, bytes]]:
    return ((job, _plain(results)) for job, results in work(jobs))


def _plain(results: Sequence[Any]) -> bytes:
    return json.dumps([item if isinstance(item, dict) else asdict(item) for item in results]).encode()


def _path(folder: Path, tag: str, job: Job) -> Path:
    return folder / "jobs" / f"{job.key}{'-' if tag else ''}{tag}.json"


def _read(path: Path, read: Callable[..., R]) -> list[R]:
    """The stored results of one job.

    Raises:
        RunError: The file is damaged, or holds results of another study.
    """
    stored = read_json(path, error=RunError, way_out=_AGAIN)
    try:
        results = [read(**plain) for plain in _listed(stored)]
        for result in results:
            check_fields(result)
    except (HoldfastError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged (it holds no results of this study: {error}). {_AGAIN}") from error
    return results


def _listed(stored: Any) -> list[Any]:
    if not isinstance(stored, list):
        raise TypeError(f"expected a list, got {shown(stored)}")
    return cast("list[Any]", stored)
