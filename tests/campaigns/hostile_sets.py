"""Builders of hostile data sets, by name: each makes one in an empty folder, and what a reader must say of it.

A builder gets a folder that also holds `secret.txt`, outside the set. `SETS` lists all with a pattern of the message,
or `None` where the set is harmless and must be read.
"""

import base64
import contextlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import zarr
from numcodecs import Blosc, Zlib

from holdfast.data import write
from holdfast.data.pictures import Frames
from holdfast.types import Episodes

ROWS = 12
DEEP = "[" * 5000 + "]" * 5000


class Canary:
    """What runs code when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.system, (f"touch {self.place}/ran",)


def made(cameras=0, **parts):
    values = torch.arange(ROWS * 3, dtype=torch.float64).reshape(ROWS, 3)
    pixels = torch.arange(ROWS * 8 * 8 * 3).remainder(251).to(torch.uint8).reshape(ROWS, 8, 8, 3)
    views = {f"view{index}": Frames(pixels) for index in range(cameras)}
    return Episodes(
        actions=values[:, :2] / 7, states=values, lengths=torch.tensor([5, 7]), dt=0.1, cameras=views, **parts
    )


def wrote(folder, name, format, **parts):
    path = folder / name
    write(made(**parts), path, format=format)
    return path


def edit(place, change):
    """Apply a function to a JSON file."""
    content = json.loads(place.read_text())
    place.write_text(json.dumps(change(content) or content))


def setting(*path, value):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


# zarr


def zarr_header(place, **fields):
    """A replay buffer in format 2 with changed fields in one array's header."""

    def build(folder):
        path = wrote(folder, "a.zarr", "zarr")
        edit(path / place / ".zarray", lambda header: header | fields)
        return path

    return build


def zarr_pickle(place, kind, *, zipped=False):
    """An array whose chunk is a pickle that runs code, as a filter or as the compressor."""

    def build(folder):
        path = wrote(folder, "a.zarr", "zarr")
        fields = {"compressor": {"id": "pickle"}} if kind == "compressor" else {"filters": [{"id": "pickle"}]}
        if kind == "object":
            fields |= {"dtype": "|O", "compressor": None, "fill_value": None}
        edit(path / place / ".zarray", lambda header: header | fields)
        for chunk in (path / place).glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(Canary(folder)))
        return zip_of(path) if zipped else path

    return build


def zip_of(path, compression=zipfile.ZIP_STORED):
    target = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(target, "w", compression) as archive:
        for file in sorted(path.rglob("*")):
            archive.write(file, file.relative_to(path))
    shutil.rmtree(path)
    return target


def zarr_consolidated(folder):
    path = wrote(folder, "a.zarr", "zarr")
    zarr.consolidate_metadata(str(path), zarr_format=2)
    edit(path / ".zmetadata", lambda c: c["metadata"]["data/action/.zarray"].update(filters=[{"id": "pickle"}]))
    return path


def zarr_3(change, *, place="data/action"):
    """A replay buffer in format 3 with a change of one array's header."""

    def build(folder):
        path = folder / "a.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=3)
        episodes = made()
        for name, values in [("data/action", episodes.actions), ("data/state", episodes.states)]:
            group.create_array(name, data=values.numpy())
        group.create_array("meta/episode_ends", data=np.array([5, 12]))
        if change is not None:
            edit(path / place / "zarr.json", change)
        return path

    return build


def zarr_chunk(content, *, place="data/action/0.0", **fields):
    """A replay buffer with another content of one chunk."""

    def build(folder):
        path = zarr_header(place.rpartition("/")[0], **fields)(folder)
        (path / place).write_bytes(content())
        return path

    return build


def lying_blosc():
    content = bytearray(Blosc().encode(np.zeros((12, 2))))
    content[4:8] = struct.pack("<I", 0x7FFFFFFF)
    return bytes(content)


def zlib_bomb():
    packer = zlib.compressobj()
    return b"".join([*(packer.compress(bytes(64 << 20)) for _ in range(40)), packer.flush()])


