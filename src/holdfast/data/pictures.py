"""Pictures of the rows of a data set, in memory or elsewhere; all implement `types.Pictures`.

Selecting and joining episodes decodes no picture: the selection is stored and applied when rows are read.

    Frames    in memory, uncompressed       Chosen   some rows of other pictures
    Encoded   in memory, as PNG or JPEG     Joined   several pictures, one after another
    Video     in video files: `video.Video`
"""

import io
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Int, Int64, UInt8
from torch import Tensor

from ..errors import DataError, ShapeError
from ..memory import check_memory
from ..types import Pictures

# Pillow's modes of 8-bit pictures; deeper ones would be truncated to 8 bits silently
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
# kinds of files that data sets hold; Pillow would start other programs for some others
FILES = ("PNG", "JPEG", "WEBP", "BMP", "JPEG2000")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Frames:
    """Pictures in memory.

    >>> Frames(torch.zeros(5, 8, 10, 3, dtype=torch.uint8)).shape
    (8, 10, 3)
    """

    values: UInt8[Tensor, "rows height width channels"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        height, width, channels = self.values.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.values)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        return self.values[rows]


@dataclass(frozen=True)
class Encoded:
    """Compressed pictures as they were stored; a picture is decoded when its row is read.

    Attributes:
        content: Concatenated files of all pictures; may be a memory-mapped file.
        offsets: Position of each picture in `content`, and the end of the last one.

    >>> pictures = Frames(torch.arange(48, dtype=torch.uint8).reshape(1, 4, 4, 3))
    >>> encoded = Encoded.of([compressed(pictures, 0)], pictures.shape)
    >>> torch.equal(encoded.read(torch.tensor([0])), pictures.values)
    True
    """

    content: UInt8[np.ndarray, " bytes"]
    offsets: Int64[np.ndarray, " rows_and_end"]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.shape[2] not in MODES:
            raise ShapeError(f"pictures of {self.shape[2]} channels cannot be decoded. Known: 1, 3 and 4.")
        rising = bool((np.diff(self.offsets) >= 0).all())
        if not len(self.offsets) or self.offsets[0] < 0 or self.offsets[-1] > len(self.content) or not rising:
            raise ShapeError(f"offsets of pictures must rise from 0 to at most {len(self.content)}, the bytes given.")

    @staticmethod
    def of(files: Iterable[bytes], shape: tuple[int, int, int]) -> "Encoded":
        """Pictures from the contents of the given files, one a row."""
        listed = list(files)
        offsets = np.cumsum([0, *map(len, listed)], dtype=np.int64)
        return Encoded(np.frombuffer(b"".join(listed), dtype=np.uint8), offsets, shape)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def file(self, row: int) -> bytes:
        """The stored file of one row."""
        return self.content[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, decoded."""
        check_rows(rows, len(self))
        check_memory(len(rows) * math.prod(self.shape), f"{len(rows)} pictures of {list(self.shape)}")
        found = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        for place, row in enumerate(rows.numpy()):
            found[place] = _decode(self.file(int(row)), self.shape, int(row))
        return found


@dataclass(frozen=True)
class Chosen:
    """Selected rows of other pictures, in a given order; repeats are allowed.

    Raises:
        ShapeError: A row is out of range.
    """

    source: Pictures
    rows: Int[Tensor, " chosen"]

    def __post_init__(self) -> None:
        check_rows(self.rows, len(self.source))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows of the selection."""
        return self.source.read(self.rows[rows])


@dataclass(frozen=True)
class ChannelsLast:
    """Pictures that are stored with their channels first.

    Attributes:
        source: The stored pictures, whose `shape` is channels, height, width.
    """

    source: Pictures

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        channels, height, width = self.source.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, channels last."""
        return self.source.read(rows).permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True)
class Joined:
    """Pictures of several sources, one after another.

    Raises:
        DataError: No sources, or pictures of different sizes.
    """

    parts: Sequence[Pictures]

    def __post_init__(self) -> None:
        shapes = {part.shape for part in self.parts}
        if len(shapes) != 1:
            raise DataError(f"expected pictures of one size to join, got {sorted(shapes)}. Resize them first.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.parts[0].shape

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, counted through all parts."""
        found = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        first = 0
        for part in self.parts:
            inside = (rows >= first) & (rows < first + len(part))
            if bool(inside.any()):
                found[inside] = part.read(rows[inside] - first)
            first += len(part)
        return found


def has_channels(shape: Sequence[int]) -> bool:
    """Whether pictures `[rows, ·, ·, ·]` have their channels last or first; where both could be, no axis is guessed."""
    return shape[-1] == 3 or (shape[-1] in MODES) != (shape[1] in MODES)


def in_order(stored: Pictures) -> Pictures:
    """Pictures with their channels last, however they are stored."""
    return stored if stored.shape[-1] in MODES else ChannelsLast(stored)


def check_rows(rows: Int[Tensor, " b"], count: int) -> None:
    """Refuse rows outside `0 … count - 1`; a negative one would count from the end."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ShapeError(f"expected rows from 0 to {count - 1}, got {int(rows.min())} to {int(rows.max())}.")


def compressed(pictures: Pictures, row: int) -> bytes:
    """One picture as a file: the stored one if there is one, else a lossless PNG."""
    check_rows(torch.tensor([row]), len(pictures))
    match pictures:
        case Encoded():
            return pictures.file(row)
        case Chosen():
            return compressed(pictures.source, int(pictures.rows[row]))
        case Joined():
            ends = list(accumulate(map(len, pictures.parts)))
            part = bisect_right(ends, row)
            return compressed(pictures.parts[part], row - (ends[part - 1] if part else 0))
        case _:
            return _png(pictures.read(torch.tensor([row]))[0])


def _png(picture: UInt8[Tensor, "height width channels"]) -> bytes:
    from PIL import Image  # here, because most programs write no pictures

    if picture.shape[-1] not in MODES:
        raise DataError(f"pictures of {picture.shape[-1]} channels cannot be stored as PNG. Known: 1, 3 and 4.")
    pixels = picture.squeeze(-1) if picture.shape[-1] == 1 else picture
    stored = io.BytesIO()
    Image.fromarray(pixels.cpu().contiguous().numpy()).save(stored, format="PNG", compress_level=1)
    return stored.getvalue()


def _decode(file: bytes, shape: tuple[int, int, int], row: int) -> UInt8[Tensor, "height width channels"]:
    from PIL import Image  # here, because most programs read no pictures

    try:
        with Image.open(io.BytesIO(file), formats=FILES) as opened:
            # before anything is decoded: a file of a few bytes can become a picture of any size
            if (opened.height, opened.width) != shape[:2]:
                raise DataError(_other_size(row, [opened.height, opened.width, shape[2]], shape))
            if opened.mode not in EIGHT_BIT_MODES:
                raise DataError(f"picture of row {row} has pixels of kind {opened.mode}, more than 8 bits. Convert it.")
            # copied, because Pillow returns read-only arrays
            pixels = np.array(opened.convert(MODES[shape[2]]))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the picture of row {row} is damaged ({error}). Copy or write the data set again.") from error
    picture = torch.as_tensor(pixels.reshape(*pixels.shape[:2], -1))
    if tuple(picture.shape) != shape:
        raise DataError(_other_size(row, list(picture.shape), shape))
    return picture


def _other_size(row: int, found: list[int], shape: tuple[int, int, int]) -> str:
    return f"the picture of row {row} is {found}, the others are {list(shape)}. Resize it."
