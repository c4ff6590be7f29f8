"""The verbs of the command line."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import tyro
from rich.markup import escape

from ..errors import CompileWarning, HoldfastError
from ..learn import Interrupted
from .console import errors
from .convert import Convert
from .demo import Demo
from .demonstrate import Demonstrate
from .diagnose import Diagnose
from .evaluate import Evaluate
from .inspect import Inspect
from .study import Study
from .train import Train

__all__ = ["main"]

Verb = Demo | Demonstrate | Inspect | Convert | Train | Evaluate | Diagnose | Study


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; errors that Holdfast raises on purpose become one line and exit status 1."""
    verb = tyro.cli(
        Verb,
        prog="holdfast",
        description="Behavior cloning for continuous control that holds on to the demonstrated behavior.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    if "OMP_NUM_THREADS" not in os.environ:
        # the tensors here are small: threads that wait for one another cost more than they bring, and on a machine
        # that is busy otherwise many times more
        torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _in_one_line(warnings.showwarning)
            verb.run()
    except Interrupted as stop:
        errors.print(f"\n{escape(str(stop))}", soft_wrap=True)
        return 130
    except HoldfastError as error:
        errors.print(f"[bold red]error[/bold red]: {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        kept = "what was finished is kept: the same command goes on from there"
        errors.print(f"\nstopped; {kept if isinstance(verb, Study) else 'nothing was written'}")
        return 130
    return 0


def _in_one_line(otherwise: Callable[..., None]) -> Callable[..., None]:
    """What shows warnings: Holdfast's own as errors are shown, without the line of code that they come from."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CompileWarning):
            errors.print(f"[bold]warning[/bold]: {escape(str(message))}", soft_wrap=True)
        else:
            otherwise(message, category, *where, **more)

    return show


if __name__ == "__main__":
    sys.exit(main())