def zarr_huge_ends(folder):
    path = wrote(folder, "a.zarr", "zarr")
    for place in ("meta/episode_ends", "data/action", "data/state"):
        edit(path / place / ".zarray", lambda header: header.update(shape=[10**13, *header["shape"][1:]]))
    return path


def linked(name, format, part, *, target="secret.txt", inside=False):
    """A set with one part moved out of it, or elsewhere in it, and a link there instead."""

    def build(folder):
        path = wrote(folder, name, format, cameras=1)
        moved = (path / "data" / "moved" if inside else folder / "elsewhere") if target == "itself" else folder / target
        if target == "itself":
            shutil.move(path / part, moved)
        elif (path / part).is_dir():
            shutil.rmtree(path / part)
        else:
            (path / part).unlink()
        (path / part).symlink_to(moved)
        return path

    return build


def piped(name, format, part):
    """A set with a pipe in the place of one file."""

    def build(folder):
        path = wrote(folder, name, format, cameras=1)
        place = path / part if part else path
        place.unlink()
        os.mkfifo(place)
        return path

    return build


def changed_json(name, format, part, change):
    def build(folder):
        path = wrote(folder, name, format, cameras=1)
        edit(path / part, change)
        return path

    return build


def replaced(name, format, part, content):
    def build(folder):
        path = wrote(folder, name, format, cameras=1)
        (path / part).write_bytes(content() if callable(content) else content)
        return path

    return build


def huge_file(name, format, part):
    """A set with one file of a terabyte that holds nothing and takes no room."""

    def build(folder):
        path = wrote(folder, name, format)
        with (path / part).open("r+b") as file:
            file.truncate(1 << 40)
        return path

    return build


# HDF5: robomimic in one file, Minari in a folder


def hdf5(change, *, minari=False):
    """A set in HDF5 whose file a function changes: change(file, folder, the first episode, its observations)."""

    def build(folder):
        path = wrote(folder, "set-v0" if minari else "a.hdf5", "minari" if minari else "robomimic")
        file = path / "data" / "main_data.hdf5" if minari else path
        with h5py.File(file, "r+") as opened:
            first = opened["episode_0"] if minari else opened["data/demo_0"]
            change(opened, folder, first)
        return path

    return build


def other_file(folder):
    place = folder / "secret.hdf5"
    with h5py.File(place, "w") as other:
        other["actions"] = np.full((5, 2), 42.0)
        other.create_group("demo_0")["actions"] = np.full((5, 2), 42.0)
    return place


def replace_actions(first, make):
    del first["actions"]
    make(first)


def external_storage(where):
    def change(file, folder, first):
        (folder / "secret.txt").write_bytes(b"s" * 80)
        name = str(folder / "secret.txt") if where == "absolute" else f"{where}secret.txt"
        replace_actions(first, lambda g: g.create_dataset("actions", (5, 2), "f8", external=[(name, 0, 80)]))

    return change


def external_link(file, folder, first):
    replace_actions(first, lambda g: g.__setitem__("actions", h5py.ExternalLink(str(other_file(folder)), "/actions")))


def external_group(file, folder, first):
    other_file(folder)
    del file[first.parent.name if first.parent.name != "/" else first.name]
    name = "data" if "data" in str(first.file.filename) or "data" not in file else first.name
    file[name] = h5py.ExternalLink("secret.hdf5", "/")


def unused_link(file, folder, first):
    first["notes"] = h5py.ExternalLink(str(other_file(folder)), "/actions")


def virtual(file, folder, first):
    layout = h5py.VirtualLayout((5, 2), "f8")
    layout[:] = h5py.VirtualSource(str(other_file(folder)), "actions", (5, 2))
    replace_actions(first, lambda g: g.create_virtual_dataset("actions", layout))


def references(file, folder, first):
    def make(group):
        array = group.create_dataset("actions", (5,), dtype=h5py.ref_dtype)
        array[:] = [file.ref] * 5

    replace_actions(first, make)


def region_references(file, folder, first):
    def make(group):
        group.create_dataset("actions", (5,), dtype=h5py.regionref_dtype)

    replace_actions(first, make)


def ragged(file, folder, first):
    def make(group):
        array = group.create_dataset("actions", (5,), dtype=h5py.vlen_dtype(np.float64))
        for row in range(5):
            array[row] = np.ones(row + 1)

    replace_actions(first, make)


