"""Output in the terminal: sentences, short tables, names of written files.

Everything that a verb prints passes through `Terminal`, which shows text as it is: it interprets no markup, and control
characters are visible escapes. Styles are given beside the text.
"""

import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..atomic import claimed, leaves, updating
from ..errors import OutputError
from ..printable import PLAIN, printable

Words = str | tuple[str, str]
"""Text, or text with a style of rich's such as "bold red"."""

_LONGEST_PATH = 4096
GONE = "note: the reader of the output is gone. The work goes on without further messages; Ctrl-C stops it."


class Terminal(Console):
    """A console on which text from outside can neither become markup nor control the terminal."""

    def say(self, *parts: Words, indent: int = 0, style: str = "", longest_word: int | None = None) -> None:
        """Print one paragraph; no parts give an empty line. Indented paragraphs are wrapped, others are not."""
        pieces = [(part, "") if isinstance(part, str) else part for part in parts]
        longest = {} if longest_word is None else {"longest_word": longest_word}
        words = Text.assemble(*((self._fit(printable(text, **longest)), look) for text, look in pieces), style=style)
        if indent:
            self.print(Padding(words, (0, 0, 0, indent)))
        else:
            self.print(words, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a table or title, without markup and emoji codes."""
        options |= {"markup": False, "emoji": False}
        return super().render_str(self._fit(printable(text)), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All output, also that of rich's own parts such as spinners."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or (text.isprintable() and text.isascii()) or text == "\n":
                yield segment
            else:
                lines = [printable(line, longest_word=len(line) + 1) for line in text.split("\n")]
                yield Segment(self._fit("\n".join(lines)), segment.style)

    def on_broken_pipe(self) -> None:
        """Go on without output when its reader is gone, as in `holdfast train DATA --out RUN | head -1`."""
        self.quiet = True
        stream = sys.stderr if self.stderr else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not self.stderr:
            errors.say(GONE)

    def _fit(self, text: str) -> str:
        """The text with ASCII in place of symbols that the terminal cannot show."""
        return text.encode(self.encoding, PLAIN).decode(self.encoding)


console = Terminal(highlight=False)
errors = Terminal(highlight=False, stderr=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: Sequence[str] = ()) -> None:
    """Print a short table with right-aligned numbers; the first column and those in `text` are aligned left."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index and column not in text else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def name_files(*paths: Path, prepared: Path | None = None, out: Path | None = None) -> None:
    """Print the paths that a verb wrote; those in the folder `prepared` have been moved to `out`."""
    for path in paths:
        if prepared is not None and out is not None and path.is_relative_to(prepared):
            path = out / path.relative_to(prepared)
        console.say("wrote ", (str(path), "bold"), longest_word=_LONGEST_PATH)


_PAGES = re.compile(r"(result\.json|index\.html|tokenizer\.safetensors|[^/]+\.(png|gif))|(jobs|world|data)(/.*)?")
"""Files of results and of studies. A folder that holds only these is exchanged as a whole."""


@contextmanager
def results_folder(
    path: Path, *, overwrite: bool, purpose: str
) -> Generator[Callable[[], AbstractContextManager[Path]]]:
    """Keep a folder of results from other processes, from before the work whose results it gets.

    Yields a function that opens a folder beside it, to write the files to. At its end they are in the folder at once,
    or, where that holds other files too, one by one. Nothing is written before.

    Raises:
        OutputError: The folder is not empty and `overwrite` is not set, the path is a file, or another process writes
            to it.
    """
    if path.is_file():
        raise OutputError(f"{path} is a file. Choose a folder for --out.")
    with claimed(path, ours=is_page, purpose=purpose):
        if path.is_dir() and any(leaves(path)) and not overwrite:
            raise OutputError(
                f"{path} exists already. Choose another --out, or give --overwrite to replace its results."
            )
        yield lambda: updating(path, ours=is_page, purpose=purpose)


def is_page(relative: str) -> bool:
    """Whether a path below a folder of results is one of the files that verbs write there."""
    return _PAGES.fullmatch(relative) is not None
