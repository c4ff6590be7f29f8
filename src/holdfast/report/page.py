"""A report as one self-contained HTML page, which makes no network requests.

It follows the reader's light or dark theme and fits a phone. Pages with charts include plotly's script.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from ..atomic import write_atomically
from ..errors import ShapeError, UnknownNameError
from .cells import Cell, best, escaped, is_numeric, shown, value
from .chart import Chart, figure_of

_KINDS = {".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    heading: str
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A PNG, JPEG or GIF with a caption.

    Attributes:
        heading: Title.
        path: File of the picture; its content is copied into the page.
        caption: How to read it.
        alt: Description for readers who cannot see it.
    """

    heading: str
    path: Path
    caption: str
    alt: str


@dataclass(frozen=True)
class Table:
    """Rows of cells; columns of numbers are aligned right.

    Attributes:
        heading: Title.
        columns: Names of the columns.
        rows: Rows with one cell per column.
        caption: How to read it.
        highest: Columns whose largest number is marked.
        lowest: Columns whose smallest number is marked.
        wrap: Whether cells hold sentences, which are wrapped.

    Raises:
        ShapeError: A row has more or fewer cells than there are columns.
        UnknownNameError: A marked column is not in the table.
    """

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    highest: Sequence[str] = ()
    lowest: Sequence[str] = ()
    wrap: bool = False

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ShapeError(f"expected {len(self.columns)} cells, one per column, got {len(row)} in row {number}.")
        for name in (*self.highest, *self.lowest):
            if name not in self.columns:
                raise UnknownNameError("column", name, self.columns)


@dataclass(frozen=True)
class Facts:
    """Names and values: settings, versions, paths of files."""

    heading: str
    items: Mapping[str, Cell]


Section: TypeAlias = Text | Picture | Chart | Table | Facts


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write one HTML page.

    Args:
        path: File of the page, usually `…/index.html`.
        title: Title.
        lead: The result in one or two sentences.
        sections: Sections in reading order.

    Raises:
        UnknownNameError: A picture has a format that not all browsers show.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    body = "\n".join(_section(section) for section in sections)
    if any(isinstance(section, Chart) for section in sections):
        body += _scripts()
    content = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{escaped(title)}</h1>
<p class="lead">{escaped(lead)}</p>
</header>
{body}
</main>
</body>
</html>
"""
    return write_atomically(path, content)


def _section(section: Section) -> str:
    match section:
        case Text():
            inside = "\n".join(f"<p>{escaped(paragraph)}</p>" for paragraph in section.paragraphs)
        case Picture():
            inside = _picture(section)
        case Chart():
            inside = _chart(section)
        case Table():
            inside = _table(section)
        case Facts():
            inside = _facts(section)
    heading = f"<h2>{escaped(section.heading)}</h2>\n" if section.heading else ""
    return f"<section>\n{heading}{inside}\n</section>"


def _picture(picture: Picture) -> str:
    suffix = picture.path.suffix.lower()
    if suffix not in _KINDS:
        raise UnknownNameError("kind of picture", suffix, _KINDS)
    content = picture.path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    # on a phone a plot keeps a legible size and scrolls in its box; an animation is shown whole
    detail = "" if suffix == ".gif" else f' class="detailed" style="--legible: {round(width / 2.4)}px"'
    source = f"data:{_KINDS[suffix]};base64,{base64.b64encode(content).decode()}"
    tag = f'<img{detail} width="{width}" height="{height}" alt="{escaped(picture.alt)}" src="{source}">'
    return f'<figure>\n<div class="picture">{tag}</div>{_caption(picture.caption)}\n</figure>'


def _chart(chart: Chart) -> str:
    # "<" must not occur in a script: a name like "</script>" would end it
    figure = json.dumps(figure_of(chart), allow_nan=False).replace("<", "\\u003c")
    plot = f'<div class="plot"><script type="application/json">{figure}</script></div>'
    return f'<figure aria-label="{escaped(chart.heading)}">\n{plot}{_caption(chart.caption)}\n</figure>'


def _scripts() -> str:
    # plotly takes a third of a second to import
    from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    drawing = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    return f"\n<script>{get_plotlyjs()}</script>\n<script>\n{drawing}</script>"


def _caption(text: str) -> str:
    return f"\n<figcaption>{escaped(text)}</figcaption>" if text else ""


def _table(table: Table) -> str:
    columns = [[row[index] for row in table.rows] for index in range(len(table.columns))]
    numeric = [is_numeric(column) for column in columns]
    marked = [
        best(column, highest=name in table.highest, lowest=name in table.lowest)
        for name, column in zip(table.columns, columns, strict=True)
    ]
    heads = [_cell("th", escaped(name), number, False) for name, number in zip(table.columns, numeric, strict=True)]
    lines = [_row(row, numeric, marked) for row in table.rows]
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    inside = "\n".join([head, "<tbody>", *lines, "</tbody>"])
    kind = ' class="sentences"' if table.wrap else ""
    return f'<figure>\n<div class="scroll"><table{kind}>\n{inside}\n</table></div>{_caption(table.caption)}\n</figure>'


def _row(row: Sequence[Cell], numeric: Sequence[bool], marked: Sequence[float | None]) -> str:
    cells = [
        _cell("td", shown(cell), number, mark is not None and value(cell) == mark)
        for cell, number, mark in zip(row, numeric, marked, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, content: str, numeric: bool, marked: bool) -> str:
    names = " ".join(name for name, on in (("number", numeric), ("best", marked)) if on)
    scope = ' scope="col"' if tag == "th" else ""
    return f'<{tag}{scope} class="{names}">{content}</{tag}>' if names else f"<{tag}{scope}>{content}</{tag}>"


def _facts(facts: Facts) -> str:
    lines = [f"<dt>{escaped(name)}</dt><dd>{shown(item)}</dd>" for name, item in facts.items.items()]
    return "\n".join(["<dl>", *lines, "</dl>"])