def huge_array(file, folder, first):
    replace_actions(first, lambda g: g.create_dataset("actions", (10**13, 2), "f8", chunks=(1024, 2), fillvalue=1.0))


def huge_chunk(file, folder, first):
    def make(group):
        group.create_dataset("actions", (5, 2), "f8", chunks=(268_000_000, 2), maxshape=(None, 2))

    replace_actions(first, make)


def unknown_filter(file, folder, first):
    def make(group):
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((5, 2))
        made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((5, 2))
        h5py.h5d.create(group.id, b"actions", h5py.h5t.IEEE_F64LE, space, made)

    replace_actions(first, make)


def soft_loop(file, folder, first):
    first["loop"] = h5py.SoftLink(first.parent.name)


def hard_loop(file, folder, first):
    first["loop"] = first.parent


def soft_dangling(file, folder, first):
    replace_actions(first, lambda g: g.__setitem__("actions", h5py.SoftLink("/nowhere")))


def soft_inside(file, folder, first):
    first["again"] = h5py.SoftLink(f"{first.name}/actions")


def datatype_in_place(file, folder, first):
    replace_actions(first, lambda g: g.__setitem__("actions", np.dtype("f8")))


def deep_attribute(file, folder, first):
    for name in ("holdfast", "env_args"):
        if "data" in file:
            file["data"].attrs[name] = DEEP


def attribute_of_numbers(file, folder, first):
    file["data"].attrs["holdfast"] = np.arange(5)


# npz


def npz(**members):
    """Arrays in a zip archive, some replaced by the given bytes."""

    def build(folder):
        path = folder / "a.npz"
        arrays = {"actions": np.ones((12, 2)), "states": np.ones((12, 3)), "episode_ends": np.array([5, 12])}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in arrays | members:
                content = members.get(name)
                if content is None:
                    content = npy(arrays[name])
                archive.writestr(f"{name}.npy", content(folder) if callable(content) else content)
        return path

    return build


def npy(values, **options):
    content = io.BytesIO()
    np.save(content, values, **options)
    return content.getvalue()


def npy_header(shape, descr="<f8", data=b""):
    content = io.BytesIO()
    np.lib.format.write_array_header_2_0(content, {"descr": "<f8", "fortran_order": False, "shape": (1,)})
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(120) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + data


def npz_bomb(folder):
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("actions.npy", "w") as file:
        file.write(npy_header("(30000000000, 1)"))
        for _ in range(20):
            file.write(bytes(1 << 20))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    return path


def npz_method(folder):
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("actions.npy", npy(np.ones((12, 2))))
    return path


def npz_label(text):
    def build(folder):
        path = wrote(folder, "b.npz", "npz")
        with np.load(path) as stored:
            arrays = dict(stored)
        label = json.loads(arrays["holdfast"].tobytes())
        text_now = text if isinstance(text, str) else json.dumps(label | text)
        np.savez(folder / "a.npz", **(arrays | {"holdfast": np.frombuffer(text_now.encode(), np.uint8)}))
        return folder / "a.npz"

    return build


# LeRobot


def info(*path, value):
    return changed_json("set", "lerobot", "meta/info.json", setting(*path, value=value))


def table(change, place="data/chunk-000/file-000.parquet"):
    """A LeRobot set, one of whose tables a function replaces."""

    def build(folder):
        path = wrote(folder, "set", "lerobot", cameras=1)
        file = path / place
        content = change(pq.read_table(file))
        file.unlink()
        pq.write_table(content, file)
        return path

    return build


def column(name, values):
    return lambda old: old.set_column(old.schema.get_field_index(name), name, values)


def pickled_type(old):
    schema = old.schema.add_metadata({})
    sink = pa.schema([pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})])
    stored = base64.b64encode(sink.serialize().to_pybytes())
    return old.cast(schema.with_metadata({**(schema.metadata or {}), b"note": stored}))


