"""What the verbs show in a terminal: progress bars, short tables, the files that were written."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import OutputError

__all__ = ["claim_folder", "console", "name_files", "progress", "show_table"]

console = Console(highlight=False)


@contextmanager
def progress(label: str, total: int | None = None) -> Generator[Callable[[int | None], None], None, None]:
    """A progress bar; the value is called with the number of steps done, or with `None` for one more."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total)

        def advance(done: int | None) -> None:
            if done is None:
                bar.advance(task)
            else:
                bar.update(task, completed=done)

        yield advance


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A short table, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def name_files(*paths: Path) -> None:
    """The last lines of a verb: what it wrote."""
    for path in paths:
        console.print(f"wrote [bold]{path}[/bold]", soft_wrap=True)


def claim_folder(path: Path, *, overwrite: bool) -> Path:
    """An output folder that may be written to.

    Raises:
        OutputError: It holds something and `--overwrite` was not given.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise OutputError(f"{path} exists already. Choose another --out, or give --overwrite to replace its results.")
    path.mkdir(parents=True, exist_ok=True)
    return path
