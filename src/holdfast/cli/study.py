"""`holdfast study`: a figure or table of the literature, measured again."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import claimed, clear_unfinished, updating
from ..studies import load_study, study_names, study_summary
from .console import console, is_page, name_files, show_table
from .options import parse
from .progress import stages

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
    from ..devices import usable_device
    from ..studies.engine.result import check_folder, write_study

    usable_device(getattr(options, "device", "cpu"))
    out, purpose = options.out, f"running the study {name} in"
    with claimed(out, ours=is_page, purpose=purpose):
        check_folder(out, overwrite=options.overwrite)
        # cells that killed processes were writing
        clear_unfinished(out / "jobs")
        started = time.perf_counter()
        with stages() as stage:
            result = options.run(out, stage)
        seconds = time.perf_counter() - started
        _show(result)
        with updating(out, ours=is_page, purpose=purpose) as fresh:
            written = write_study(fresh, name, result, preset=options.preset, seconds=seconds)
    name_files(*written, prepared=fresh, out=out)


def _show(result: "StudyResult") -> None:
    for table in result.tables:
        if not table.page_only:
            show_table(table.heading, *table.in_terminal())
    for verdict in result.verdicts:
        console.say()
        console.say(verdict.claim)
        console.say(f"  {verdict.holds}: {verdict.told}")
    for note in result.notes:
        console.say()
        console.say(note)


def _list_studies() -> None:
    names = study_names()
    width = max(map(len, names))
    _paragraphs("usage: holdfast study NAME [OPTIONS]", "Reproduce a published result, or test a claim of the theory.")
    for name in names:
        console.say(f"  {name:{width}}  {study_summary(name)}")
    console.say()
    console.say("holdfast study NAME --help shows the options of one study.")


def _paragraphs(*texts: str) -> None:
    for text in texts:
        console.say(text)
        console.say()