def stored_picture(content):
    """A LeRobot set whose pictures are the given file."""

    def change(old):
        name = "observation.images.view0"
        files = pa.array([{"bytes": content, "path": None}] * len(old), type=old.schema.field(name).type)
        return column(name, files)(old)

    return table(change)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(secret.txt) run\nshowpage\n%%EOF\n"


def large_png():
    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def playlist(content, suffix="mp4"):
    """A LeRobot set with a video that is a list of other files."""

    def build(folder):
        path = wrote(folder, "set", "lerobot")
        feature = {"dtype": "video", "shape": [8, 8, 3], "names": ["height", "width", "channels"]}
        template = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}." + suffix
        edit(path / "meta/info.json", lambda c: c.update(video_path=template))
        edit(path / "meta/info.json", lambda c: c.pop("holdfast") and None)
        edit(path / "meta/info.json", setting("features", "observation.images.top", value=feature))
        file = path / "meta/episodes/chunk-000/file-000.parquet"
        old = pq.read_table(file)
        for part, values in {"chunk_index": [0, 0], "file_index": [0, 0], "from_timestamp": [0.0, 0.5]}.items():
            old = old.append_column(f"videos/observation.images.top/{part}", pa.array(values))
        pq.write_table(old, file)
        video = path / f"videos/observation.images.top/chunk-000/file-000.{suffix}"
        video.parent.mkdir(parents=True)
        video.write_text(content.format(secret=folder / "secret.txt"))
        return path

    return build


def version_2_1(part, text):
    """A LeRobot set of version 2.1 with another content of one of its lists."""

    def build(folder):
        path = wrote(folder, "set", "lerobot")
        edit(path / "meta/info.json", lambda c: c.update(codebase_version="v2.1", total_episodes=None))
        edit(path / "meta/info.json", lambda c: c.update(data_path="data/{episode_index}.parquet"))
        edit(path / "meta/info.json", lambda c: c.pop("holdfast") and None)
        lists = {
            "tasks": ['{"task_index": 0, "task": ""}'],
            "episodes": [json.dumps({"episode_index": i, "length": n, "tasks": []}) for i, n in enumerate((5, 7))],
        }
        lists[part] = text if isinstance(text, list) else [text]
        for name, lines in lists.items():
            (path / f"meta/{name}.jsonl").write_text("\n".join(lines))
        rows = pq.read_table(path / "data/chunk-000/file-000.parquet")
        for index, part_of in enumerate((rows[:5], rows[5:])):
            pq.write_table(part_of, path / f"data/{index}.parquet")
        return path

    return build


def hub_cache(folder):
    """The layout of the Hub's cache, which is made of links."""
    path = wrote(folder, "set", "lerobot", cameras=1)
    blobs, snapshot = folder / "hub" / "blobs", folder / "hub" / "snapshots" / "0123abcd"
    blobs.mkdir(parents=True)
    for index, file in enumerate(sorted(part for part in path.rglob("*") if part.is_file())):
        place = snapshot / file.relative_to(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, blobs / str(index))
        place.symlink_to(os.path.relpath(blobs / str(index), place.parent))
    return snapshot


def linked_whole(folder):
    path = wrote(folder, "set", "lerobot", cameras=1)
    (folder / "link").symlink_to(path)
    return folder / "link"


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{secret}'\n"
UNSAFE = "is not read, because zarr would run what a file names"
LINK = "is a link to .*outside the data set, so it is not followed"
PIPE = "is a pipe, expected a regular file"
MEMORY = "bytes of memory are available"
SIZES = "damaged or cut short"
OUT = "is a link out of the file"
ELSEWHERE = "has its values in another file, which is not opened"

