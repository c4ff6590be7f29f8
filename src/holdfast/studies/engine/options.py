"""A study as a command: its options, and how it is run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from . import Preset
from .result import StudyResult

Stage: TypeAlias = Callable[[str, int], Callable[[int], None]]
"""Announces a stage by name and number of steps; returns the function to call with the number of finished steps."""


@dataclass(frozen=True, kw_only=True)
class StudyCommand(ABC):
    """Options that all studies have."""

    preset: Preset = "quick"
    """Size of the study: quick takes minutes, full takes hours."""
    out: Path = Path("study")
    """Output directory for result.json, the figures and the page; an interrupted study continues there."""
    overwrite: bool = False
    """Allow --out to be the folder of a finished study, which is otherwise refused. A measurement stored in it is used
    again only if all its settings and the version of Holdfast are the same; the others are made. result.json, the
    figures and the page are rewritten, and cover only what the options of this command select. To measure everything
    anew, choose another folder."""

    @abstractmethod
    def run(self, folder: Path, stage: Stage) -> StudyResult:
        """Run the study."""


@dataclass(frozen=True, kw_only=True)
class PooledStudy(StudyCommand):
    """Options of studies whose jobs run in parallel processes."""

    workers: int | None = None
    """Number of processes. Default: all cores."""
