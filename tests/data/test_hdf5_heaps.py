"""Strings of a damaged HDF5 file on which the library would wait for ever."""

import h5py
import numpy as np
import pytest

from holdfast.data import read
from holdfast.data.hdf5_heaps import ENDS, SIGNATURE, check_heaps
from holdfast.errors import DataError


@pytest.fixture(params=[0, 5 * ENDS])
def file(request, tmp_path):
    """A file with a string of variable length behind some bytes of an array."""
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as made:
        made["before"] = np.zeros(request.param, np.uint8)
        made["data/demo_0/actions"] = np.ones((3, 2))
        made["data/demo_0/obs/state"] = np.ones((3, 2))
        made["data"].attrs["env_args"] = '{"env_name": "toy"}'
    return path


def test_free_space_of_no_size(file):
    check_heaps(file)
    assert read(file).system == "toy"
    content = bytearray(file.read_bytes())
    heap = content.index(SIGNATURE)
    # the first object is the string, of 19 bytes; the free space follows
    free = heap + 16 + 16 + 24
    assert int.from_bytes(content[free : free + 2], "little") == 0
    content[free + 8 : free + 16] = bytes(8)
    file.write_bytes(content)
    with pytest.raises(DataError, match="its strings have no end"):
        read(file)