ZARR = {
    "pickle as filter": (zarr_pickle("data/action", "filter"), UNSAFE),
    "pickle as compressor": (zarr_pickle("data/state", "compressor"), UNSAFE),
    "pickle in episode_ends": (zarr_pickle("meta/episode_ends", "filter"), UNSAFE),
    "pickle of objects": (zarr_pickle("data/action", "object"), UNSAFE),
    "pickle in a zip file": (zarr_pickle("data/action", "filter", zipped=True), UNSAFE),
    "pickle in consolidated metadata": (zarr_consolidated, UNSAFE),
    "json2": (zarr_header("data/action", filters=[{"id": "json2"}]), UNSAFE),
    "msgpack2": (zarr_header("data/action", filters=[{"id": "msgpack2"}], dtype="|O"), UNSAFE),
    "codec of another package": (zarr_header("data/action", compressor={"id": "canary_codec"}), UNSAFE),
    "pictures of another package": (zarr_header("data/action", compressor={"id": "imagecodecs_jpegxl"}), UNSAFE),
    "codec without a name": (zarr_header("data/action", compressor={}), UNSAFE),
    "structured dtype": (zarr_header("data/action", dtype=[["a", "|O"]]), "is not read"),
    "dtype of objects in a filter": (
        zarr_header("data/action", filters=[{"id": "astype", "encode_dtype": "|O", "decode_dtype": "<f8"}]),
        "is not read",
    ),
    "v3 pickle": (zarr_3(lambda h: h["codecs"].append({"name": "numcodecs.pickle"})), UNSAFE),
    "v3 codec of another package": (zarr_3(lambda h: h["codecs"].append({"name": "canary"})), UNSAFE),
    "v3 codec in shards": (
        zarr_3(
            setting("codecs", value=[{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "canary"}]}}])
        ),
        UNSAFE,
    ),
    "v3 dtype": (zarr_3(setting("data_type", value={"name": "canary", "configuration": {}})), UNSAFE),
    "v3 grid": (zarr_3(setting("chunk_grid", "name", value="canary")), UNSAFE),
    "v3 names of chunks": (zarr_3(setting("chunk_key_encoding", "name", value="canary")), UNSAFE),
    "v3 transformers": (zarr_3(setting("storage_transformers", value=[{"name": "canary"}])), UNSAFE),
    "v3 codecs of another type": (zarr_3(setting("codecs", value="canary")), "is damaged"),
    "v3 as it should be": (zarr_3(None), None),
    "huge arrays": (zarr_huge_ends, MEMORY),
    "huge chunks": (zarr_header("data/action", chunks=[10**13, 2]), f"{MEMORY}|damaged"),
    "chunks of nothing": (zarr_header("data/action", chunks=[0, 2]), "damaged"),
    "giant numbers": (zarr_header("data/action", shape=[10**60, 2]), "damaged"),
    "negative shape": (zarr_header("data/action", shape=[-1, 2]), "damaged"),
    "blosc header that lies": (zarr_chunk(lying_blosc), SIZES),
    "zstd header that lies": (
        zarr_chunk(
            lambda: b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + bytes(8),
            compressor={"id": "zstd", "level": 1},
        ),
        SIZES,
    ),
    "lz4 header that lies": (
        zarr_chunk(lambda: struct.pack("<i", 2**31 - 1) + bytes(20), compressor={"id": "lz4", "acceleration": 1}),
        SIZES,
    ),
    "zlib bomb": (zarr_chunk(zlib_bomb, compressor={"id": "zlib", "level": 1}), SIZES),
    "zlib as it should be": (
        zarr_chunk(lambda: Zlib().encode(made().actions.numpy()), compressor={"id": "zlib", "level": 1}),
        None,
    ),
    "link of a chunk": (linked("a.zarr", "zarr", "data/action/0.0"), LINK),
    "link of an array": (linked("a.zarr", "zarr", "data/action", target="itself"), LINK),
    "link inside": (linked("a.zarr", "zarr", "meta/final", target="itself", inside=True), None),
    "pipe as a chunk": (piped("a.zarr", "zarr", "data/action/0.0"), PIPE),
    "pipe as a header": (piped("a.zarr", "zarr", "data/action/.zarray"), PIPE),
    "deep attributes": (replaced("a.zarr", "zarr", ".zattrs", DEEP.encode()), "damaged"),
    "places outside": (
        changed_json("a.zarr", "zarr", ".zattrs", setting("holdfast", "columns", value={"x": "data/../../secret"})),
        "is no array of data/ or meta/",
    ),
    "cameras outside": (
        changed_json("a.zarr", "zarr", ".zattrs", setting("holdfast", "cameras", value={"x": "../secret"})),
        "is no array of data/ or meta/",
    ),
    "label of another type": (changed_json("a.zarr", "zarr", ".zattrs", setting("holdfast", value=[1])), "expected"),
}
del ZARR["link inside"]

