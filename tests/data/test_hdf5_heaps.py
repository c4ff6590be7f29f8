"""Strings of a damaged HDF5 file on which the library would wait for ever, read in a process of its own."""

import multiprocessing
import struct

import h5py
import numpy as np
import pytest

from holdfast.data import read
from holdfast.data.hdf5 import opened
from holdfast.data.hdf5_headers import Unknown, references
from holdfast.data.hdf5_heaps import HEADER, SIGNATURE, SMALL, check_strings
from holdfast.errors import DataError

TASK = "push the block"


def written(path, size, *, libver="earliest", strings=1, userblock=0):
    """A file with strings of variable length in the middle of some bytes of arrays."""
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as made:
        made["before"] = np.zeros(size, np.uint8)
        made["data/demo_0/actions"] = np.ones((3, 2))
        made["data/demo_0/obs/state"] = np.ones((3, 2))
        made["data"].attrs["env_args"] = '{"env_name": "toy"}'
        for number in range(strings - 1):
            made["data"].attrs[f"note_{number}"] = TASK
        made.flush()
        made["after"] = np.zeros(size, np.uint8)
    return path


def objects(content, heap):
    """Places of the objects of a heap, the last of which is free space."""
    end = heap + int.from_bytes(content[heap + 8 : heap + 16], "little")
    place = heap + HEADER
    while place < end:
        yield place
        index, _, _, length = struct.unpack_from("<HHIQ", content, place)
        place += HEADER + (length + 7) // 8 * 8 if index else length


def damaged(path, change):
    content = bytearray(path.read_bytes())
    heap = content.index(SIGNATURE)
    change(content, heap, list(objects(content, heap)))
    path.write_bytes(content)


def length_of(number, value):
    def change(content, heap, places):
        content[places[number] + 8 : places[number] + 16] = (value % 2**64).to_bytes(8, "little")

    return change


def heap_of(size):
    def change(content, heap, places):
        content[heap + 8 : heap + 16] = size.to_bytes(8, "little")

    return change


CHANGES = {
    "free space of no size": length_of(-1, 0),
    "free space smaller than its header": length_of(-1, 15),
    "an object that wraps around to no size": length_of(0, -16),
    "an object that goes back": length_of(0, -40),
    "an object that ends in the middle of the free space": length_of(0, 24 + 4096),
    "a heap that goes on after its end": heap_of(8192),
    "a heap without end": heap_of(2**63),
}


def in_a_process(path, ends):
    try:
        read(path)
        ends.put("read")
    except DataError as error:
        ends.put(str(error))


@pytest.mark.parametrize("size", [0, SMALL])
@pytest.mark.parametrize("name", CHANGES)
def test_a_damaged_heap(tmp_path, size, name):
    path = written(tmp_path / "a.hdf5", size)
    assert read(path).system == "toy"
    damaged(path, CHANGES[name])
    context = multiprocessing.get_context("fork")
    ends = context.Queue()
    process = context.Process(target=in_a_process, args=(path, ends), daemon=True)
    process.start()
    try:
        assert "its strings have no end" in ends.get(timeout=60)
    finally:
        process.kill()


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("strings", [1, 3, 20])
@pytest.mark.parametrize("userblock", [0, 512])
def test_wherever_the_attributes_are(tmp_path, libver, strings, userblock):
    # more than eight attributes lie apart from the header in new files, and one has a string of its own in all
    path = written(tmp_path / "a.hdf5", SMALL, libver=libver, strings=strings, userblock=userblock)
    with opened(path) as file:
        assert file["data"].attrs["env_args"] == '{"env_name": "toy"}'
    damaged(path, length_of(strings - 1, -16))
    with pytest.raises(DataError, match="its strings have no end"), opened(path):
        pass


def test_a_heap_that_was_given_up_is_no_damage(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as made:
        made["given_up"] = np.frombuffer(SIGNATURE + (64).to_bytes(8, "little") + bytes(48), np.uint8)
        made["data"] = np.ones(3)
        made.attrs["note"] = TASK
    with opened(path) as file:
        assert file.attrs["note"] == TASK


@pytest.mark.parametrize("options", [{}, {"chunks": (2,)}, {"chunks": (2,), "compression": "gzip"}])
def test_arrays_of_strings(tmp_path, options):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as made:
        made["before"] = np.zeros(SMALL, np.uint8)
        made.create_dataset("notes", data=[TASK] * 4, dtype=h5py.string_dtype(), **options)
    with opened(path) as file:
        check_strings(file["notes"], path)
        assert file["notes"][2] == TASK.encode()
    damaged(path, length_of(1, -16))
    with pytest.raises(DataError, match="its strings have no end"), opened(path) as file:
        check_strings(file["notes"], path)


def test_a_virtual_array(tmp_path):
    # its description lies in a heap, which the library reads when the array is opened
    path = tmp_path / "a.hdf5"
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.hdf5", "values", shape=(4,))
    with h5py.File(path, "w", libver="latest") as made:
        made["before"] = np.zeros(SMALL, np.uint8)
        made.create_virtual_dataset("view", layout)
    damaged(path, length_of(0, -16))
    with pytest.raises(DataError, match="its strings have no end"), opened(path):
        pass


@pytest.mark.parametrize("header", [b"", b"\7" * 600, b"OHDR", b"\1" + b"\xff" * 600, b"OHDR\2\0" + b"\xff" * 600])
def test_headers_of_other_forms(header):
    with pytest.raises(Unknown):
        references(lambda count, place: header[place : place + count], 0, 0, 1000)


def test_a_header_that_leads_back():
    # one continuation, of 16 bytes, that leads to the block in which it is
    block = struct.pack("<HHB3xQQ", 16, 16, 0, 16, 24)
    content = struct.pack("<BxHIIxxxx", 1, 1, 1, len(block)) + block
    with pytest.raises(Unknown, match="many blocks"):
        references(lambda count, place: content[place : place + count], 0, 0, 1000)
