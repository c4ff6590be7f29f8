"""Pictures in video files: one file can hold many episodes, and rows are found by time.

Videos are read and written with PyAV (`pip install 'holdfast[video]'`). Reading seeks the key frame before the
required time and decodes from there; rows with similar times share one pass.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..errors import DataError, MissingExtraError
from ..files import check_regular
from ..types import Pictures
from .checksums import FileSum, of_file
from .pictures import check_rows

CODEC, PIXELS = "h264", "yuv420p"
# a key frame every second picture, as in LeRobot's own videos, because rows are read in random order
ENCODER = {"g": "2", "crf": "18"}
# rows further apart than this [s] need a new seek; between nearer ones all pictures are decoded
LEAP = 0.5
# pictures in memory at once while a video is written
BLOCK = 32
FORMATS = {1: "gray", 3: "rgb24"}
# containers of pictures; a playlist, which other formats are, would open the files and addresses that it names
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
ONLY_THIS_FILE = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}


@dataclass(frozen=True, kw_only=True)
class Video:
    """Pictures in video files; the picture of a row is the one nearest to its time.

    Attributes:
        file_of: File of each row.
        seconds: Time of each row in its file [s].
        tolerance: Largest distance between the times of a row and its picture [s]; below half a step.
        sums: Size and checksum of each file where they are known; they are compared when a file is first read.
    """

    files: tuple[Path, ...]
    file_of: Int[Tensor, " rows"]
    seconds: Float[Tensor, " rows"]
    shape: tuple[int, int, int]
    tolerance: float
    sums: tuple[FileSum | None, ...] = ()
    compared: set[int] = field(default_factory=lambda: set[int](), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.file_of)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, decoded file by file."""
        check_rows(rows, len(self))
        found = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        owners, seconds = self.file_of[rows].numpy(), self.seconds[rows].numpy()
        for owner in np.unique(owners):
            mine = np.flatnonzero(owners == owner)
            file = self.files[int(owner)]
            self._compare(int(owner))
            with _opened(file) as container:
                reader = _Reader(container, file, self.tolerance)
                for place in mine[np.argsort(seconds[mine])]:
                    found[int(place)] = _pixels(reader.at(float(seconds[place])), self.shape, file)
        return found

    def _compare(self, owner: int) -> None:
        """Refuse a file that was changed: a decoder hides damage by guessing."""
        if not self.sums or self.sums[owner] is None or owner in self.compared:
            return
        try:
            found = of_file(self.files[owner])
        except OSError as error:
            raise DataError(f"{self.files[owner]} is missing or damaged ({error}). Copy it again.") from error
        if found != self.sums[owner]:
            raise DataError(
                f"{self.files[owner]} is damaged: its size or checksum changed after it was written "
                f"({found[0]:,} bytes). Copy or download it again."
            )
        self.compared.add(owner)


def write_video(path: Path, pictures: Pictures, rows: Int[Tensor, " b"], *, fps: int | float) -> None:
    """Write the pictures of the given rows as H.264 video; picture `k` is at `k / fps` seconds.

    Compression is lossy: the pictures that are read again differ slightly.
    """
    av = _av()
    height, width, channels = pictures.shape
    if height % 2 or width % 2 or channels != 3:
        raise DataError(
            f"video needs pictures of even height and width and 3 channels, got {list(pictures.shape)}. "
            "Resize them, or store them as pictures."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODEC, rate=Fraction(fps).limit_denominator(10**6), options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
        for first in range(0, len(rows), BLOCK):
            for picture in pictures.read(rows[first : first + BLOCK]):
                frame = av.VideoFrame.from_ndarray(picture.contiguous().numpy(), format=FORMATS[3])
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


class _Reader:
    """A video file that is read forwards."""

    def __init__(self, container: Any, file: Path, tolerance: float) -> None:
        self.container, self.file, self.tolerance = container, file, tolerance
        self.stream = container.streams.video[0]
        self.frames: Iterator[Any] = iter(())
        self.frame: Any = None

    def at(self, second: float) -> Any:
        """The frame at a time [s]; the times of successive calls must not decrease."""
        if self.frame is None or second - self.frame.time > LEAP:
            self._seek(second)
        while self.frame is not None and self.frame.time < second - self.tolerance:
            last, self.frame = self.frame, next(self.frames, None)
            if self.frame is None:
                raise DataError(f"{self.file} ends at {last.time:.4f} s, but a row is at {second:.4f} s. {_WAY_OUT}")
        if self.frame is None or self.frame.time > second + self.tolerance:
            there = "nothing" if self.frame is None else f"the nearest is at {self.frame.time:.4f} s"
            raise DataError(
                f"{self.file} has no picture within {self.tolerance:.4f} s of {second:.4f} s: {there}. {_WAY_OUT}"
            )
        return self.frame

    def _seek(self, second: float) -> None:
        """Go to the last key frame at or before a time."""
        # some containers index by decoding time, which can precede the display time: then the first frame is too late
        for back in (0.0, 1.0, 10.0, second + 1.0):
            target = max(second - self.tolerance - back, 0.0)
            self.container.seek(int(target / self.stream.time_base), stream=self.stream)
            self.frames = self.container.decode(self.stream)
            self.frame = next(self.frames, None)
            if self.frame is not None and self.frame.time <= second + self.tolerance:
                return


_WAY_OUT = "Video and timestamps do not belong together: copy or record the data set again."


@contextmanager
def _opened(file: Path) -> Generator[Any]:
    av = _av()
    check_regular(file)
    try:
        # an absolute path cannot be taken for an address
        with av.open(str(file.absolute()), options=ONLY_THIS_FILE) as container:
            if not container.streams.video:
                raise DataError(f"{file} holds no video. Copy or record the data set again.")
            yield container
    except av.FFmpegError as error:
        raise DataError(f"{file} is missing or damaged ({error}). Copy or download it again.") from error


def _pixels(frame: Any, shape: tuple[int, int, int], file: Path) -> UInt8[Tensor, "height width channels"]:
    pixels = torch.as_tensor(frame.to_ndarray(format=FORMATS[shape[2]]))
    if pixels.shape[:2] != shape[:2]:
        raise DataError(
            f"{file} has pictures of {list(pixels.shape[:2])}, expected {list(shape[:2])}. Record it again."
        )
    return pixels.reshape(shape)


def _av() -> Any:
    try:
        import av  # here, because it is slow to import, and an extra
    except ImportError as error:
        raise MissingExtraError("av", extra="video") from error
    return av