CHANGES = {
    "external storage, absolute": (external_storage("absolute"), ELSEWHERE),
    "external storage, relative": (external_storage("../"), ELSEWHERE),
    "external link": (external_link, OUT),
    "external link that nothing reads": (unused_link, OUT),
    "virtual array": (virtual, ELSEWHERE),
    "references": (references, "no rows of numbers"),
    "region references": (region_references, "no rows of numbers"),
    "ragged rows": (ragged, "no rows of numbers"),
    "huge array": (huge_array, MEMORY),
    "huge chunk": (huge_chunk, "a chunk declares"),
    "filter by a plug-in": (unknown_filter, "compressed by a plug-in"),
    "soft link to nowhere": (soft_dangling, "lacks the array actions|no actions|damaged"),
    "dtype instead of an array": (datatype_in_place, "no such array|holds no actions"),
    "soft link inside": (soft_inside, None),
}
HDF5 = {
    **{f"robomimic, {name}": (hdf5(change), says) for name, (change, says) in CHANGES.items()},
    **{f"minari, {name}": (hdf5(change, minari=True), says) for name, (change, says) in CHANGES.items()},
    "robomimic, external group": (hdf5(external_group), OUT),
    "robomimic, soft loop": (hdf5(soft_loop), "contains itself"),
    "robomimic, hard loop": (hdf5(hard_loop), "contains itself"),
    "robomimic, deep attribute": (hdf5(deep_attribute), "damaged"),
    "robomimic, attribute of numbers": (hdf5(attribute_of_numbers), "expected text"),
    "robomimic, pipe": (piped("a.hdf5", "robomimic", ""), PIPE),
    "minari, link of the file": (linked("set-v0", "minari", "data/main_data.hdf5", target="itself"), LINK),
    "minari, pipe": (piped("set-v0", "minari", "data/metadata.json"), "is a pipe|has no metadata"),
    "minari, deep metadata": (replaced("set-v0", "minari", "data/metadata.json", DEEP.encode()), "damaged"),
    "minari, deep space": (
        changed_json("set-v0", "minari", "data/metadata.json", setting("action_space", value=DEEP)),
        "damaged",
    ),
    "minari, space of another type": (
        changed_json("set-v0", "minari", "data/metadata.json", setting("action_space", value="[1]")),
        "not a JSON object",
    ),
    "minari, space that is no text": (
        changed_json("set-v0", "minari", "data/metadata.json", setting("action_space", value={"type": "Box"})),
        "expected JSON as text",
    ),
    "minari, total of another type": (
        changed_json("set-v0", "minari", "data/metadata.json", setting("total_episodes", value=[1])),
        "holds 2 episodes",
    ),
}

NPZ = {
    "pickled array": (npz(actions=lambda folder: npy(np.array([Canary(folder)]), allow_pickle=True)), "pickled array"),
    "pickled further array": (npz(note=lambda folder: npy(np.array([Canary(folder)]), allow_pickle=True)), "pickled"),
    "huge header": (npz(actions=npy_header("(1000000000000, 2)", data=bytes(64))), "shorter than its header"),
    "negative header": (npz(actions=npy_header("(-1, 2)")), "damaged"),
    "header of code": (npz(actions=npy_header("__import__('os').system('touch ran')")), "damaged"),
    "deep header": (npz(actions=npy_header("(" * 2000 + ")" * 2000)), "damaged"),
    "huge dtype": (npz(actions=npy_header("(1,)", "|V2000000000")), "shorter than its header"),
    "bomb": (npz_bomb, "cannot be .* bytes|damaged"),
    "method without a bound": (npz_method, "compressed by method 14"),
    "deep description": (npz_label(DEEP), "its description is damaged"),
    "description of another type": (npz_label("[]"), "expected a JSON object"),
    "system of another type": (npz_label({"system": ["gym:canary:X-v0"]}), "system cannot be"),
    "dt beyond all numbers": (npz_label('{"dt": ' + "9" * 400 + "}"), "damaged"),
    "half a character": (npz_label('{"system": "\\ud800"}'), "damaged"),
    "pipe": (piped("a.npz", "npz", ""), PIPE),
}

