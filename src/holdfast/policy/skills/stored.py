"""A skill library on disk: `skills.json`, and the selector beside it.

    LIBRARY/skills.json             names, run folders relative to this file, termination conditions, every, overlap
    LIBRARY/selector.safetensors    the selector's network, if there is one

`skills.json` is meant to be read and edited. Nothing in a library is a pickle, and nothing that it names is run.
"""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch

from ...atomic import write_atomically
from ...errors import HoldfastError, OutputError, RunError, at_least
from ...files import as_object, read_json
from ...schema import from_plain, to_plain
from ...sealed import header_of, layouts, read_sealed, sealed
from ..loading import load
from ..stored import LIBRARY_FILE
from .ends import Declared, LearnedEnd
from .library import Skill, SkillLibrary
from .planning import SkillPlanner
from .selector import Selector, SelectorNet, SelectorSizes, selector_layouts
from .skill_policy import SkillPolicy
from .switching import Handover

SELECTOR_FILE = "selector.safetensors"
VERSION = 1
WAY_OUT = "Write it again with: holdfast skills"


@dataclass(frozen=True, kw_only=True)
class StoredSkill:
    """Entry of a skill.

    Attributes:
        name: Its name.
        run: Run folder of its policy, relative to `skills.json`, with forward slashes.
        ends: Termination conditions, of which one must hold.
    """

    name: str
    run: str
    ends: tuple[Declared, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredLibrary:
    """Content of `skills.json`.

    Attributes:
        version: Version of the file.
        skills: The skills.
        every: Control steps between two decisions of the selector while a skill runs; `None` decides only where one
            ends.
        overlap: Control steps for which the old chunk goes on after a switch.
    """

    version: int
    skills: tuple[StoredSkill, ...]
    every: int | None = None
    overlap: int = 2


def is_library(path: str | Path) -> bool:
    """Whether a path is a folder with `skills.json`, or that file."""
    place = Path(path)
    return (place / LIBRARY_FILE).is_file() or (place.name == LIBRARY_FILE and place.is_file())


def library_bytes(
    folder: Path, runs: Mapping[str, Path], ends: Mapping[str, tuple[Declared, ...]], *, every: int | None, overlap: int
) -> bytes:
    """Content of the `skills.json` of a folder.

    Args:
        folder: Folder that will hold it.
        runs: Run folder of each skill.
        ends: Termination conditions of each skill.
        every: Control steps between two decisions.
        overlap: Control steps for which an old chunk goes on.

    Raises:
        OutputError: A run folder cannot be reached by a relative path.
    """
    entries = tuple(
        StoredSkill(name=name, run=_relative(run, folder), ends=ends.get(name, ())) for name, run in runs.items()
    )
    stored = StoredLibrary(version=VERSION, skills=entries, every=every, overlap=overlap)
    return json.dumps(_without_kind(to_plain(stored)), indent=1).encode()


def selector_bytes(selector: Selector) -> bytes:
    """Content of the file of a selector."""
    about = {
        "skills": list(selector.skills),
        "observed": list(selector.observed),
        "sizes": to_plain(selector.network.sizes),
    }
    return sealed(selector.network.state_dict(), about)


def save_library(
    folder: str | Path,
    runs: Mapping[str, str | Path],
    *,
    selector: Selector | None = None,
    ends: Mapping[str, tuple[Declared, ...]] | None = None,
    every: int | None = None,
    overlap: int = 2,
    overwrite: bool = False,
) -> SkillPolicy | SkillLibrary:
    """Write a skill library; returns what can be run: a policy where there is a selector, else the library.

    Args:
        folder: Folder to write to.
        runs: Run folder of each skill, in their order.
        selector: Trained selector.
        ends: Termination conditions of each skill. Default: learned ones where there is a selector, else none.
        every: Control steps between two decisions.
        overlap: Control steps for which an old chunk goes on after a switch.
        overwrite: Replace a library in the folder.

    Raises:
        OutputError: The folder holds a library and `overwrite` is not set, or a run folder has no relative path.
        RunError: A run folder is incomplete or damaged.
        InterfaceError: Two skills have other actions or observations.
    """
    place = Path(folder)
    if is_library(place) and not overwrite:
        raise OutputError(f"{place} holds a skill library. Choose another folder, or give overwrite=True.")
    learned: tuple[Declared, ...] = () if selector is None else (LearnedEnd(),)
    chosen = dict.fromkeys(runs, learned) if ends is None else ends
    places = {name: Path(run) for name, run in runs.items()}
    library = SkillLibrary(tuple(Skill(name, load(run), chosen.get(name, ())) for name, run in places.items()))
    made = library if selector is None else _policy(library, selector, every=every, overlap=overlap)
    place.mkdir(parents=True, exist_ok=True)
    if selector is not None:
        write_atomically(place / SELECTOR_FILE, selector_bytes(selector))
    elif (place / SELECTOR_FILE).exists():
        (place / SELECTOR_FILE).unlink()
    write_atomically(place / LIBRARY_FILE, library_bytes(place, places, chosen, every=every, overlap=overlap))
    return made


def skill_folders(path: str | Path) -> dict[str, Path]:
    """Run folder of each skill of a library on disk.

    Raises:
        RunError: The library is incomplete, damaged or of a newer version.
    """
    folder, stored = _stored(Path(path))
    return {entry.name: folder / entry.run for entry in stored.skills}


def load_library(path: str | Path, *, device: torch.device | str = "cpu") -> SkillLibrary:
    """The skills of a library on disk.

    Raises:
        RunError: The library, or the run folder of a skill, is incomplete, damaged or of a newer version.
        InterfaceError: Two skills have other actions or observations.
    """
    folder, stored = _stored(Path(path))
    return _library(folder, stored, device)


def load_skills(
    path: str | Path,
    planner: SkillPlanner | None = None,
    *,
    every: int | None = None,
    handover: Handover | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> SkillPolicy:
    """The policy of a skill library on disk.

    Args:
        path: Folder of the library, or its `skills.json`.
        planner: Function that chooses the skills. Default: the library's selector.
        every: Control steps between two decisions. Default: as stored.
        handover: How a skill takes over. Default: by a prefix or a blend, with the stored overlap.
        device: Device of the weights.
        seed: Random seed of the policy.

    Raises:
        RunError: The library is incomplete, damaged or of a newer version, or has no selector and no planner is given.
        InterfaceError: Two skills have other actions or observations.
    """
    folder, stored = _stored(Path(path))
    selector = _selector(folder) if (folder / SELECTOR_FILE).exists() else None
    if planner is None and selector is None:
        raise RunError(
            f"{folder} has no selector (selector.safetensors is missing), and no planner was given. Fit a selector to "
            "labelled segments (holdfast skills DATA), or give load_skills a function of observation and history."
        )
    return SkillPolicy(
        _library(folder, stored, device),
        planner or cast(Selector, selector),
        every=stored.every if every is None else every,
        handover=handover or Handover(overlap=stored.overlap),
        selector=selector,
        seed=seed,
    )


def _policy(library: SkillLibrary, selector: Selector, *, every: int | None, overlap: int) -> SkillPolicy:
    return SkillPolicy(library, selector, every=every, handover=Handover(overlap=overlap))


def _library(folder: Path, stored: StoredLibrary, device: torch.device | str) -> SkillLibrary:
    skills = list[Skill]()
    for entry in stored.skills:
        try:
            skills.append(Skill(entry.name, load(folder / entry.run, device=device), entry.ends))
        except RunError as error:
            raise RunError(f"{error} (the skill {entry.name!r:.80} of {folder / LIBRARY_FILE})") from error
    return SkillLibrary(tuple(skills))


def _stored(path: Path) -> tuple[Path, StoredLibrary]:
    folder = path.parent if path.name == LIBRARY_FILE else path
    file = folder / LIBRARY_FILE
    if not file.is_file():
        raise RunError(f"{folder} is no skill library: {LIBRARY_FILE} is missing. Make one with: holdfast skills DATA")
    plain = as_object(read_json(file, error=RunError, way_out=WAY_OUT, unique=True), str(file), error=RunError)
    if "version" not in plain:
        raise RunError(f'{file} gives no version. Add "version": {VERSION} if you wrote it yourself. {WAY_OUT}')
    if plain["version"] != VERSION:
        raise RunError(
            f"{file} is of version {plain['version']!r:.40}, but this holdfast reads version {VERSION}. Upgrade "
            f"holdfast, or write it again with: holdfast skills"
        )
    entries = plain.get("skills")
    for number, entry in enumerate(cast("list[Any]", entries) if isinstance(entries, list) else []):
        name = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
        with _in_file(file, f"skill {number} ({name!r:.80}): "):
            from_plain(StoredSkill, entry)
    with _in_file(file):
        stored = from_plain(StoredLibrary, plain)
        Handover(overlap=stored.overlap)
        at_least(1, **({} if stored.every is None else {"every": stored.every}))
    if not stored.skills:
        raise RunError(f"{file} lists no skills. {WAY_OUT}")
    names = [entry.name for entry in stored.skills]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RunError(f"{file}: several skills have the name {twice!r:.80}. Give each a name of its own.")
    for number, entry in enumerate(stored.skills):
        if not entry.name or not entry.run:
            raise RunError(f"{file}: skill {number} ({entry.name!r:.80}) has an empty name or run folder. Fill it in.")
        if PurePosixPath(entry.run).is_absolute() or Path(entry.run).is_absolute():
            raise RunError(
                f"{file}: the run folder of {entry.name!r:.80} is the absolute path {entry.run!r:.200}. Write it "
                "relative to this file, so that the library can be moved."
            )
    return folder, stored


@contextmanager
def _in_file(file: Path, where: str = "") -> Generator[None]:
    """Errors of values become errors of the file that holds them."""
    try:
        yield
    except HoldfastError as error:
        reason = str(error).replace("recipe.", "").replace("recipe", "the entry").removesuffix(".")
        end = "" if reason.endswith("?") else "."
        raise RunError(
            f"{file} is not valid: {where}{reason}{end} Correct it there; docs/actions.md lists the fields."
        ) from error


def _selector(folder: Path) -> Selector:
    path = folder / SELECTOR_FILE
    try:
        about = header_of(path)
        sizes = from_plain(SelectorSizes, about.get("sizes"))
        names = _names(about.get("skills"), sizes.n_skills, "skill")
        observed = _names(stored, sizes.n_observed, "coordinate") if (stored := about.get("observed")) else ()
        # the header's shapes before a network of the declared sizes is built
        if {name: layout.shape for name, layout in layouts(path).items()} != selector_layouts(sizes):
            raise RunError("its tensors are not those of a selector of these sizes")
        found = read_sealed(path)
        found.check()
        if broken := found.not_finite():
            raise RunError(f"{broken[0]} holds numbers that are not finite")
        network = SelectorNet(sizes)
        network.load_state_dict(dict(found.tensors))
    except (HoldfastError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}). {WAY_OUT}") from error
    return Selector(network.eval().requires_grad_(False), names, observed)


def _names(stored: Any, count: int, what: str) -> tuple[str, ...]:
    """Names of the outputs or inputs of a selector.

    Raises:
        RunError: There is not one different name for each.
    """
    names = cast("list[Any]", stored) if isinstance(stored, list) else []
    if len(names) != count or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise RunError(f"its header does not give each {what} a name of its own")
    return tuple(names)


def _relative(run: Path, folder: Path) -> str:
    try:
        found = os.path.relpath(run.resolve(), folder.resolve())
    except ValueError as error:
        raise OutputError(
            f"{run} and {folder} are on different drives, so that no relative path leads from one to the other. Choose "
            "another --out."
        ) from error
    return Path(found).as_posix()


def _without_kind(plain: Any) -> Any:
    """Plain values without the names of classes that have no alternatives, which a reader of the file need not know."""
    found = {name: value for name, value in plain.items() if name != "kind"}
    found["skills"] = [{name: value for name, value in one.items() if name != "kind"} for one in found["skills"]]
    return found
