"""Ctrl-C, SIGTERM and SIGHUP: the first stops the work in an orderly way, the second ends the process at once."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SIGNALS: tuple[signal.Signals, ...] = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """Raised where a signal arrives, as Ctrl-C raises `KeyboardInterrupt`; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class _Handler:
    """Calls a function on the first signal and ends the process on the second."""

    def __init__(self, first: Callable[[int], None]) -> None:
        self.first = first
        self.seen = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.seen:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.seen = True
        self.first(signum)


@contextmanager
def raising_interrupts() -> Generator[None]:
    """Every signal raises `Stopped` where it arrives."""

    def stop(signum: int) -> None:
        raise Stopped(signum)

    with _handled(_Handler(stop)):
        yield


@contextmanager
def deferred_interrupt() -> Generator[Callable[[], int]]:
    """Signals are noted instead of raising an exception, because an incomplete update must not be saved.

    Yields a function that returns the number of the signal that arrived, or 0.
    """
    noted: list[int] = []
    with _handled(_Handler(noted.append)):
        yield lambda: noted[0] if noted else 0


@contextmanager
def _handled(handler: _Handler) -> Generator[None]:
    """Handle the signals that end the process, for a while; those that the caller ignores or handles stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    with ExitStack() as stack:
        for signum in SIGNALS:
            before = signal.getsignal(signum)
            if _is_free(signum, before):
                signal.signal(signum, handler)
                stack.callback(signal.signal, signum, before)
        yield


def _is_free(signum: int, before: object) -> bool:
    """Whether a handler may be replaced: `nohup` ignores SIGHUP, and a host program may handle SIGTERM itself."""
    if before is None or before is signal.SIG_IGN:
        return False
    return signum == signal.SIGINT or before is signal.SIG_DFL or isinstance(before, _Handler)