NATIVE = {
    "link of the numbers": (linked("set", "holdfast", "episodes.safetensors", target="itself"), LINK),
    "link of a camera": (linked("set", "holdfast", "camera-0.npy"), LINK),
    "link of the header": (linked("set", "holdfast", "episodes.json"), f"{LINK}|is not a data set"),
    "pipe as the numbers": (piped("set", "holdfast", "episodes.safetensors"), PIPE),
    "pipe as a camera": (piped("set", "holdfast", "camera-0.npy"), PIPE),
    "huge camera": (
        replaced("set", "holdfast", "camera-0.npy", npy_header("(12, 99999, 99999, 3)", "|u1")),
        "cut short",
    ),
    "camera of objects": (
        replaced("set", "holdfast", "camera-0.npy", npy_header("(12, 8, 8, 3)", "|O")),
        "expected pictures",
    ),
    "huge numbers": (huge_file("set", "holdfast", "episodes.safetensors"), MEMORY),
    "huge header": (huge_file("set", "holdfast", "episodes.json"), "is larger than"),
    "deep header": (
        changed_json("set", "holdfast", "episodes.json", setting("meta", value={"a": json.loads("[" * 90 + "]" * 90)})),
        "nested more than 64 deep",
    ),
    **{
        f"{field} {shown}": (changed_json("set", "holdfast", "episodes.json", setting(field, value=value)), says)
        for field, shown, value, says in [
            ("lengths", "beyond 64 bits", [10**30, 7], "lengths|whole"),
            ("lengths", "that overflow", [2**62, 2**62], "lengths|whole|rows"),
            ("lengths", "of flags", [True, False], "lengths|empty|rows"),
            ("lengths", "of texts", ["5", "7"], "lengths"),
            ("lengths", "without end", [float("nan"), 7], "lengths"),
            ("lengths", "below zero", [-5, 17], "lengths|empty|whole"),
            ("dt", "that is none", float("nan"), "dt cannot be"),
            ("tasks", "of another type", {"a": 1}, "tasks cannot be"),
            ("names", "of another type", ["a"], "names cannot be"),
            ("version", "without end", float("inf"), "version"),
            ("system", "of another type", {"a": 1}, "system cannot be"),
            ("episode_columns", "of another type", {"a": [1]}, "episode_columns cannot be"),
        ]
    },
}

