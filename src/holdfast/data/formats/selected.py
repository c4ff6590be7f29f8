"""A selection applied to episodes that were read: other keys as state and action, and a choice of episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import DataError, UnknownNameError
from ...types import Episodes
from ..episodes import select
from ..selection import Selection
from .keys import both_named, resolve
from .layout import INDEXED

QUANTITIES = ("action", "observation.state", "observation.environment_state", "state")


@dataclass(frozen=True)
class _Part:
    """Some coordinates: rows `[rows, k]`, their names, and the values after the last action, if recorded."""

    rows: Tensor
    names: tuple[str, ...]
    final: Tensor | None = None


def remapped(episodes: Episodes, selection: Selection) -> Episodes:
    """Episodes whose state and action are the chosen keys: quantities, parts of them by name, and columns.

    Raises:
        UnknownNameError: The data have no such key; the message lists the known ones.
    """
    parts, meta = _parts_of(episodes), dict(episodes.meta)
    changes = dict[str, object]()
    names = {quantity: labels for quantity, labels in episodes.names.items() if quantity not in QUANTITIES}
    kept = {name: labels for name, labels in episodes.names.items() if name in QUANTITIES}
    used, unused = list[str](), list[str]()
    if selection.state is not None:
        keys = resolve(selection.state, list(parts), "state")
        rows, labels, final = _beside([parts[key] for key in keys])
        changes |= {"states": rows, "final_states": final, "observations": None}
        kept = {"action": kept["action"]} if "action" in kept else {}
        kept |= {"state": labels, "observation.state": labels}
        unused += [name for name in QUANTITIES[1:] if name in parts and name not in keys]
        used += keys
    observed, taken = list(used), ["action"]
    if selection.action is not None:
        keys = taken = resolve(selection.action, list(parts), "action")
        changes["actions"], kept["action"], _ = _beside([parts[key] for key in keys])
        unused += ["action"] if "action" not in keys else []
        used += keys
        # the bounds are those of the recorded actions
        meta.pop("action_bounds", None)
    columns = {name: values for name, values in episodes.columns.items() if name not in used}
    if said := both_named(observed, taken):
        meta["reading_notes"] = [*meta.get("reading_notes", ()), *said]
    if unused:
        meta["features_left_out"] = [*meta.get("features_left_out", ()), *unused]
    names = {name: labels for name, labels in names.items() if name in columns}
    return replace(episodes, **changes, columns=columns, names={**names, **kept}, meta=meta)


def picked(episodes: Episodes, selection: Selection, lists: Mapping[str, Sequence[int]] | None = None) -> Episodes:
    """The chosen cameras and episodes.

    Args:
        episodes: What was read.
        selection: Its cameras, episodes, filter key and task are applied.
        lists: Episodes of each filter key that the format stores beside the data.

    Raises:
        UnknownNameError: The data have no such camera, filter key or task.
        DataError: No episode is left.
    """
    episodes = _with_cameras(episodes, selection.cameras)
    chosen = selection.indices(len(episodes))
    if selection.filter_key is not None:
        kept = set(_filtered(episodes, selection.filter_key, lists or {}))
        chosen = [number for number in chosen if number in kept]
    if selection.task is not None:
        tasks = episodes.tasks or ()
        if selection.task not in tasks:
            raise UnknownNameError("task", selection.task, sorted(set(tasks)))
        chosen = [number for number in chosen if tasks[number] == selection.task]
    if not chosen:
        raise DataError("the selection leaves no episode. Choose other --episodes, --filter-key or --task.")
    return episodes if chosen == list(range(len(episodes))) else select(episodes, chosen)


def _with_cameras(episodes: Episodes, wanted: Sequence[str] | None) -> Episodes:
    if wanted is None:
        return episodes
    missing = set(map(str, episodes.meta.get("cameras_missing") or ()))
    if lost := [name for name in wanted if name in missing and name not in episodes.cameras]:
        raise DataError(f"the files of the camera {lost[0]} are missing. Fetch them, or leave out this camera.")
    if wanted and not episodes.cameras:
        raise DataError(f"the data hold no pictures, and so no camera {wanted[0]!r}. Omit --camera (cameras=).")
    names = resolve(wanted, list(episodes.cameras), "camera") if wanted else []
    return replace(episodes, cameras={name: episodes.cameras[name] for name in names})


def _filtered(episodes: Episodes, key: str, lists: Mapping[str, Sequence[int]]) -> list[int]:
    flags = {name: marked for name in episodes.episode_columns if (marked := flagged(episodes, name)) is not None}
    by_flag = {name: list(map(int, values.nonzero().flatten())) for name, values in flags.items()}
    known: dict[str, Sequence[int]] = {**by_flag, **lists}
    if key not in known:
        raise UnknownNameError("filter key", key, known)
    return list(known[key])


def flagged(episodes: Episodes, name: str) -> Tensor | None:
    """An episode column as one flag an episode; `None` if its values are not all 0 or 1."""
    values = episodes.episode_columns[name]
    if not isinstance(values, Tensor) or not bool(((values == 0) | (values == 1)).all()):
        return None
    return values == 1


def _parts_of(episodes: Episodes) -> dict[str, _Part]:
    """Every key that can be a state or an action: quantities, columns, groups of names, names."""
    final = episodes.final_states
    seen = episodes.observed
    whole: dict[str, tuple[Tensor, Tensor | None]] = {
        "action": (episodes.actions, None),
        "observation.state": (seen.state, None),
    }
    if seen.environment_state is not None:
        whole["observation.environment_state"] = (seen.environment_state, None)
    whole["state"] = (episodes.states, final)
    if seen.state is episodes.states or torch.equal(seen.state, episodes.states):
        whole["observation.state"] = whole["state"]
    found = dict[str, _Part]()
    for name, (rows, last) in whole.items():
        found[name] = _Part(rows, _labels(episodes, name, rows), last)
    for name, rows in episodes.columns.items():
        table = rows if rows.ndim == 2 else rows[:, None]
        found[name] = _Part(table, _labels(episodes, name, table))
    for name in list(whole):
        _add_named(found, found[name])
    return found


def _add_named(found: dict[str, _Part], part: _Part) -> None:
    """The groups of a quantity's coordinates, `eef_pos` for eef_pos_0 and eef_pos_1, and each coordinate."""
    groups = dict[str, list[int]]()
    for place, name in enumerate(part.names):
        groups.setdefault(name, []).append(place)
        if match := INDEXED.fullmatch(name):
            groups.setdefault(match[1], []).append(place)
    for name, places in groups.items():
        if name not in found:
            last = None if part.final is None else part.final[:, places]
            found[name] = _Part(part.rows[:, places], tuple(part.names[place] for place in places), last)


def _labels(episodes: Episodes, name: str, rows: Tensor) -> tuple[str, ...]:
    fallback = {"observation.state": episodes.names.get("state")}.get(name)
    known = episodes.names.get(name) or fallback
    return tuple(known) if known and len(known) == rows.shape[1] else tuple(f"{name}_{i}" for i in range(rows.shape[1]))


def _beside(parts: Sequence[_Part]) -> tuple[Tensor, tuple[str, ...], Tensor | None]:
    rows = torch.cat([_floating(part.rows) for part in parts], dim=1)
    names = tuple(name for part in parts for name in part.names)
    finals = [part.final for part in parts if part.final is not None]
    final = torch.cat(finals, dim=1).to(rows.dtype) if len(finals) == len(parts) else None
    unique = names if len(set(names)) == len(names) else tuple(f"{name}_{i}" for i, name in enumerate(names))
    return rows, unique, final


def _floating(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.double()
