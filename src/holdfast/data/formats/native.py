"""Holdfast's own format: a folder of two files, and two more for each camera.

    DATA/
      episodes.json          format, version, lengths, dt, system, tasks, names, meta, cameras, a list of the arrays,
                             episode columns of strings, checksums of everything (`sealed`)
      episodes.safetensors   actions, states, and, if present, final_states, observation.state,
                             observation.environment_state, rewards, timestamps, columns/…, episode_columns/…
      camera-0.npy           pictures of the first camera, uint8 `[rows, height, width, channels]`
      pictures-0.crc32c      CRC-32C of each of its pictures, uint32 `[rows]`, little-endian

Every dtype and every bit is preserved; nothing in it is a pickle. Pictures stay in their file until rows are read.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...errors import DataError
from ...files import read_bytes, read_start
from ...memory import check_memory
from ...types import Episodes, Pictures
from ..checksums import Checksums, Verified, of_pictures
from ..mapped import NpyFrames, blocks
from ..pictures import Frames
from ..tensor_file import read_tensors
from .format import Format
from .sealed import check_seal, is_sealed, sealed
from .stored import assemble, check_whole, description_of, is_texts, read_object, tensors_of, to_json

MARK, VERSION = "holdfast-episodes", 3
HEADER, TENSORS = "episodes.json", "episodes.safetensors"
# version 1 stored pictures among the tensors, and lacked these fields; version 3 added columns
CAMERA = "observation.images."
SINCE_2: dict[str, Any] = {"tasks": None, "names": {}, "cameras": []}


def write(episodes: Episodes, path: Path) -> None:
    """Write episodes to a new folder.

    >>> import tempfile
    >>> short = Episodes(actions=torch.zeros(3, 1), states=torch.ones(3, 2), lengths=torch.tensor([1, 2]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(short, Path(folder, "demos"))
    ...     read(Path(folder, "demos")).lengths.tolist()
    [1, 2]
    """
    tensors = _tensors(episodes)
    header = _header(episodes, tensors)
    to_json(header)
    path.mkdir()
    save_file(tensors, path / TENSORS)
    sums = dict[str, Checksums]()
    for index, (camera, pictures) in enumerate(episodes.cameras.items()):
        sums[camera] = _write_pictures(pictures, path / _camera_file(index))
        (path / _sums_file(index)).write_bytes(sums[camera].astype("<u4").tobytes())
    (path / HEADER).write_text(to_json(sealed(header, episodes, sums)), encoding="utf-8")


def read(path: Path) -> Episodes:
    """Read a folder that `write` made."""
    header = _read_header(path)
    tensors = _read_tensors(path)
    cameras: dict[str, Pictures] = {
        name.removeprefix(CAMERA): Frames(tensors.pop(name)) for name in sorted(tensors) if name.startswith(CAMERA)
    }
    lengths = torch.tensor(header["lengths"], dtype=torch.int64)
    bare = assemble(tensors, lengths, header, str(path), described_in=str(path / HEADER))
    for index, camera in enumerate(header["cameras"]):
        pictures = NpyFrames.of(path / _camera_file(index), count=len(bare.actions))
        cameras[camera] = _verified(pictures, path / _sums_file(index)) if is_sealed(header) else pictures
    episodes = replace(bare, cameras=cameras)
    check_seal(header, episodes, str(path))
    return episodes


def _tensors(episodes: Episodes) -> dict[str, Tensor]:
    # cloned, because safetensors refuses arrays that share memory, and an observation is often the state
    return {
        name: values.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, values in tensors_of(episodes).items()
    }


def _header(episodes: Episodes, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "format": MARK,
        "version": VERSION if episodes.columns or episodes.episode_columns else 2,
        **description_of(episodes),
        "lengths": [int(length) for length in episodes.lengths],
        "arrays": {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()},
        "cameras": list(episodes.cameras),
    }


def _camera_file(index: int) -> str:
    # numbered: a camera's name may hold what a file's name may not
    return f"camera-{index}.npy"


def _sums_file(index: int) -> str:
    return f"pictures-{index}.crc32c"


def _write_pictures(pictures: Pictures, path: Path) -> Checksums:
    sums = [np.empty(0, dtype=np.uint32)]
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), *pictures.shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks(pictures):
            file.write(block.tobytes())
            sums.append(of_pictures(block))
    return np.concatenate(sums)


def _verified(pictures: NpyFrames, sums: Path) -> Verified:
    try:
        content = read_bytes(sums)
    except OSError as error:
        raise DataError(f"{sums} is missing ({error}). Was the data set copied whole? Copy it again.") from error
    whole = content[: len(content) // 4 * 4]
    return Verified(pictures, np.frombuffer(whole, dtype="<u4").astype(np.uint32), str(pictures.path))


def _read_header(folder: Path) -> dict[str, Any]:
    header = read_object(folder, HEADER, f"has no {HEADER}, so it is not a Holdfast data set")
    if header.get("format") != MARK:
        raise DataError(f"{folder / HEADER} does not have the format {MARK!r}. Was it written by another program?")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise DataError(
            f"{folder} has version {version} of the format, but this Holdfast reads up to {VERSION}. Upgrade it: "
            "pip install -U holdfast"
        )
    header = {**SINCE_2, **header} if version == 1 else header
    cameras, lengths = header.get("cameras"), header.get("lengths")
    if not is_texts(cameras):
        raise DataError(f"{folder / HEADER}: cameras must be a list of names, got {cameras!r}. Write it again.")
    if not isinstance(lengths, list):
        raise DataError(f"{folder / HEADER}: lengths must be a list of whole numbers. Write the data set again.")
    _check_lengths(cast("list[Any]", lengths), folder / HEADER)
    return header


def _check_lengths(lengths: list[Any], header: Path) -> None:
    # at once where possible, because there is a length for each episode
    whole = bool(lengths) and set(map(type, lengths)) == {int}
    if whole and min(lengths) < 0:
        episode = next(place for place, length in enumerate(lengths) if length < 0)
        raise DataError(f"{header}: episode {episode} is empty ({lengths[episode]} steps). Write the data set again.")
    for length in (max(lengths),) if whole else lengths:
        check_whole(length, f"{header}: an entry of lengths")


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    try:
        check_memory((folder / TENSORS).stat().st_size, str(folder / TENSORS))
        return read_tensors(folder / TENSORS)
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no {TENSORS}. Was it copied whole? Copy or write the data set again.") from error
    except OSError as error:
        raise DataError(
            f"{folder / TENSORS} is damaged or cut short ({error}). Copy or write the data set again."
        ) from error


def _is_complete(path: Path) -> bool:
    return f'"{MARK}"'.encode() in read_start(path / HEADER, most=4096)


FORMAT = Format(
    name="holdfast",
    example="Holdfast's own (episodes.json)",
    recognises=lambda path: (path / HEADER).is_file(),
    read=read,
    write=write,
    entries=re.compile(r"episodes\.json|episodes\.safetensors|camera-\d+\.npy|pictures-\d+\.crc32c"),
    is_complete=_is_complete,
    lacks=frozenset(),
)
