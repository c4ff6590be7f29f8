"""What all studies share: jobs with stored results, statistics, rows, tables, verdicts, and the output folder."""

from typing import Literal, TypeAlias

__all__ = ["Preset"]

Preset: TypeAlias = Literal["quick", "full"]
