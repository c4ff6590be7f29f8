"""Pictures ready for random access hold what was recorded, in another size where asked."""

import tempfile

import numpy as np
import pytest
import torch

from holdfast.data import Chosen, Frames
from holdfast.data.pictures import Encoded, compressed
from holdfast.data.resizing import resized
from holdfast.data.unpacked import Unpacked, checksum_of, unpacked
from holdfast.errors import DataError, OutputError, ShapeError


def frames(count=7, size=(6, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Frames(torch.randint(256, (count, *size, 3), generator=generator, dtype=torch.uint8))


def encoded(shown):
    return Encoded.of([compressed(shown, row) for row in range(len(shown))], shown.shape)


def test_compressed_pictures_are_read_in_any_order():
    shown = frames()
    done = list[int]()
    ready = unpacked(encoded(shown), (6, 8), on_row=done.append)
    rows = torch.tensor([5, 0, 5, 6])
    assert isinstance(ready, Unpacked)
    assert len(ready) == 7
    assert ready.shape == (6, 8, 3)
    assert done[-1] == 7
    assert torch.equal(ready.read(rows), shown.read(rows))
    assert torch.equal(unpacked(Chosen(encoded(shown), rows), (6, 8)).read(torch.arange(4)), shown.read(rows))
    with pytest.raises(ShapeError, match="rows from 0 to 6"):
        ready.read(torch.tensor([7]))


def test_pictures_in_memory_stay_there():
    shown = frames()
    assert unpacked(shown, (6, 8)) is shown


def test_checksums_tell_pictures_apart_wherever_they_are():
    shown = frames()
    other = Frames(shown.values.clone())
    other.values[3, 2, 1, 0] ^= 1
    assert checksum_of(unpacked(encoded(shown), (6, 8))) == checksum_of(shown) != checksum_of(other)


def test_resized_pictures_are_means_of_what_they_cover():
    """A picture of a third of the size: in the middle of constant blocks nothing else can be seen."""
    blocks = torch.randint(256, (3, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    picture = blocks.repeat_interleave(9, 0).repeat_interleave(9, 1)
    found = resized(picture[None], (9, 12))[0]
    assert torch.equal(found[1::3, 1::3], blocks)
    ready = unpacked(Frames(picture[None].repeat(4, 1, 1, 1)), (9, 12))
    assert torch.equal(ready.read(torch.tensor([3]))[0], found)


def test_resizing_treats_every_picture_alike():
    shown = frames(5, (30, 40)).values
    together = resized(shown, (12, 16))
    assert all(torch.equal(resized(one, (12, 16)), both) for one, both in zip(shown, together, strict=True))
    assert resized(shown, (30, 40)) is shown


def test_a_picture_that_cannot_be_read_is_named():
    shown = encoded(frames())
    content = np.array(shown.content)
    content[shown.offsets[4] :] = 0
    with pytest.raises(DataError, match="picture of row 4 is damaged"):
        unpacked(Encoded(content, shown.offsets, shown.shape), (6, 8))


def test_a_full_disk_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match=r"left.*Set the variable TMPDIR"):
        unpacked(encoded(frames()), (6, 8))


def test_a_disk_that_fills_up_meanwhile_is_one_sentence(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shown = encoded(frames(count=64, size=(40, 40)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"decoded into a temporary file, which cannot be written.*TMPDIR"):
            unpacked(shown, (40, 40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_for_temporary_files_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match=r"cannot be written \(.*none.*Set the variable TMPDIR"):
        unpacked(encoded(frames()), (6, 8))
