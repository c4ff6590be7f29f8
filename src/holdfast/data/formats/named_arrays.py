"""Arrays by name, of npz files, folders of npy files and tables of text: roles by usual names, or by a selection.

The names that are read are `ACTIONS`, `STATES`, `REST` and `NAMES`, the first that is present, also with the ending
`_seq`; other arrays [rows] or [rows, ·] become columns. Episodes end as `ends` tells, or are the first axis (`blocks`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import DataError
from ...types import Episodes, Pictures
from ..depth import measured_size
from ..measured import Held, Measured
from ..pictures import Frames, has_channels, in_order
from ..selection import Selection
from . import stored
from .annotations import is_positive
from .blocks import MASKS, PADS, Rows, rows_of_blocks
from .clocks import in_seconds
from .fitting import check_rows, ends_in, no_pictures, said_of, step_by_rate
from .keyed import Keyed, Loaded, entry_of
from .keys import camera_names, listing, resolve
from .masks import check_rows_of_mask, cut_by_mask, mask_in
from .texts import texts_of

ACTIONS = ("actions", "action", "actions_seq", "action_seq")
STATES = (
    *("states", "state", "observation.state", "obs", "observation", "observations"),
    *("observations_seq", "obs_seq", "states_seq", "state_seq"),
)
# optional arrays: the name in `arrays`, by the names that files use
REST = {
    "final_states": "final_states",
    "observation.state": "observation.state",
    "observation.environment_state": "observation.environment_state",
    "rewards": "rewards",
    "reward": "rewards",
    "timestamps": "timestamps",
    "timestamp": "timestamps",
}
NAMES = {"state_names": "state", "action_names": "action"}


def episodes_of_arrays(found: Mapping[str, NDArray[Any]], source: str, selection: Selection) -> Episodes:
    """Episodes of named arrays.

    Raises:
        DataError: Names are not enough, or shapes do not fit.
        UnknownNameError: A chosen key does not exist.
    """
    if selection.maps_keys:
        return keyed_of_arrays(found, source, selection).episodes(selection)
    action, state = _keys_of(found, source, selection)
    return _by_roles(_rows(found, action[0], source), action[0], state[0], source, found)


def keyed_of_arrays(found: Mapping[str, NDArray[Any]], source: str, selection: Selection) -> Keyed:
    """Named arrays by key.

    Raises:
        DataError: Names are not enough, or shapes do not fit.
        UnknownNameError: A chosen key does not exist.
    """
    action, state = _keys_of(found, source, selection)
    return _keyed(_rows(found, action[0], source), action, state, source, found)


def _keys_of(found: Mapping[str, NDArray[Any]], source: str, selection: Selection) -> tuple[list[str], list[str]]:
    """The keys of the action and of the state."""
    _check_named(found, selection, source)
    return _key_of(found, selection.action, ACTIONS, "action"), _key_of(found, selection.state, STATES, "state")


def _check_named(found: Mapping[str, NDArray[Any]], selection: Selection, source: str) -> None:
    """Refuse arrays of which none is named as the action or the state usually is, where no key was chosen."""
    wanted = {"action": (selection.action, ACTIONS), "state": (selection.state, STATES)}
    lost = [what for what, (keys, usual) in wanted.items() if keys is None and not set(usual) & found.keys()]
    if lost:
        names = " and ".join(f"{what}s under one of {', '.join(wanted[what][1])}" for what in lost)
        options = " ".join(f"--{what} KEY [KEY ...]" for what in reversed(lost))
        raise DataError(
            f"{source}: expected {names}; found {listing(found) if found else 'no arrays'}. Give the arrays: "
            f"{options}, rename them, or make episodes yourself with `episodes_from_arrays`."
        )


def _key_of(
    found: Mapping[str, NDArray[Any]], wanted: Sequence[str] | None, usual: Sequence[str], option: str
) -> list[str]:
    if wanted is not None:
        return resolve(wanted, [name for name, values in found.items() if values.ndim], option)
    return [next(name for name in usual if name in found)]


def _rows(found: Mapping[str, NDArray[Any]], action: str, source: str) -> Rows:
    """All arrays as rows, with the lengths of the episodes."""
    values = found[action]
    masked = next((name for name in (*MASKS, *PADS) if name in found and found[name].ndim == 2), None)
    if values.ndim >= 3 or (masked and values.ndim == 2 and values.shape == found[masked].shape):
        blocks = dict(found) if values.ndim >= 3 else {**found, action: values[..., None]}
        _check_blocks(blocks, action, source)
        return rows_of_blocks(blocks, action, source)
    if not values.ndim:
        raise DataError(f"{source}: {action} holds one number, expected one row per step.")
    ends = ends_in(found, action, source)
    return _unmasked(Rows(arrays=found, lengths=ends.lengths, used=ends.used, notes=ends.notes), len(values), source)


def _unmasked(rows: Rows, total: int, source: str) -> Rows:
    """The rows inside a mask with one flag a row, if there is one."""
    name = mask_in(rows.arrays)
    if name is None or not check_rows_of_mask(name, rows.arrays[name].shape, total, len(rows.lengths), source):
        return rows
    cut, aside = cut_by_mask(rows.arrays[name], name, rows.lengths)
    if cut is None:
        return replace(rows, notes=(*rows.notes, aside))
    used, notes = (*rows.used, name), (*rows.notes, *([cut.note] if cut.note else []))
    by_row = {key: values[cut.kept] for key, values in rows.arrays.items() if values.shape[:1] == (total,)}
    return replace(rows, arrays={**rows.arrays, **by_row}, lengths=cut.lengths, used=used, notes=notes)


def _check_blocks(found: Mapping[str, NDArray[Any]], action: str, source: str) -> None:
    """Refuse arrays of a known role that do not have the episodes and steps of the actions."""
    count, steps = found[action].shape[:2]
    for name in (*STATES, *REST):
        values = found.get(name)
        known = (steps, steps + 1) if name in STATES and "final_states" not in found else (steps,)
        if values is None or name == "final_states":
            continue
        turned = values.ndim > 1 and values.shape[1] == steps and values.shape[0] in (count, count + 1)
        if not turned and (values.ndim < 2 or values.shape[0] != count or values.shape[1] not in known):
            raise DataError(
                f"{source}: actions {list(found[action].shape)} and {name} {list(values.shape)} do not fit. Expected "
                "[episodes, steps, ·] for both, states optionally with one step more."
            )


def _by_roles(rows: Rows, action: str, state: str, source: str, found: Mapping[str, NDArray[Any]]) -> Episodes:
    """Episodes where every array has a usual name."""
    chosen = {action: "actions", state: "states"}
    chosen |= {name: role for name, role in REST.items() if name in found and name not in chosen}
    by_role = {role: rows.arrays[name] for name, role in chosen.items()}
    if state in rows.final:
        by_role["final_states"] = rows.final[state]
    total, count = int(rows.lengths.sum()), len(rows.lengths)
    for name, role in chosen.items():
        if role != "final_states":
            check_rows(rows.arrays[name], name, total, count, source)
    tensors = {role: stored.to_rows(values, role, source) for role, values in by_role.items()}
    tensors |= {role: tensors[role].flatten() for role in stored.LISTS if role in tensors}
    (step, of_step, said), texts = _step(found, source), texts_of(_texts(rows, chosen), rows.lengths, source)
    notes = [*rows.notes, *said_of(rows.arrays[action], action), *said_of(rows.arrays[state], state)]
    if "timestamps" in tensors:
        name = next(name for name, role in chosen.items() if role == "timestamps")
        times, note = in_seconds(tensors["timestamps"].double().numpy(), rows.lengths, name, step)
        tensors["timestamps"] = torch.as_tensor(times) if note else tensors["timestamps"]
        notes += [note] if note else []
    if "observation.environment_state" in tensors:
        tensors.setdefault("observation.state", tensors["states"])
    used = {*chosen, *rows.used, *NAMES, *of_step, *texts.used}
    further = {name: rows.arrays[name] for name in found.keys() - used}
    shown = {**_measured(further, total), **_pictures(further, total)}
    further = {name: values for name, values in further.items() if name not in shown}
    columns, rest = stored.as_columns(further, total)
    per_episode, rest = stored.as_episode_columns({name: further[name] for name in rest}, count)
    per_episode |= stored.as_episode_columns(texts.by_episode, count)[0]
    names, odd = _names(found)
    notes += [*odd, *said, *texts.notes, *no_pictures(further, sorted(rest))]
    description = {**stored.NOTHING, "names": names, "meta": _notes(rest, notes), "dt": step}
    description["tasks"] = texts.tasks
    lengths = torch.as_tensor(rows.lengths)
    return stored.assemble(tensors | columns | per_episode, lengths, description, source, cameras=_short(shown))


def _texts(rows: Rows, chosen: Mapping[str, str] | Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays that may hold texts or their numbers."""
    return {name: values for name, values in rows.arrays.items() if name not in (*chosen, *rows.used, *NAMES)}


