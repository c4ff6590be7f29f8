"""Output in the terminal: progress bars, short tables, names of written files."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import OutputError

console = Console(highlight=False)
errors = Console(highlight=False, stderr=True)


@contextmanager
def stages() -> Generator[Callable[[str, int | None], Callable[[int], None]], None, None]:
    """Progress bars, one below the other.

    Yields a function from the name of a stage and its number of steps (`None` where unknown) to a function that is
    called with the number of finished steps.
    """
    with _bar() as bar:

        def stage(name: str, total: int | None) -> Callable[[int], None]:
            task = bar.add_task(name, total=total)
            # drawing costs more than a small update, so the bar shows every 20th
            sparse = total is not None and total > 1000
            return lambda done: None if sparse and done % 20 else bar.update(task, completed=done)

        yield stage


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a short table with right-aligned numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def name_files(*paths: Path) -> None:
    """Print the paths that a verb wrote."""
    for path in paths:
        console.print(f"wrote [bold]{path}[/bold]", soft_wrap=True)


def claim_folder(path: Path, *, overwrite: bool) -> Path:
    """Create an output folder, or check that an existing one may be written to.

    Raises:
        OutputError: The folder is not empty and `overwrite` is not set, or the path is a file.
    """
    if path.is_file():
        raise OutputError(f"{path} is a file. Choose a folder for --out.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise OutputError(f"{path} exists already. Choose another --out, or give --overwrite to replace its results.")
    path.mkdir(parents=True, exist_ok=True)
    return path