LEROBOT = {
    **{
        f"template {name}": (info("data_path", value=template), says)
        for name, template, says in [
            ("of any width", "data/{chunk_index:0>300000000}/{file_index}.parquet", "cannot be filled in"),
            ("of any precision", "data/{chunk_index:.300000000f}", "cannot be filled in"),
            ("of attributes", "data/{chunk_index.__class__}", "cannot be filled in"),
            ("of items", "data/{chunk_index[0]}", "cannot be filled in"),
            ("of conversions", "data/{chunk_index!r}", "cannot be filled in"),
            ("of nested fields", "data/{chunk_index:{file_index}}", "cannot be filled in"),
            ("that is absolute", "/etc/{chunk_index}", "leads out of the data set"),
            ("upwards", "data/../../{chunk_index}", "leads out of the data set"),
            ("with zero bytes", "data/\0{chunk_index}", "leads out of the data set"),
            ("with backslashes", "..\\..\\{chunk_index}", "leads out of the data set"),
            ("of long parts", "data/" + "a" * 300 + "{chunk_index}", "more than 255 bytes"),
            ("of another type", ["data"], "missing|leads out|cannot"),
        ]
    },
    **{
        f"fps {value}": (info("fps", value=value), "fps must be a number above 0")
        for value in (float("nan"), float("inf"), 1e-320, -1, 0, "30", True, None, [30])
    },
    "rows of a billion numbers": (info("features", "action", "shape", value=[10**9]), f"{MEMORY}|numbers a row"),
    "rows beyond 64 bits": (info("features", "action", "shape", value=[10**30]), "expected `features`"),
    "dtype of objects": (info("features", "action", "dtype", value="object"), "unknown dtype"),
    "structured dtype": (info("features", "action", "dtype", value="i4,(100000000,)f8"), "unknown dtype"),
    "column of any size": (
        info("features", "huge", value={"dtype": "float32", "shape": [10**9], "names": None}),
        None,
    ),
    "pictures of any size": (
        info("features", "observation.images.view0", "shape", value=[10**5, 10**5, 3]),
        "expected `features`",
    ),
    "robot of another type": (info("robot_type", value={"a": 1}), "robot_type must be a text"),
    "total of another type": (info("total_episodes", value={"a": 1}), "lists"),
    "version of another type": (info("codebase_version", value=["v3.0"]), "codebase_version"),
    "features of another type": (info("features", value=[1, 2]), "expected `features`"),
    "label of another type": (info("holdfast", value=[1]), "'holdfast' has version"),
    "label without places": (info("holdfast", "columns", value={"a": "b/../../secret"}), "lacks b/"),
    "deep info": (
        replaced("set", "lerobot", "meta/info.json", b'{"codebase_version": %s}' % DEEP.encode()),
        "damaged",
    ),
    "huge info": (huge_file("set", "lerobot", "meta/info.json"), "is larger than"),
    "pipe as a table": (piped("set", "lerobot", "data/chunk-000/file-000.parquet"), PIPE),
    "pipe as tasks": (piped("set", "lerobot", "meta/tasks.parquet"), PIPE),
    "link of a table": (linked("set", "lerobot", "data/chunk-000/file-000.parquet", target="itself"), LINK),
    "link of a folder": (linked("set", "lerobot", "data", target="itself"), LINK),
    "link of the info": (linked("set", "lerobot", "meta/info.json", target="itself"), LINK),
    "lengths beyond the rows": (
        table(column("length", pa.array([2**62, 2**62])), "meta/episodes/chunk-000/file-000.parquet"),
        "must be a whole number",
    ),
    "lengths of a trillion": (
        table(column("length", pa.array([10**12, 7])), "meta/episodes/chunk-000/file-000.parquet"),
        "meta/info.json lists 12 frames, the episodes in meta/episodes have",
    ),
    "lengths that are texts": (
        table(column("length", pa.array(["5", "7"])), "meta/episodes/chunk-000/file-000.parquet"),
        "must be a whole number",
    ),
    "files that are missing numbers": (
        table(column("data/file_index", pa.array([None, 0], pa.int64())), "meta/episodes/chunk-000/file-000.parquet"),
        "must be a whole number",
    ),
    "picture that is a program": (stored_picture(POSTSCRIPT), "is damaged"),
    "picture of any size": (stored_picture(large_png()), "the others are"),
    "video that is a playlist": (playlist(HLS), "is missing or damaged"),
    "video that is a list of files": (playlist(CONCAT), "is missing or damaged"),
    "video that is a playlist by name": (playlist(HLS, "m3u8"), "is missing or damaged"),
    "v2.1 as it should be": (version_2_1("tasks", '{"task_index": 0, "task": ""}'), None),
    "v2.1 deep line": (version_2_1("tasks", DEEP), "damaged"),
    "v2.1 line of another type": (version_2_1("tasks", "[1]"), "expected task_index and task"),
    "v2.1 index of another type": (version_2_1("tasks", '{"task_index": "0", "task": ""}'), "must be a whole number"),
    "v2.1 length beyond all": (
        version_2_1("episodes", ['{"episode_index": 0, "length": 1e300}']),
        "must be a whole number",
    ),
    "v2.1 length of nothing": (version_2_1("episodes", ['{"episode_index": 0, "length": null}']), "whole number"),
    "cache of the Hub": (hub_cache, None),
    "link of the whole": (linked_whole, None),
}

SETS = {
    f"{format}: {name}": case
    for format, cases in {"zarr": ZARR, "hdf5": HDF5, "npz": NPZ, "native": NATIVE, "lerobot": LEROBOT}.items()
    for name, case in cases.items()
}


def build(make, folder):
    """Make a set in an empty folder, beside a secret, and return its path."""
    (folder / "secret.txt").write_text("secret")
    with contextlib.chdir(folder):
        return Path(make(folder))