def _pictures(found: Mapping[str, NDArray[Any]], total: int) -> dict[str, Pictures]:
    """Arrays of bytes that are pictures, by name."""
    by_row = {name: values for name, values in found.items() if values.ndim == 4 and len(values) == total}
    shown = {name: values for name, values in by_row.items() if values.dtype == np.uint8 and has_channels(values.shape)}
    return {name: in_order(Frames(torch.as_tensor(values))) for name, values in shown.items()}


def _measured(found: Mapping[str, NDArray[Any]], total: int) -> dict[str, Pictures]:
    """Arrays that are pictures of measurements, by name."""
    by_row = {name: values for name, values in found.items() if values.ndim > 2 and len(values) == total}
    sizes = {name: measured_size(name, values.shape[1:], values.dtype) for name, values in by_row.items()}
    return {name: Measured(Held(by_row[name], (*size, 1))) for name, size in sizes.items() if size is not None}


def _short(cameras: Mapping[str, Pictures]) -> dict[str, Pictures]:
    """Cameras by their short names."""
    return {short: cameras[name] for name, short in camera_names(list(cameras)).items()}


def _keyed(
    rows: Rows, action: Sequence[str], state: Sequence[str], source: str, found: Mapping[str, NDArray[Any]]
) -> Keyed:
    """The arrays by key, for a selection."""
    total, count = int(rows.lengths.sum()), len(rows.lengths)
    for name in (*state, *action):
        check_rows(rows.arrays[name], name, total, count, source)
    step, of_step, said = _step(found, source)
    texts = texts_of(_texts(rows, [*state, *action]), rows.lengths, source)
    used = [*rows.used, *texts.used, *NAMES, *of_step]
    by_row = {name: values for name, values in rows.arrays.items() if values.ndim and len(values) == total}
    by_row = {name: values for name, values in by_row.items() if name not in {*texts.used} or name in (*state, *action)}
    others = {name: values for name, values in rows.arrays.items() if name not in (*by_row, *used)}
    shown = {name: values for name, values in by_row.items() if name not in (*rows.used, *state, *action)}
    cameras = _pictures(shown, total)
    by_episode = {name: values for name, values in others.items() if values.ndim == 1 and len(values) == count}
    roles = {role: name for role, name in REST.items() if role in stored.LISTS and name in by_row}
    entries = {name: entry_of(values) for name, values in by_row.items() if name not in cameras}
    measured = _measured({name: values for name, values in by_row.items() if name not in rows.used}, total)
    rest = {*others, *by_row} - {*by_episode, *cameras, *measured, *state, *action}
    odd = [name for name, one in entries.items() if one.dtype.kind not in "fiub" or one.dtype.itemsize > 8]
    return Keyed(
        source=source,
        lengths=rows.lengths,
        entries=entries,
        cameras=_short(cameras),
        load=lambda keys: {key: Loaded(rows.arrays[key], rows.final.get(key)) for key in keys},
        action=action,
        state=state,
        roles={role: name for role, name in roles.items() if by_row[name].size == total},
        used=used,
        by_episode={name: list(values) for name, values in by_episode.items()} | texts.by_episode,
        measured=measured,
        tasks=texts.tasks,
        dt=step,
        left_out=[name for name in others if name not in by_episode],
        unfit={name: stored.no_numbers(by_row[name], name) for name in odd},
        notes=[*rows.notes, *said, *texts.notes, *no_pictures(rows.arrays, sorted(rest))],
    )


