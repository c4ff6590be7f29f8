"""`holdfast skills`: labelled demonstrations and trained skills → a library with a selector."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..atomic import claimed, updating
from ..data import labels_of, read
from ..errors import HoldfastError, OutputError, RecipeError
from ..files import as_object, read_json
from ..learn import Confusion, FittedSelector, SelectorRecipe, fit_selector
from ..policy import load
from ..policy.skills import (
    LIBRARY_FILE,
    SELECTOR_FILE,
    Declared,
    Handover,
    LearnedEnd,
    Skill,
    SkillLibrary,
    SkillPolicy,
    is_library,
    library_bytes,
    selector_bytes,
)
from ..report import write_result
from ..schema import from_plain
from ..types import Episodes
from .console import console, name_files, show_table
from .machine import use_threads
from .places import check_apart
from .reading import ReadingOptions

RESULT = "result.json"


@dataclass(frozen=True)
class _Ends:
    """Termination conditions of one skill, as they are stored."""

    ends: tuple[Declared, ...]


@dataclass(frozen=True)
class Skills(ReadingOptions):
    """Make a library of trained skills, with a selector that is cloned from labelled demonstrations.

    Each skill is a run folder of its own, trained for example on the segments with its label: holdfast train DATA
    --segments skill=reach --out RUN. All skills must have the same actions and observations. The selector learns from
    the labels which skill runs, and where its segments end. The library is a folder with skills.json, which names the
    runs by paths relative to it, and selector.safetensors; holdfast evaluate LIBRARY runs it. result.json holds the
    confusion matrix of the selector on held-out episodes.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Demonstrations of the whole task, with a column that labels each control step, in any format that `holdfast
    train` reads."""
    runs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="LABEL=RUN [LABEL=RUN ...]")]
    """Run folder of each skill, by its label: reach=runs/reach press=runs/press. Every label of the data needs one."""
    out: Annotated[Path, tyro.conf.arg(metavar="LIBRARY")]
    """Folder to create."""
    labels: str = "skill"
    """Column of the data with the label of each control step, as whole numbers. Their names are the list of this name
    in meta.labels of the data, else the numbers."""
    ends: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file with the termination conditions of skills, of which one must hold: {"reach": [{"kind": "Reached",
    "coordinates": ["dx", "dy"], "within": 0.02}, {"kind": "StepLimit", "steps": 50}]}. docs/actions.md lists them.
    Default: each skill ends where the selector has learned that its segments end."""
    every: int = 5
    """Control steps between two decisions of the selector while a skill runs; 0: it decides only where a skill ends."""
    overlap: int = 2
    """Control steps for which the chunk in force goes on after a switch, as the known beginning of the next skill's
    first chunk, or blended with it."""
    n_obs_steps: int = 1
    """Number of most recent observations that the selector sees."""
    steps: int = 1000
    """Number of parameter updates of the selector."""
    held_out: float = 0.1
    """Fraction of the episodes that are held out of the selector's training, for the confusion matrix."""
    seed: int = 0
    """Random seed for the held-out episodes, the initial weights, the batches and the noise."""
    overwrite: bool = False
    """Replace an existing library in --out. Other files in the folder stay."""

    def run(self) -> None:
        """Fit the selector, write the library."""
        runs = _runs(self.runs)
        check_apart(self.out, self.data)
        for run in runs.values():
            # a library may hold its runs, but not lie in one
            if self.out.resolve() not in run.resolve().parents:
                check_apart(self.out, run)
        with claimed(self.out, ours=_is_ours, purpose="writing a skill library in"):
            if self.out.is_file():
                raise OutputError(f"{self.out} is a file. Choose a folder for --out.")
            if is_library(self.out) and not self.overwrite:
                raise OutputError(f"{self.out} holds a skill library. Choose another --out, or give --overwrite.")
            use_threads(None)
            self._make(runs, time.monotonic())

    def _make(self, runs: dict[str, Path], started: float) -> None:
        episodes = read(self.data, selection=self.selection())
        self._check_labels(episodes, runs)
        ends = dict.fromkeys(runs, (LearnedEnd(),)) if self.ends is None else _ends(self.ends, runs)
        library = SkillLibrary(tuple(Skill(name, load(run), ends.get(name, ())) for name, run in runs.items()))
        fitted = fit_selector(episodes, self._recipe())
        # refused here rather than when it is run
        SkillPolicy(library, fitted.selector, every=self.every or None, handover=Handover(overlap=self.overlap))
        _show(fitted.confusion)
        with updating(self.out, ours=_is_ours, purpose="writing a skill library in") as fresh:
            written = [fresh / name for name in (LIBRARY_FILE, SELECTOR_FILE)]
            stored = library_bytes(self.out, runs, ends, every=self.every or None, overlap=self.overlap)
            written[0].write_bytes(stored)
            written[1].write_bytes(selector_bytes(fitted.selector))
            written.append(write_result(fresh / RESULT, self._values(fitted, runs, started)))
        name_files(*written, prepared=fresh, out=self.out)
        console.say(f"next: holdfast evaluate {self.out}")

    def _recipe(self) -> SelectorRecipe:
        return SelectorRecipe(
            labels=self.labels,
            n_obs_steps=self.n_obs_steps,
            updates=self.steps,
            held_out=self.held_out,
            seed=self.seed,
        )

    def _check_labels(self, episodes: Episodes, runs: dict[str, Path]) -> None:
        """Refuse labels without a skill, and skills without a label."""
        _, names = labels_of(episodes, self.labels)
        if missing := [name for name in names if name not in runs]:
            raise RecipeError(
                f"no run is given for the label {missing[0]} of {self.data}. Give one for each of {', '.join(names)}: "
                f"--runs {' '.join(f'{name}=RUN' for name in names)}"
            )
        if unknown := [name for name in runs if name not in names]:
            raise RecipeError(
                f"--runs names the skill {unknown[0]}, but the column {self.labels} of {self.data} has the labels "
                f"{', '.join(names)}."
            )

    def _values(self, fitted: FittedSelector, runs: dict[str, Path], started: float) -> dict[str, object]:
        confusion = fitted.confusion
        found: dict[str, object] = {
            "skills": list(fitted.selector.skills),
            "runs": {name: str(run) for name, run in runs.items()},
            "labels": self.labels,
            "updates": self.steps,
            "seed": self.seed,
            "seconds": time.monotonic() - started,
        }
        if confusion is None:
            return found
        counts = [[int(steps) for steps in row] for row in confusion.counts]
        return found | {"accuracy": confusion.accuracy, "confusion": counts, "held_out_episodes": confusion.episodes}


