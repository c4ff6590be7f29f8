"""The expert's flights from standard starts, kept on disk, because they take nine tenths of an evaluation.

    HOLDFAST_CACHE = a folder      kept there
    HOLDFAST_CACHE = off           not kept
    not set                        in $XDG_CACHE_HOME/holdfast, by default ~/.cache/holdfast

A flight is kept under the digest of everything that it depends on: the system with its parameters and cost, the
expert's options, the starts, the number of steps, the source code of `holdfast.control`, PyTorch's version and number
of threads, and the instructions of the processor. Each file carries these again, and a checksum of its numbers; nothing
is unpickled. All files together take at most `MOST_BYTES`; those not used for the longest time are removed.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .. import control
from ..cache import VARIABLE, cache_folder, keep
from ..control import Linear, MpcExpert, Quadrotor2D
from ..errors import CacheWarning, DataError
from ..sealed import digest_of, read_sealed, sealed
from ..types import Trajectory

MOST_BYTES = 256 * 2**20
"""Limit of all files together; the flights of an evaluation of 50 episodes of the quadrotor take 0.3 MiB."""


def expert_flights(
    expert: MpcExpert,
    starts: Float[Tensor, "b n"],
    steps: int,
    *,
    progress: Callable[[int], None] = lambda step: None,
) -> Trajectory:
    """`expert.rollout(starts, steps)`, read from disk where the same was computed before.

    Only experts of built-in systems on a CPU are kept: what a system of your own depends on is not known.
    """
    folder, key = kept_in(), _key(expert, starts, steps)
    if folder is None or key is None:
        return expert.rollout(starts, steps, progress=progress)
    file = folder / f"{digest_of(key)}.safetensors"
    found = _read(file, key, starts, steps, expert.task.n_actions)
    if found is None:
        found = expert.rollout(starts, steps, progress=progress)
        _keep(file, key, found)
    else:
        progress(steps)
    return found


def kept_in() -> Path | None:
    """Folder in which flights are kept; `None` if they are not."""
    return cache_folder("flights")


def _key(expert: MpcExpert, starts: Tensor, steps: int) -> dict[str, Any] | None:
    """All that the flights depend on, as JSON values; `None` where it is not known."""
    code = _code()
    known = type(expert) is MpcExpert and type(expert.task) in (Linear, Quadrotor2D) and starts.device.type == "cpu"
    if not known or code is None:
        return None
    return {
        "kind": "expert flights, version 1",
        "system": type(expert.task).__name__,
        "parameters": _plain_fields(expert.task),
        "expert": _plain_fields(expert, without="task"),
        "starts": _plain(starts),
        "steps": steps,
        "code": code,
        "torch": [torch.__version__, str(torch.get_default_dtype()), torch.get_num_threads()],
        "machine": [platform.system(), platform.machine(), torch.backends.cpu.get_cpu_capability()],
    }


def _plain_fields(value: Any, *, without: str = "") -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name != without}


def _plain(value: Any) -> Any:
    """A JSON value that is equal only for equal values: numbers by all their digits, tensors by a digest."""
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
    return repr(value)


@cache
def _code() -> str | None:
    """Digest of the source code of `holdfast.control`; `None` where it is not there."""
    folder = Path(control.__file__).parent
    files = sorted(folder.rglob("*.py"))
    if not files:
        return None
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    return found.hexdigest()


def _read(file: Path, key: Mapping[str, Any], starts: Tensor, steps: int, n_actions: int) -> Trajectory | None:
    """The kept flights; `None`, and a line where there is a reason, if there are none."""
    if not os.path.lexists(file):
        return None
    try:
        stored = read_sealed(file)
        _check(stored.about, key, stored.digest)
        stored.check()
        _check_flights(stored.tensors["states"], stored.tensors["actions"], starts, steps, n_actions)
        os.utime(file)
    except (DataError, OSError, LookupError) as error:
        _warn(f"kept flights of the expert are damaged and are computed again: {file}: {error}")
        return None
    return Trajectory(actions=stored.tensors["actions"], states=stored.tensors["states"])


def _check(about: Mapping[str, Any], key: Mapping[str, Any], digest: str | None) -> None:
    if about != key or digest is None:
        raise DataError("it describes other flights")


def _check_flights(states: Tensor, actions: Tensor, starts: Tensor, steps: int, n_actions: int) -> None:
    """Refuse numbers that no such flight has: whoever can write to the folder can also write a right checksum."""
    count, n_states = starts.shape
    if (states.shape, actions.shape) != ((count, steps + 1, n_states), (count, steps, n_actions)):
        raise DataError("its flights have another shape")
    if not all(part.dtype == starts.dtype and bool(part.isfinite().all()) for part in (states, actions)):
        raise DataError("its numbers are of another type or not finite")
    if not torch.equal(states[:, 0], starts):
        raise DataError("its flights have other starts")


def _keep(file: Path, key: Mapping[str, Any], flights: Trajectory) -> None:
    """Write the flights, and remove others where there is no room."""
    content = sealed({"actions": flights.actions, "states": flights.states}, key)
    if len(content) > MOST_BYTES:
        return
    try:
        keep(file, content, most=MOST_BYTES)
    except OSError as error:
        _warn(
            f"the expert's flights could not be kept in {file.parent} ({error.strerror or error}), and will be "
            f"computed again next time. Set the variable {VARIABLE} to another folder, or to off."
        )


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=2)
