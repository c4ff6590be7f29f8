"""Arrays of zarr's format 3 in shards: read as others, and refused where a shard or its index is not sound."""

import copy
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from holdfast.data import read
from holdfast.errors import DataError, DataWarning

ROWS, ENDS = 20, (7, 20)
NOT_STORED = b"\xff" * 16


def buffer(path, *, serializer="auto", compressors="auto", shards=(8, 2), **options):
    """A replay buffer whose actions are in shards of four chunks of two rows; the last shard is not full."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    actions = 1.0 + np.arange(ROWS * 2.0).reshape(ROWS, 2)
    made = group.create_array(
        "data/action",
        shape=actions.shape,
        dtype="f8",
        chunks=(2, 2) if shards else shards or (8, 2),
        shards=shards,
        serializer=serializer,
        compressors=compressors,
        **options,
    )
    made[:] = actions
    group.create_array("data/state", data=np.ones((ROWS, 3)))
    group.create_array("meta/episode_ends", data=np.array(ENDS))
    return path, torch.as_tensor(actions)


def sharding(**options):
    return ShardingCodec(chunk_shape=(2, 2), **options)


@pytest.mark.parametrize("compressors", [None, ZstdCodec(), GzipCodec()])
@pytest.mark.parametrize("zipped", [False, True])
def test_shards_are_read(tmp_path, compressors, zipped):
    path, actions = buffer(tmp_path / "a.zarr", compressors=compressors)
    if zipped:
        path = shutil.make_archive(str(path), "zip", path)
    assert torch.equal(read(path).actions, actions)


@pytest.mark.parametrize("index_codecs", [[BytesCodec()], [BytesCodec(), Crc32cCodec()]])
@pytest.mark.parametrize("index_location", ["start", "end"])
def test_places_of_the_index(tmp_path, index_codecs, index_location):
    codec = sharding(index_codecs=index_codecs, index_location=index_location)
    path, actions = buffer(tmp_path / "a.zarr", serializer=codec, compressors=None, shards=None)
    header = json.loads((path / "data/action/zarr.json").read_text())
    assert header["codecs"][0]["configuration"]["index_location"] == index_location
    assert torch.equal(read(path).actions, actions)


CHANGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "without the end": lambda content: content[:-1],
    "an offset beyond the end": lambda content: content[:-68] + struct.pack("<Q", 10**6) + content[-60:],
    "no length": lambda content: content[:-60] + struct.pack("<Q", 0) + content[-52:],
    "a great length": lambda content: content[:-60] + struct.pack("<Q", 1 << 62) + content[-52:],
    "not stored by half": lambda content: content[:-60] + struct.pack("<Q", (1 << 64) - 1) + content[-52:],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_damaged_shard(tmp_path, name):
    path, _ = buffer(tmp_path / "a.zarr")
    shard = path / "data/action/c/1/0"
    shard.write_bytes(CHANGES[name](shard.read_bytes()))
    with pytest.raises(DataError, match=r"damaged or cut short \(data/action/c/1/0 has"):
        read(path)


def reindexed(content, change):
    """A shard with changed entries, and the checksum that fits them."""
    import google_crc32c

    index = bytearray(content[-68:-4])
    change(index)
    return content[:-68] + bytes(index) + struct.pack("<I", google_crc32c.value(bytes(index)))


def test_chunks_that_are_not_stored_are_named(tmp_path):
    path, _ = buffer(tmp_path / "a.zarr")
    shard = path / "data/action/c/0/0"
    shard.write_bytes(reindexed(shard.read_bytes(), lambda index: index.__setitem__(slice(16, 32), NOT_STORED)))
    with pytest.warns(DataWarning, match="data/action lacks 1 of its 10 chunks, which are read as"):
        found = read(path)
    assert found.actions[2:4].tolist() == [[0, 0], [0, 0]]
    shard.unlink()
    with pytest.warns(DataWarning, match="data/action lacks 4 of its 10 chunks"):
        read(path)


def test_no_chunk_at_all(tmp_path):
    path, _ = buffer(tmp_path / "a.zarr")
    for shard in (path / "data/action/c").glob("*/*"):
        shard.write_bytes(reindexed(shard.read_bytes(), lambda index: index.__setitem__(slice(None), NOT_STORED * 4)))
    with pytest.raises(DataError, match="lacks 10 of its 10 chunks"):
        read(path)


def zeros(size):
    packer = zlib.compressobj(wbits=31)
    return b"".join([packer.compress(bytes(size)), packer.flush()])


def lying_zstd():
    # RFC 8878: magic number, a descriptor for a size of 8 bytes without a window, the size
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + struct.pack("<Q", 1 << 40) + bytes(8)


@pytest.mark.parametrize(("codec", "chunk"), [(GzipCodec(), zeros(600 << 20)), (ZstdCodec(), lying_zstd())])
def test_a_chunk_that_becomes_large(tmp_path, codec, chunk):
    path, _ = buffer(tmp_path / "a.zarr", compressors=codec)
    index = struct.pack("<QQ", 0, len(chunk)) + NOT_STORED * 3
    (path / "data/action/c/0/0").write_bytes(reindexed(chunk + index + bytes(4), lambda index: None))
    with pytest.raises(DataError, match="damaged or cut short"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda codecs: codecs.append({"name": "gzip", "configuration": {"level": 1}}),
        lambda codecs: codecs[0]["configuration"].update(codecs=copy.deepcopy(codecs)),
        lambda codecs: codecs[0]["configuration"]["index_codecs"].append({"name": "gzip"}),
        lambda codecs: codecs[0]["configuration"]["index_codecs"][0]["configuration"].update(endian="big"),
        lambda codecs: codecs[0]["configuration"].update(index_codecs=[]),
    ],
)
def test_other_forms_of_shards_are_refused(tmp_path, change):
    path, _ = buffer(tmp_path / "a.zarr")
    place = path / "data/action/zarr.json"
    header = json.loads(place.read_text())
    change(header["codecs"])
    place.write_text(json.dumps(header))
    with pytest.raises(DataError, match="shards in shards"):
        read(path)


def test_pictures_in_shards(tmp_path):
    path, _ = buffer(tmp_path / "a.zarr")
    pixels = np.arange(ROWS * 4 * 4 * 3, dtype=np.uint8).reshape(ROWS, 4, 4, 3)
    group = zarr.open_group(str(path), mode="a")
    made = group.create_array("data/img", shape=pixels.shape, dtype="u1", chunks=(2, 4, 4, 3), shards=(8, 4, 4, 3))
    made[:] = pixels
    camera = read(path).cameras["img"]
    rows = torch.tensor([0, 19, 3, 9])
    assert np.array_equal(camera.read(rows).numpy(), pixels[rows.numpy()])
    shard = path / "data/img/c/1/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-3])
    assert len(camera.read(torch.tensor([0, 19]))) == 2
    with pytest.raises(DataError, match=r"c/1/0/0/0 has"):
        camera.read(torch.tensor([9]))
