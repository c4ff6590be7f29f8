"""Compressed pictures: decoded when read, refused when damaged, handed on as they were stored."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.data.pictures import Chosen, Encoded, Frames, Joined, compressed
from holdfast.errors import DataError, ShapeError


def noise(rows, height=5, width=7, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.integers(0, 256, (rows, height, width, channels), dtype=np.uint8))


def stored(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_keeps_every_bit(channels):
    pictures = Frames(noise(4, channels=channels))
    encoded = Encoded.of([compressed(pictures, row) for row in range(4)], pictures.shape)
    rows = torch.tensor([3, 0, 0, 2])
    assert torch.equal(encoded.read(rows), pictures.values[rows])
    assert (len(encoded), encoded.shape) == (4, (5, 7, channels))
    assert encoded.read(rows[:0]).shape == (0, 5, 7, channels)


def test_jpeg_is_decoded_as_pillow_does():
    array = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    file = stored(array, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(file)))
    assert np.array_equal(Encoded.of([file], (16, 16, 3)).read(torch.tensor([0]))[0].numpy(), expected)
    assert np.abs(expected.astype(int) - array).max() < 20


def test_gray_files_of_a_colour_camera():
    gray = noise(1, channels=1)[0, :, :, 0].numpy()
    seen = Encoded.of([stored(gray, "PNG")], (5, 7, 3)).read(torch.tensor([0]))[0]
    assert all(np.array_equal(seen[..., channel].numpy(), gray) for channel in range(3))


def test_stored_files_are_handed_on():
    file = stored(noise(1)[0].numpy(), "JPEG")
    encoded = Encoded.of([file, stored(noise(1, seed=1)[0].numpy(), "PNG")], (5, 7, 3))
    joined = Joined([Frames(noise(2, seed=2)), Chosen(encoded, torch.tensor([1, 0, 1]))])
    assert [compressed(joined, row) == file for row in range(5)] == [False, False, False, True, False]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(compressed(joined, 1)))), noise(2, seed=2)[1].numpy())
    with pytest.raises(ShapeError, match="expected rows from 0 to 4, got 5 to 5"):
        compressed(joined, 5)


def test_rows_outside():
    encoded = Encoded.of([compressed(Frames(noise(1)), 0)] * 2, (5, 7, 3))
    for row in (-1, 2):
        with pytest.raises(ShapeError, match=f"expected rows from 0 to 1, got (0 to {row}|{row} to 0)"):
            encoded.read(torch.tensor([0, row]))


def test_damage():
    file = compressed(Frames(noise(1)), 0)
    encoded = Encoded.of([file, file[:40], b"", b"not a picture"], (5, 7, 3))
    assert torch.equal(encoded.read(torch.tensor([0])), noise(1))
    for row in (1, 2, 3):
        with pytest.raises(DataError, match=f"picture of row {row} is damaged"):
            encoded.read(torch.tensor([row]))


def test_other_pictures_than_promised():
    with pytest.raises(DataError, match=r"row 0 is \[5, 7, 3\], the others are \[5, 8, 3\]"):
        Encoded.of([compressed(Frames(noise(1)), 0)], (5, 8, 3)).read(torch.tensor([0]))
    deep = stored(np.full((5, 7), 4000, dtype=np.uint16), "PNG")
    with pytest.raises(DataError, match="more than 8 bits"):
        Encoded.of([deep], (5, 7, 1)).read(torch.tensor([0]))


def test_what_cannot_be_stored():
    with pytest.raises(ShapeError, match="2 channels"):
        Encoded.of([], (5, 7, 2))
    with pytest.raises(DataError, match="2 channels"):
        compressed(Frames(noise(1, channels=2)), 0)
    with pytest.raises(ShapeError, match="offsets"):
        Encoded(np.zeros(3, dtype=np.uint8), np.array([0, 4]), (5, 7, 3))
