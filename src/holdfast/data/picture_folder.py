"""A plain folder of pictures, for pre-training: files in the order of their names, each subfolder an episode.

FOLDER/0001.png 0002.png …                  one recording, divided into ten consecutive parts
FOLDER/monday/0001.png … tuesday/0001.png   an episode each
"""

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from ..errors import DataError
from ..files import open_regular
from ..memory import check_memory
from ..types import Episodes
from .pictures import EIGHT_BIT_MODES, FILES, MODES, Encoded

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CAMERA = "pictures"
"""Name of the camera of a folder of files."""

PARTS = 10
"""Episodes into which one recording is divided, so that some can be held out."""


def is_picture_folder(path: Path) -> bool:
    """Whether a folder, or each of its subfolders, holds files of pictures and nothing but these and hidden files."""
    try:
        return path.is_dir() and bool(groups := _groups(path)) and all(groups)
    except OSError:
        return False


def read_picture_folder(path: Path) -> Episodes:
    """The pictures of a folder as the camera "pictures" of episodes, whose states and actions are zeros.

    Raises:
        DataError: Pictures of several sizes, or a file that is no picture.
    """
    groups = _groups(path)
    files = [file for group in groups for file in group]
    if not files:
        raise DataError(f"{path} holds no pictures ({', '.join(sorted(ENDINGS))}).")
    check_memory(sum(file.stat().st_size for file in files), f"{len(files)} files of pictures")
    shape = _shape(files[0])
    lengths = [len(group) for group in groups] if len(groups) > 1 else _parts(len(files))
    nothing = torch.zeros(len(files), 1)
    return Episodes(
        states=nothing,
        actions=nothing,
        lengths=torch.tensor(lengths),
        cameras={CAMERA: Encoded.of(map(_content, files), shape)},
    )


def _groups(path: Path) -> list[list[Path]]:
    """Files of each subfolder, or of the folder itself; an empty list where there are other files."""
    shown = sorted((part for part in path.iterdir() if not part.name.startswith(".")), key=_natural)
    if shown and all(part.is_dir() for part in shown):
        return [_pictures(sorted(folder.iterdir(), key=_natural)) for folder in shown]
    return [_pictures(shown)] if shown else []


def _pictures(files: Iterable[Path]) -> list[Path]:
    shown = [file for file in files if not file.name.startswith(".")]
    return shown if all(file.suffix.lower() in ENDINGS for file in shown) else []


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order of names in which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _parts(count: int) -> list[int]:
    parts = min(PARTS, count)
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def _content(file: Path) -> bytes:
    with open_regular(file) as opened:
        return opened.read()


def _shape(file: Path) -> tuple[int, int, int]:
    """Height, width and channels of the first picture; the others must have the same height and width."""
    from PIL import Image  # here, because most programs read no pictures

    try:
        with open_regular(file) as opened, Image.open(opened, formats=FILES) as picture:
            if picture.mode not in EIGHT_BIT_MODES:
                raise DataError(f"{file} has pixels of kind {picture.mode}, more than 8 bits. Convert it.")
            return picture.height, picture.width, 1 if picture.mode in ("1", MODES[1]) else 3
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is no picture, or a damaged one ({error}).") from error
