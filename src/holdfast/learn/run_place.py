"""Place of a run: which files belong to it, whether it has begun, and when a new run may replace it."""

import re
from pathlib import Path

from ..atomic import check_movable, leaves, refuse_links
from ..errors import OutputError

FINETUNED = "finetune.json"
"""File that marks a run as fine-tuned."""

_PICTURES = "errors|tables|drift|perturbation|imitation|continuity|novelty|sweep_[a-z_]+"
_OF_RUN = re.compile(
    r"(seed\d+/)?("
    r"(recipe|scale|interface|finetune)\.json|(model|tokenizer|residual)\.safetensors|metrics(\.damaged-\d+)?\.jsonl"
    r"|(train|finetune)_state(/state\.safetensors)?|residual_state(/(plans|state)\.safetensors)?"
    rf"|(evaluation|diagnosis)(/(result\.json|index\.html|({_PICTURES})\.png))?"
    r")|seed\d+"
)

_RESULTS = re.compile(r"(^|/)(evaluation|diagnosis)(/|$)")


def is_of_run(relative: str) -> bool:
    """Whether a path in a run folder, or in a folder of several seeds, belongs to the run.

    The results of `evaluate` and `diagnose` describe the run and go with it; notes and all other files stay.

    >>> [is_of_run(path) for path in ("recipe.json", "seed3/diagnosis/index.html", "notes.txt", "diagnosis/notes.txt")]
    [True, True, False, False]
    """
    return _OF_RUN.fullmatch(relative) is not None


def has_begun(folder: Path) -> bool:
    """Whether a run folder has a checkpoint, or weights whose training state was deleted."""
    return any((folder / name).exists() for name in ("train_state/state.safetensors", "model.safetensors"))


def may_be_lost(folder: Path) -> bool:
    """Whether a folder holds no checkpoint, neither of a run nor of one of several seeds."""
    return not any(map(has_begun, (folder, *seed_folders(folder))))


def check_run(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a new run may not replace.

    Raises:
        OutputError: The folder contains a run and `overwrite` was not given, or is not a run folder.
    """
    if not folder.exists() or (folder.is_dir() and not any(leaves(folder))):
        return
    seeds = seed_folders(folder)
    if not (folder / "recipe.json").is_file() and not seeds:
        raise OutputError(f"{folder} exists already and is not a run folder. Choose another folder.")
    # a run that was stopped before its first checkpoint has nothing to lose
    if may_be_lost(folder):
        return
    if not overwrite:
        if seeds:
            raise OutputError(
                f"{folder} holds the runs of {len(seeds)} seeds. Choose another folder, or replace all of them with "
                "--overwrite."
            )
        raise OutputError(f"{folder} exists already. Choose another folder, or replace the run with --overwrite.")
    check_movable(folder)


def check_parts(folder: Path) -> None:
    """Refuse to continue a run of which a part is a symbolic link: its training must not read or write elsewhere.

    The results of `evaluate` and `diagnose` may be links, because a training does not touch them.

    Raises:
        OutputError: A part of the run, or of one of its seeds, is a symbolic link.
    """
    refuse_links(folder, (part for part in leaves(folder) if is_of_run(part) and not _RESULTS.search(part)))


def check_seeds(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that new runs of several seeds may not replace as a whole.

    Raises:
        OutputError: The folder contains runs and `overwrite` was not given, or it holds no runs but other files.
    """
    found = [path for path in (folder, *seed_folders(folder)) if (path / "recipe.json").is_file()]
    if not overwrite and (begun := [path for path in found if has_begun(path)]):
        raise OutputError(f"{begun[0]} exists already. Choose another --out, or give --overwrite to replace all runs.")
    if not found:
        check_run(folder, overwrite=overwrite)
    elif not may_be_lost(folder):
        check_movable(folder)


def seed_folder(folder: Path, seed: int) -> Path:
    """Run folder of one seed in a folder of several.

    >>> seed_folder(Path("runs"), 3).as_posix()
    'runs/seed3'
    """
    return folder / f"seed{seed}"


def seed_folders(folder: Path) -> list[Path]:
    """Run folders in a folder of several seeds, in the order of seeds; empty if there are none."""
    found = [path for path in folder.glob("seed*") if path.name[4:].isdecimal() and (path / "recipe.json").is_file()]
    return sorted(found, key=lambda path: int(path.name[4:]))
