"""Progress of long work: bars in a terminal, a line now and then in a file or a pipe."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..printable import printable
from .console import Terminal, console

FIRST_LINE, NEXT_LINES = 10.0, 30.0
"""Seconds after which the first line about a stage is printed where there is no terminal, and between the next ones."""

Advance = Callable[[int], None]
"""Is called with the number of finished steps."""
Stage = Callable[[str, int | None], Advance]
"""Begins a stage: its name and its number of steps, `None` where unknown."""


@contextmanager
def stages(clock: Callable[[], float] = time.monotonic) -> Generator[Stage]:
    """Show progress: bars, one below the other, or lines where the output is no terminal.

    Yields a function that begins a stage. At the end without an error, what was announced is finished, also where fewer
    steps were needed; at an error, bars and numbers stay where they are.
    """
    if console.is_terminal:
        with _bars() as stage:
            yield stage
        return
    lines: list[_Lines] = []

    def begun(name: str, total: int | None) -> Advance:
        lines.append(_Lines(printable(name), total, console, clock, begun=clock()))
        return lines[-1].advance

    try:
        yield begun
        for line in lines:
            line.done = line.done if line.total is None else line.total
    finally:
        for line in lines:
            if line.done != line.shown:
                line.show()


@contextmanager
def _bars() -> Generator[Stage]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:

        def stage(name: str, total: int | None) -> Advance:
            task = bars.add_task(printable(name), total=total)
            # drawing costs more than a small update, so the bar shows every 20th
            sparse = total is not None and total > 1000
            return lambda done: None if sparse and done % 20 else bars.update(task, completed=done)

        yield stage
        for task in bars.tasks:
            bars.update(task.id, completed=task.completed if task.total is None else task.total)


@dataclass
class _Lines:
    """One stage where there is no terminal."""

    name: str
    total: int | None
    console: Terminal
    clock: Callable[[], float]
    begun: float
    done: int = 0
    shown: int | None = None
    since: tuple[int, float] | None = None
    due: float = field(init=False)

    def __post_init__(self) -> None:
        self.due = self.begun + FIRST_LINE

    def advance(self, done: int) -> None:
        self.done = done
        if self.since is None:
            # continued work begins with many finished steps, which took none of this time
            self.since = done, self.clock()
        if self.clock() >= self.due:
            self.show()
            self.due = self.clock() + NEXT_LINES

    def show(self) -> None:
        """Print the number of finished steps, the time, and the time left at the speed so far."""
        self.shown = self.done
        now = self.clock()
        words = f"{self.name}: {self.done}/{'?' if self.total is None else self.total}, {duration(now - self.begun)}"
        first, then = self.since or (0, now)
        if self.total is not None and first < self.done < self.total:
            left = (now - then) * (self.total - self.done) / (self.done - first)
            words += f", about {duration(left)} left at this speed"
        self.console.say(words)


def duration(seconds: float) -> str:
    """A duration for readers.

    >>> duration(4.2), duration(42.0), duration(2565.0), duration(7300.0)
    ('4.2 s', '42 s', '42 min 45 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