def _names(found: Mapping[str, NDArray[Any]]) -> tuple[dict[str, list[str]], list[str]]:
    """Names of the coordinates, and a sentence where one stands for several."""
    names, notes = dict[str, list[str]](), list[str]()
    for name, quantity in NAMES.items():
        if name not in found:
            continue
        given = [_text(item) for item in found[name].ravel()]
        if twice := [one for one in dict.fromkeys(given) if given.count(one) > 1]:
            notes.append(f"{name} holds {', '.join(twice)} more than once: numbers are added to its names.")
            given = [f"{one}_{place}" for place, one in enumerate(given)]
        names[quantity] = given
    return names, notes


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _step(found: Mapping[str, NDArray[Any]], source: str) -> tuple[float | None, tuple[str, ...], list[str]]:
    """Seconds per step by `dt`, else by a rate, with the names of these arrays and sentences on them."""
    if "dt" not in found:
        return step_by_rate(found)
    values = found["dt"]
    if values.size != 1 or not is_positive(values.item()):
        got = repr(values.item()) if values.size == 1 else f"an array of shape {list(values.shape)}"
        raise DataError(
            f"{source}: dt must be one number above 0, the seconds per step; got {got:.60}. Write it again so, or "
            "leave it out if the steps are not equally long."
        )
    return float(values.item()), ("dt",), []


def _notes(rest: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    found = {"features_left_out": list(rest), "reading_notes": list(notes)}
    return {name: value for name, value in found.items() if value}


def has_usual_names(names: Sequence[str]) -> bool:
    """Whether one of the arrays is named as actions usually are."""
    return bool(set(names) & set(ACTIONS))
