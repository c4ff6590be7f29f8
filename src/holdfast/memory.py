"""Memory of the machine, and a check before much of it is taken: files can declare any size."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError, HoldfastError

UNCHECKED = 64 << 20
"""Sizes up to this many bytes are not compared with the memory: asking for it would take longer than they do."""


def available_memory() -> int:
    """Bytes that this process can still take: the machine's, its container's and its own limit, the smallest."""
    limits = [limit for limit in (_of_machine(), _of_container(), _of_process()) if limit is not None]
    return max(0, min(limits, default=1 << 62))


def check_memory(size: int, what: str, *, error: type[HoldfastError] = DataError) -> None:
    """Refuse to take more memory than there is, before it is taken.

    Args:
        size: Bytes that are about to be taken.
        what: What would take them, for the message: "demos.npz: the array actions".
        error: Class of the error.

    Raises:
        HoldfastError: The given class of error; there is not enough memory.
    """
    if size > UNCHECKED and size > (free := available_memory()):
        raise error(
            f"{what} declares {size:.3g} bytes, but {free:.3g} bytes of memory are available. If the size is right, "
            "use a machine with more memory or a part of the data; otherwise the file is damaged: copy it again."
        )


@contextmanager
def enough_memory(what: str, *, error: type[HoldfastError] = DataError) -> Generator[None]:
    """Turn a lack of memory that no check foresaw into an error of the given class; `what` was being done."""
    try:
        yield
    except MemoryError as lack:
        raise error(_lacking(what, lack)) from lack
    except RuntimeError as lack:
        # PyTorch has no error of its own for this
        if "can't allocate memory" not in str(lack) and "not enough memory" not in str(lack):
            raise
        raise error(_lacking(what, lack)) from lack


def _lacking(what: str, lack: Exception) -> str:
    return (
        f"the memory does not suffice for {what} ({str(lack).splitlines()[0] if str(lack) else 'no details'}). Use a "
        "machine with more memory or a part of the data."
    )


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return (int(fields["MemAvailable"].split()[0]) + int(fields["SwapFree"].split()[0])) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What the control group leaves, in both versions of them; files that it has cached can be given up."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        place = Path("/sys/fs/cgroup", limit)
        try:
            bound = int(place.read_text())
            taken = int(Path("/sys/fs/cgroup", used).read_text())
            statistics = dict(line.split() for line in place.with_name("memory.stat").read_text().splitlines())
            return bound - taken + int(statistics.get(cached, 0))
        except (OSError, ValueError):
            continue
    return None


def _of_process() -> int | None:
    """What `ulimit -v` leaves."""
    try:
        import resource

        bound, _ = resource.getrlimit(resource.RLIMIT_AS)
        if bound == resource.RLIM_INFINITY:
            return None
        return bound - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return None