def _show(confusion: Confusion | None) -> None:
    """The confusion matrix as a table."""
    if confusion is None:
        console.say("no episodes were held out: how well the selector chooses is not known")
        return
    rows = [
        [label, *("–" if share != share else f"{float(share):.1%}" for share in shares)]
        for label, shares in zip(confusion.skills, confusion.shares, strict=True)
    ]
    title = f"choices on {confusion.episodes} held-out episodes, accuracy {confusion.accuracy:.1%}"
    show_table(title, ["label", *confusion.skills], rows)


def _runs(given: Sequence[str]) -> dict[str, Path]:
    """Run folders by the names of their skills.

    Raises:
        RecipeError: An entry is not NAME=RUN, or a name occurs twice.
    """
    found = dict[str, Path]()
    for entry in given:
        name, sign, place = entry.partition("=")
        if not (name and sign and place):
            raise RecipeError(f"--runs: expected LABEL=RUN, for example reach=runs/reach, got {entry!r:.200}.")
        if name in found:
            raise RecipeError(f"--runs names the skill {name} twice. Give each label one run.")
        found[name] = Path(place)
    return found


def _ends(path: Path, runs: dict[str, Path]) -> dict[str, tuple[Declared, ...]]:
    """Termination conditions from a file; skills that it omits run until another one is chosen.

    Raises:
        RecipeError: The file cannot be read, names an unknown skill, or holds something else.
    """
    try:
        plain = as_object(read_json(path, error=RecipeError), str(path), error=RecipeError)
        found = {name: from_plain(_Ends, {"ends": ends}).ends for name, ends in plain.items()}
    except (OSError, HoldfastError) as error:
        raise RecipeError(
            f'--ends {path}: {error} Give a file like {{"reach": [{{"kind": "StepLimit", "steps": 50}}]}}.'
        ) from error
    if unknown := [name for name in found if name not in runs]:
        raise RecipeError(f"--ends {path} names the skill {unknown[0]:.80}. Known: {', '.join(runs)}.")
    return found


def _is_ours(relative: str) -> bool:
    return relative in (LIBRARY_FILE, SELECTOR_FILE, RESULT)
