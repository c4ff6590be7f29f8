"""Run one verb: its import, its options, and its errors as one line each."""

import os
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

from rich.markup import escape

from ..errors import HoldfastError, HoldfastWarning, Interrupted
from . import Verb
from .console import errors
from .options import parse


def run_verb(name: str, verb: Verb, arguments: Sequence[str]) -> int:
    """Run a verb on its arguments; errors that Holdfast raises on purpose become one line and exit status 1."""
    try:
        entry: Any = getattr(import_module(f".{verb.module}", __package__), verb.entry)
        _limit_threads()
        with warnings.catch_warnings():
            warnings.showwarning = _in_one_line(warnings.showwarning)
            if isinstance(entry, type):
                parse(cast("type[Any]", entry), prog=f"holdfast {name}", arguments=arguments).run()
            else:
                entry(arguments)
    except Interrupted as stop:
        errors.print(f"\n{escape(str(stop))}", soft_wrap=True)
        return 130
    except HoldfastError as error:
        errors.print(f"[bold red]error[/bold red]: {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print(f"\nstopped; {verb.after_interrupt}", soft_wrap=True)
        return 130
    return 0


def _limit_threads() -> None:
    """Compute on one thread by default: for small tensors, threads cost more than they save."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(1)


def _in_one_line(show_others: Callable[..., None]) -> Callable[..., None]:
    """A replacement of `warnings.showwarning` that prints Holdfast's warnings without the source line."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, HoldfastWarning):
            errors.print(f"[bold]warning[/bold]: {escape(str(message))}", soft_wrap=True)
        else:
            show_others(message, category, *where, **more)

    return show
