"""The result of a study, and the files that it becomes: `result.json`, figures and a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...atomic import leaves
from ...errors import OutputError
from ...recipe import Recipe
from ...report import Chart, Picture, Section, Table, Text, draw_chart, write_page, write_result
from .tables import ResultTable

Answer: TypeAlias = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, in sentences computed from the rows, and whether the claim holds here.

    Attributes:
        claim: The claim and its source.
        seen: What was measured.
        holds: Whether the claim holds here.
        evidence: The single comparisons behind `seen`, shown as a list.
    """

    claim: str
    seen: str
    holds: Answer
    evidence: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """What was measured, with the evidence on lines of their own."""
        return "\n".join([self.seen, *(f"• {item}" for item in self.evidence)])


def answer(for_it: int, against_it: int, of: int) -> Answer:
    """The answer of `of` tests, some significantly for a claim and some against it: all for it, any against, or open.

    >>> answer(3, 0, of=3), answer(2, 0, of=3), answer(2, 1, of=3)
    ('yes', 'open', 'no')
    """
    if against_it:
        return "no"
    return "yes" if of and for_it == of else "open"


@dataclass(frozen=True)
class Drawing:
    """A picture that is drawn when the study's files are written: `draw` writes the PNG at a given path."""

    draw: Callable[[Path], Path]
    heading: str
    caption: str
    alt: str


@dataclass(frozen=True)
class StudyResult:
    """Everything that a study found.

    Attributes:
        rows: Measurements and comparisons (see `rows`).
        verdicts: Claims and what was seen of them.
        figures: File name, without suffix → chart or picture.
        recipes: Recipes of the trainings, by arm.
        values: Further content of `result.json`.
    """

    title: str
    lead: str
    rows: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Verdict]
    tables: Sequence[ResultTable] = ()
    figures: Mapping[str, Chart | Drawing] = field(default_factory=dict[str, Chart | Drawing])
    notes: Sequence[str] = ()
    recipes: Mapping[str, Recipe] = field(default_factory=dict[str, Recipe])
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a study may write to a folder: an unfinished study is continued, a finished one is protected.

    Raises:
        OutputError: The folder is a file, holds a finished study and `overwrite` is not set, or holds something else.
    """
    if folder.is_file():
        raise OutputError(f"{folder} is a file. Choose another --out.")
    if (folder / "result.json").exists():
        if not overwrite:
            raise OutputError(f"{folder} holds a finished study. Choose another --out, or give --overwrite.")
    elif folder.is_dir() and any(leaves(folder)) and not any((folder / part).is_dir() for part in _PARTS):
        raise OutputError(f"{folder} holds something that is not a study. Choose another --out.")


_PARTS = ("jobs", "world", "data")  # what an unfinished study leaves


def write_study(folder: Path, study: str, result: StudyResult, *, preset: str, seconds: float) -> list[Path]:
    """Write `result.json`, the figures and `index.html`; returns their paths."""
    values = {
        **result.values,
        "study": study,
        "preset": preset,
        "seconds": seconds,
        "rows": result.rows,
        "verdicts": [asdict(verdict) for verdict in result.verdicts],
        "notes": result.notes,
        "recipes": result.recipes,
    }
    written = write_result(folder / "result.json", values)
    figures = [_figure(folder / f"{name}.png", figure) for name, figure in result.figures.items()]
    sections: list[Section] = [
        *(section for _, section in figures),
        _claims(result.verdicts),
        *(table.on_page() for table in result.tables),
        *([Text("Notes", result.notes)] if result.notes else []),
    ]
    page = write_page(folder / "index.html", title=result.title, lead=result.lead, sections=sections)
    return [written, *(path for path, _ in figures), page]


def _figure(path: Path, figure: Chart | Drawing) -> tuple[Path, Section]:
    match figure:
        case Chart():
            return draw_chart(path, figure), figure
        case Drawing():
            figure.draw(path)
            return path, Picture(figure.heading, path, figure.caption, figure.alt)


def _claims(verdicts: Sequence[Verdict]) -> Table:
    cells = [[verdict.claim, verdict.holds, verdict.told] for verdict in verdicts]
    return Table("Claims and results", ["claim", "holds", "measured here"], cells, wrap=True)
