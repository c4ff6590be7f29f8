"""`holdfast runs`: the runs in a folder, what tells their recipes apart, and their scores."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

import tyro

from ..errors import HoldfastError, RunError
from ..learn import load_recipe
from ..learn.run_place import FINETUNED
from ..recipe import Recipe
from ..schema import to_plain
from .console import console, show_table

_DEEP = 4
"""Levels of folders below the given one in which runs are looked for."""
_Score: TypeAlias = tuple[float | None, float | None, float | None]
"""Score and the ends of its interval; `None` for a number that is not finite, as in result.json."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder.

    Attributes:
        name: Path below the folder that was given.
        recipe: Its recipe.
        trained: Number of updates done, or of iterations of a fine-tuning; `None` where the run keeps no record.
        fine_tuned: Whether the run was fine-tuned.
        score: Score of its evaluation and the ends of the 95 % interval, where it was evaluated with the defaults for
            --out.
        episodes: Number of episodes of this evaluation.
        unread: Why its score is not known though there is a result; empty otherwise.
        changed: When its weights were written.
    """

    name: str
    recipe: Recipe
    trained: int | None
    fine_tuned: bool
    score: _Score | None
    episodes: int | None
    unread: str
    changed: datetime


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder, with scores and what tells their recipes apart.

    The score is that of RUN/evaluation, where `holdfast evaluate RUN` writes without --out, and belongs to the starts
    that were evaluated there: `holdfast compare` runs several policies from the same starts. A field of the recipes is
    shown if it does not have the same value in all of them.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder whose runs are listed, also those in folders within it."""
    sort: Literal["name", "score", "date"] = "name"
    """Order of the rows: by name, the highest score first, or the newest first."""

    def run(self) -> None:
        """Print the table."""
        found, unread = list[Run](), list[str]()
        for folder in run_folders(self.folder):
            try:
                found.append(_summary(folder, self.folder))
            except HoldfastError as error:
                unread.append(str(error))
        if not found and not unread:
            raise RunError(
                f"{self.folder} holds no run: expected folders with recipe.json, as `holdfast train` writes."
            )
        self._show(_sorted(found, self.sort))
        for run in found:
            if run.unread:
                console.say(f"score of {run.name} not shown: {run.unread}")
        for reason in unread:
            console.say(f"not listed: {reason}")

    def _show(self, runs: Sequence[Run]) -> None:
        if not runs:
            return
        differing = differences([run.recipe for run in runs])
        rows = [
            [run.name, _updates(run), _score(run), f"{run.changed:%Y-%m-%d %H:%M}", "; ".join(parts)]
            for run, parts in zip(runs, differing, strict=True)
        ]
        counted = f"{len(runs)} run{'s' * (len(runs) != 1)} in {self.folder}"
        show_table(counted, ["run", "updates", "score", "written", "what differs"], rows, text=("what differs",))
        if len(runs) > 1 and not any(differing):
            console.say("all recipes are the same", style="dim")
        if len({run.episodes for run in runs if run.episodes}) > 1:
            console.say("scores are from different numbers of episodes; holdfast compare runs all from the same starts")


def run_folders(folder: Path) -> list[Path]:
    """Run folders at or below a folder, in the order of their names."""
    patterns = ["/".join(["*"] * level + ["recipe.json"]) for level in range(_DEEP + 1)]
    return sorted({path.parent for pattern in patterns for path in folder.glob(pattern)})


def differences(recipes: Sequence[Recipe]) -> list[list[str]]:
    """For each recipe, the fields whose value is not the same in all of them, as `field value`.

    Where recipes hold objects of different kinds, such as two families, the kinds are shown and not their fields.
    """
    found = dict(_differing((), [cast("object", to_plain(recipe)) for recipe in recipes]))
    names = _shortened(list(found))
    return [[f"{names[place]} {values[row]}" for place, values in found.items()] for row in range(len(recipes))]


_Place: TypeAlias = tuple[str, ...]


def _differing(place: _Place, values: Sequence[object]) -> Iterator[tuple[_Place, list[str]]]:
    """Each differing field at or below a place, and its value in every recipe."""
    if all(value == values[0] for value in values):
        return
    objects = [cast("dict[str, object]", value) for value in values if isinstance(value, dict)]
    kinds = {str(one.get("kind")) for one in objects}
    if len(objects) < len(values) or len(kinds) > 1:
        yield place, [_shown(value) for value in values]
        return
    for field in objects[0]:
        yield from _differing((*place, field), [one.get(field) for one in objects])


def _shortened(places: Sequence[_Place]) -> dict[_Place, str]:
    """Names of fields, with as many of the objects that they belong to as tell them apart."""
    names = dict[_Place, str]()
    for place in places:
        lengths = range(1, len(place) + 1)
        names[place] = next(
            (".".join(place[-n:]) for n in lengths if sum(other[-n:] == place[-n:] for other in places) == 1),
            # a field of the recipe itself whose name a deeper one has too
            ".".join(place),
        )
    return names


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return str(cast("dict[str, object]", value).get("kind"))
    return "none" if value is None else json.dumps(value)


def _summary(folder: Path, above: Path) -> Run:
    recipe = load_recipe(folder)
    score, episodes, unread = _evaluated(folder / "evaluation" / "result.json")
    written = next((one for one in _WRITTEN if (folder / one).exists()), "recipe.json")
    return Run(
        name=folder.name if folder == above else folder.relative_to(above).as_posix(),
        recipe=recipe,
        trained=_trained(folder / "metrics.jsonl"),
        fine_tuned=(folder / FINETUNED).is_file(),
        score=score,
        episodes=episodes,
        unread=unread,
        changed=datetime.fromtimestamp((folder / written).stat().st_mtime),
    )


_WRITTEN = ("model.safetensors", "train_state/state.safetensors")


def _trained(path: Path) -> int | None:
    """Step of the last whole line of the log."""
    if not path.exists():
        return None
    for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that a kill cut off
    return None


def _evaluated(path: Path) -> tuple[_Score | None, int | None, str]:
    """Score and number of episodes of an evaluation, or why they cannot be read; nothing where there is none."""
    if not path.exists():
        return None, None, ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        score = found["score"]
        mean, low, high = (None if score[name] is None else float(score[name]) for name in ("mean", "low", "high"))
        return (mean, low, high), int(found["episodes"]), ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, None, f"{path} is no result of an evaluation ({error!r:.80}). Evaluate again."


def _sorted(runs: Sequence[Run], order: str) -> list[Run]:
    match order:
        case "score":
            return sorted(runs, key=_height, reverse=True)
        case "date":
            return sorted(runs, key=lambda run: run.changed, reverse=True)
        case _:
            return list(runs)


def _height(run: Run) -> float:
    mean = None if run.score is None else run.score[0]
    return -math.inf if mean is None else mean


def _updates(run: Run) -> str:
    done = "?" if run.trained is None else str(run.trained)
    return f"{done} iterations" if run.fine_tuned else f"{done}/{run.recipe.training.steps}"


def _score(run: Run) -> str:
    if run.score is None:
        return "–"
    mean, low, high = run.score
    if mean is None:
        return "not finite"
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{mean:.3f}{ends}"
