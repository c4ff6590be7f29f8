"""One trial: a door is opened, killed, looked at, and opened again; and what came of it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .doors import NOTE, Door, filled, leave

Run = Callable[..., tuple[int, str, int]]


@dataclass(frozen=True)
class Undisturbed:
    """A door that nobody kills: what readers see before and after, what it leaves, and how often it changes files."""

    old: list[str]
    new: list[str]
    tree: dict[str, bytes]
    points: int
    seconds: float


def undisturbed(run: Run, door: Door, made: Path, here: Path) -> Undisturbed:
    leave(here, door, made)
    old = seen(run, door, here)
    began = time.perf_counter()
    status, said, points = run("verb", *filled(door.command, made, here))
    seconds = time.perf_counter() - began
    assert status == 0, said
    return Undisturbed(old, seen(run, door, here), tree(here, door), points, seconds)


def trial(run: Run, door: Door, made: Path, here: Path, known: Undisturbed, **kill: Any) -> list[str]:
    """What went wrong, in words that begin with damaged, missing, touched, refused, other bits or leftover."""
    shutil.rmtree(here, ignore_errors=True)
    leave(here, door, made)
    run("verb", *filled(door.command, made, here), **kill)
    wrong = [*_after_the_kill(run, door, here, known), *_notes(door, here)]
    status, said = _again(run, door, made, here)
    if status and not ("exists already" in said or "holds a finished" in said):
        wrong.append(f"refused: {said[-300:]}")
    elif status and (status := run("verb", *filled(door.command, made, here), "--overwrite")[0]):
        wrong.append("refused: --overwrite")
    return [*wrong, *_notes(door, here), *_at_the_end(run, door, here, known)]


def seen(run: Run, door: Door, here: Path) -> list[str]:
    return run("show", *(here / place for place in door.shown))[1].splitlines()


def tree(here: Path, door: Door) -> dict[str, bytes]:
    """Name → content of all files, where contents repeat."""
    files = {str(path.relative_to(here)): path for path in here.rglob("*") if not path.is_dir()}
    folders = {str(path.relative_to(here)): b"" for path in here.rglob("*") if path.is_dir()}
    return folders | {name: path.read_bytes() if door.repeats(name) else b"" for name, path in sorted(files.items())}


def _after_the_kill(run: Run, door: Door, here: Path, known: Undisturbed) -> list[str]:
    wrong = list[str]()
    for place, found, old, new in zip(door.shown, seen(run, door, here), known.old, known.new, strict=True):
        if not (here / place).exists():
            wrong += [] if door.may_lack or door.resumes else [f"missing: {place}"]
        elif "Error" in found or (not door.trains and found not in (old, new)):
            wrong.append(f"damaged: {place}: {found}")
    return wrong


def _again(run: Run, door: Door, made: Path, here: Path) -> tuple[int, str]:
    place = here / door.resumes if door.resumes else None
    if place is not None and place.exists() and not _is_old(place):
        return run("verb", "train", "--resume", place)[:2]
    return run("verb", *filled(door.command, made, here))[:2]


def _is_old(run_folder: Path) -> bool:
    recipes = [*run_folder.glob("recipe.json"), *run_folder.glob("seed*/recipe.json")]
    return any(json.loads(path.read_text())["seed"] > 3 for path in recipes)


def _notes(door: Door, here: Path) -> list[str]:
    return [f"touched: {note}" for note in door.notes if not _holds(here / note)]


def _holds(note: Path) -> bool:
    return note.is_file() and note.read_text() == NOTE


def _at_the_end(run: Run, door: Door, here: Path, known: Undisturbed) -> list[str]:
    wrong, found = list[str](), tree(here, door)
    wrong += [f"leftover: {name}" for name in found.keys() - known.tree.keys()]
    wrong += [f"missing: {name}" for name in known.tree.keys() - found.keys()]
    wrong += [f"other bits: {name}" for name in found.keys() & known.tree.keys() if found[name] != known.tree[name]]
    if seen(run, door, here) != known.new:
        wrong.append("other bits: what readers see")
    return wrong
