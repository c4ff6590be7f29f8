"""`metrics.jsonl`: a log of a training, one JSON object per line; the training never depends on it."""

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..atomic import write_atomically
from ..errors import RunWarning


def add_line(path: Path, line: Mapping[str, int | float | None]) -> None:
    """Append one line; numbers that are not finite become null."""
    finite = {key: value if value is None or math.isfinite(value) else None for key, value in line.items()}
    with path.open("a") as file:
        file.write(json.dumps(finite) + "\n")


def keep_lines(path: Path, *, until: int) -> None:
    """Remove the lines after a step, and the incomplete line of a killed process.

    Where other lines are damaged, a copy of the log is set aside, with a `RunWarning`, and the sound lines stay.
    """
    if path.exists() and not path.is_file():
        os.replace(path, aside := _free_name(path))
        _warn(path, aside)
    content = path.read_bytes() if path.exists() else b""
    # after the last line break there is nothing, or what a killed process had written of a line
    lines = content.split(b"\n")[:-1]
    steps = [_step(line) for line in lines]
    if None in steps:
        _warn(path, write_atomically(_free_name(path), content))
    kept = [line for line, step in zip(lines, steps, strict=True) if step is not None and step <= until]
    write_atomically(path, b"".join(line + b"\n" for line in kept))


def _step(line: bytes) -> int | None:
    """Step of a line; `None` where the line is damaged."""
    try:
        read = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    step = cast("dict[str, Any]", read).get("step") if isinstance(read, dict) else None
    return step if isinstance(step, int) else None


def _free_name(path: Path) -> Path:
    number = 1
    while (place := path.with_name(f"{path.stem}.damaged-{number}.jsonl")).exists():
        number += 1
    return place


def _warn(path: Path, aside: Path) -> None:
    warnings.warn(
        f"{path} was damaged. It is kept as {aside.name}, and the training continues; its sound lines stay.",
        RunWarning,
        stacklevel=2,
    )
