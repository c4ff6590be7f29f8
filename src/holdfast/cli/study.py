"""`holdfast study`: a figure or table of the literature, measured again."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RecipeError
from ..studies import load_study, study_names, study_summary
from .console import console, name_files, show_table, stages
from .options import parse

if TYPE_CHECKING:
    from ..studies.engine.options import StudyCommand
    from ..studies.engine.result import StudyResult


def run_study(arguments: Sequence[str]) -> None:
    """Run the study that the first argument names, with the options that follow; `--help` alone lists the studies.

    Raises:
        UnknownNameError: There is no study of this name.
        OutputError: The output directory must not be written to.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        _list_studies()
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    kind = load_study(name)
    options = parse(kind, prog=f"holdfast study {name}", arguments=rest, default=kind(out=Path(name)))
    _run(name, options)


def _run(name: str, options: "StudyCommand") -> None:
    # imported here, so that the list of studies needs no PyTorch
    from ..studies.engine.result import check_folder, write_study
    from .machine import usable_device

    seeds = getattr(options, "seeds", None)
    if seeds is not None and seeds < 1:
        raise RecipeError(f"expected at least 1 seed, got {seeds}.")
    usable_device(getattr(options, "device", "cpu"))
    check_folder(options.out, overwrite=options.overwrite)
    started = time.perf_counter()
    with stages() as stage:
        result = options.run(options.out, stage)
    seconds = time.perf_counter() - started
    _show(result)
    name_files(*write_study(options.out, name, result, preset=options.preset, seconds=seconds))


def _show(result: "StudyResult") -> None:
    for table in result.tables:
        if not table.page_only:
            show_table(table.heading, *table.in_terminal())
    for verdict in result.verdicts:
        console.print(
            f"\n{verdict.claim}\n  {verdict.holds}: {verdict.told}",
            soft_wrap=True,
            markup=False,
        )
    for note in result.notes:
        console.print(f"\n{note}", soft_wrap=True, markup=False)


def _list_studies() -> None:
    names = study_names()
    width = max(map(len, names))
    console.print(
        "usage: holdfast study NAME [OPTIONS]\n\nReproduce a published result, or test a claim of the theory.\n"
    )
    for name in names:
        console.print(f"  {name:{width}}  {study_summary(name)}", soft_wrap=True)
    console.print("\nholdfast study NAME --help shows the options of one study.", markup=False)
