"""The doors that write: what is there before, the command, what a reader may find after a kill, and what ends it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.data import write

from .small_sets import small_set

QUICK = ("--steps", "4", "--batch-size", "4", "--save-every", "2")
NOTE = "years of work"


@dataclass(frozen=True)
class Door:
    """One way of writing.

    Attributes:
        name: Name of the door.
        before: Names in the folder of made things that are copied to the place of the trial: name → place.
        command: Arguments of the verb.
        shown: Places that a reader opens: data sets and runs.
        notes: Files that belong to someone else.
        resumes: Run folder, or folder of seeds, that `--resume` continues where it exists.
    """

    name: str
    command: tuple[str, ...]
    shown: tuple[str, ...]
    before: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    resumes: str | None = None

    @property
    def may_lack(self) -> bool:
        """Whether there may be nothing after a kill, because there was nothing before."""
        return not self.before

    @property
    def trains(self) -> bool:
        """Whether readers may see a checkpoint of the middle."""
        return self.command[0] == "train" and "--residual" not in self.command

    def repeats(self, name: str) -> bool:
        """Whether a file has the same content in every run; others hold times."""
        return name.endswith(
            (
                *(".parquet", ".npz", ".safetensors", ".onnx", ".txt"),
                *("recipe.json", "scale.json", "interface.json", "manifest.json", "info.json"),
            )
        )


def _train(*options: str) -> tuple[str, ...]:
    return ("train", "{made}/demos", "--out", "{here}/run", *QUICK, *options)


def _pictures(*options: str) -> tuple[str, ...]:
    return ("train", "{made}/pictures", "--out", "{here}/run", "--images", "top", *QUICK, *options)


def _residual(*options: str) -> tuple[str, ...]:
    return ("train", "--residual", "{here}/run", "--steps", "3", "--batch-size", "4", *options)


def _export(*options: str) -> tuple[str, ...]:
    return ("export", "{made}/old", "--out", "{here}/graph", *options)


OTHERS = ("run/notes.txt", "run/diagnosis/mine.txt")
FORMATS = ("lerobot", "holdfast", "zarr", "robomimic", "minari", "npz")

DOORS: tuple[Door, ...] = (
    Door("train", _train(), ("run",), resumes="run"),
    Door("seeds", _train("--seeds", "2"), ("run/seed0", "run/seed1"), resumes="run"),
    Door("resume", ("train", "--resume", "{here}/run"), ("run",), (("half", "run"),)),
    Door("train-overwrite", _train("--overwrite"), ("run",), (("old", "run"),), OTHERS, "run"),
    Door(
        "seeds-overwrite",
        _train("--seeds", "2", "--overwrite"),
        ("run/seed0",),
        (("old-seeds", "run"),),
        ("run/seed5/notes.txt", "run/notes.txt"),
        "run",
    ),
    Door(
        "tokens",
        _train("--family", "tokens", "--codec", "actions"),
        ("run",),
        resumes="run",
    ),
    Door("pictures", _pictures(), ("run",), resumes="run"),
    Door("resume-pictures", ("train", "--resume", "{here}/run"), ("run",), (("half-pictures", "run"),)),
    Door("pictures-overwrite", _pictures("--overwrite"), ("run",), (("old", "run"),), OTHERS, "run"),
    Door("residual", _residual(), ("run",), (("old", "run"),), OTHERS),
    Door("residual-overwrite", _residual("--overwrite"), ("run",), (("corrected", "run"),), OTHERS),
    # a new run takes the correction of the old one with it
    Door("train-over-residual", _train("--overwrite"), ("run",), (("corrected", "run"),), OTHERS, "run"),
    Door("export", _export(), ("graph",)),
    Door("export-overwrite", _export("--overwrite"), ("graph",), (("graph", "graph"),), ("graph/notes.txt",)),
    Door("demonstrate", ("demonstrate", "scalar", "--episodes", "2", "--out", "{here}/set"), ("set",)),
    Door(
        "demonstrate-overwrite",
        ("demonstrate", "scalar", "--episodes", "2", "--out", "{here}/set", "--overwrite"),
        ("set",),
        (("carded", "set"),),
        ("set/README.md",),
    ),
    *(
        Door(
            f"convert-{name}",
            ("convert", "{made}/demos", "{here}/set", "--format", name, "--overwrite"),
            ("set",),
            (("other", "set"),),
        )
        for name in FORMATS
    ),
    Door(
        "record",
        ("evaluate", "{made}/old", "--episodes", "2", "--out", "{here}/eval", "--record", "{here}/set"),
        ("set",),
    ),
    Door(
        "record-overwrite",
        ("evaluate", "{made}/old", "--episodes", "2", "--out", "{here}/eval", "--record", "{here}/set", "--overwrite"),
        ("set",),
        (("other", "set"), ("evaluation", "eval")),
    ),
    Door("study", ("study", "tiny", "--out", "{here}/study"), ()),
    Door("study-overwrite", ("study", "tiny", "--out", "{here}/study", "--overwrite"), (), (("study", "study"),)),
)


def make(run: Callable[..., tuple[int, str, int]], made: Path) -> None:
    """Everything that doors find before they open."""

    def verb(*arguments: object) -> None:
        status, said, _ = run("verb", *arguments, warm=True)
        assert status == 0, said

    verb("demonstrate", "scalar", "--episodes", 2, "--out", made / "demos")
    verb("demonstrate", "scalar", "--episodes", 3, "--seed", 1, "--out", made / "other")
    shutil.copytree(made / "other", made / "carded")
    (made / "carded" / "README.md").write_text(NOTE)
    verb("train", made / "demos", "--out", made / "old", *QUICK, "--seed", 7)
    verb("evaluate", made / "old", "--episodes", 2, "--out", made / "evaluation")
    shutil.copytree(made / "evaluation", made / "old" / "diagnosis")
    for note in OTHERS:
        (made / note.replace("run/", "old/")).write_text(NOTE)
    verb("train", made / "demos", "--out", made / "old-seeds", *QUICK, "--seed", 4, "--seeds", 2)
    for note in ("seed5/notes.txt", "notes.txt"):
        (made / "old-seeds" / note).write_text(NOTE)
    run("show", made / "demos", made / "old", warm=True)
    shutil.copytree(made / "old", made / "corrected")
    verb("train", "--residual", made / "corrected", "--steps", 2, "--batch-size", 4, "--seed", 5)
    verb("export", made / "old", "--out", made / "graph", "--sigma-deploy", 0)
    (made / "graph" / "notes.txt").write_text(NOTE)
    write(small_set(), made / "pictures")
    for name, options in (("demos", ()), ("pictures", ("--images", "top"))):
        half = made / ("half" if name == "demos" else f"half-{name}")
        status, said, _ = run("half", "train", made / name, "--out", half, *QUICK, *options)
        assert (status, half.exists()) == (0, True), said
    verb("study", "tiny", "--out", made / "study")


def leave(place: Path, door: Door, made: Path) -> None:
    """Put what the door finds into an empty place."""
    place.mkdir()
    for name, here in door.before:
        shutil.copytree(made / name, place / here)


def filled(command: Sequence[str], made: Path, here: Path) -> list[str]:
    return [part.format(made=made, here=here) for part in command]
