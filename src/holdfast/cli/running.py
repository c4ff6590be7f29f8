"""Run one verb: its import, its options, and its errors as one line each."""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, cast

from ..errors import HoldfastError, HoldfastWarning, Interrupted
from ..interrupts import Stopped, deferred_interrupt, raising_interrupts
from ..printable import printable
from . import Verb
from .console import errors
from .failures import BUG, sentence_of
from .options import parse

_LONGEST = 3000
"""Characters of an error."""


def run_verb(name: str, verb: Verb, arguments: Sequence[str]) -> int:
    """Run a verb on its arguments.

    Errors that Holdfast raises on purpose and failures of the machine become one line and exit status 1; any other
    error is a bug, which keeps its traceback.
    """
    try:
        with raising_interrupts():
            _run(name, verb, arguments)
    except Interrupted as stop:
        errors.say()
        errors.say(str(stop))
        return 128 + stop.signum
    except HoldfastError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as stop:
        errors.say()
        errors.say(f"stopped; {verb.after_interrupt}")
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except BrokenPipeError:
        raise
    except Exception as error:
        if (sentence := sentence_of(error)) is None:
            error.add_note(BUG)
            raise
        return _refuse(sentence)
    return 0


def _refuse(sentence: str) -> int:
    errors.say(("error", "bold red"), f": {_cut(sentence)}")
    return 1


def _cut(sentence: str) -> str:
    """The sentence, or its beginning and its end, where the way out is, if it repeats a value of any length.

    >>> len(_cut("x" * 10_000)) < _LONGEST + 10
    True
    """
    if len(sentence) <= _LONGEST:
        return sentence
    return f"{sentence[: _LONGEST // 2]} … {sentence[-_LONGEST // 2 :]}"


def _run(name: str, verb: Verb, arguments: Sequence[str]) -> None:
    entry = _imported(verb)
    with warnings.catch_warnings():
        warnings.showwarning = _in_one_line(warnings.showwarning)
        if isinstance(entry, type):
            parse(cast("type[Any]", entry), prog=f"holdfast {name}", arguments=arguments).run()
        else:
            entry(arguments)


def _imported(verb: Verb) -> Any:
    """The verb, from its module.

    A signal is answered after the import: some libraries catch an exception that is raised while they are imported,
    and then fail in ways that say nothing of the signal. A second signal ends the process at once.
    """
    known = f"{__package__}.{verb.module}" in sys.modules
    with deferred_interrupt() as arrived, nullcontext() if known else _uncollected():
        entry: Any = getattr(import_module(f".{verb.module}", __package__), verb.entry)
        _limit_threads()
    if signum := arrived():
        raise Stopped(signum)
    return entry


@contextmanager
def _uncollected() -> Generator[None, None, None]:
    """Imports without garbage collection, which takes a fifth of their time, and later without looking at them.

    What is imported stays: every collection would visit its hundreds of thousands of objects, and free none.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _limit_threads() -> None:
    """Compute on one thread by default: for small tensors, threads cost more than they save."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(1)


def _in_one_line(show_others: Callable[..., None]) -> Callable[..., None]:
    """A replacement of `warnings.showwarning` that prints Holdfast's warnings without the source line."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, HoldfastWarning):
            errors.say(("warning", "bold"), f": {message}")
        else:
            show_others(printable(message), category, *where, **more)

    return show
