"""Builders of hostile data sets of the formats that are only read: npy, csv, and HDF5 of other layouts.

Each makes one in an empty folder beside a secret, as those in `hostile_sets`, with a pattern of what a reader must say,
or `None` where the set is harmless and must be read.
"""

import copy
import io
import os
import struct
from contextlib import suppress

import h5py
import numpy as np
import zarr

from .hostile_sets import (
    DEEP,
    ELSEWHERE,
    LINK,
    MEMORY,
    OUT,
    PIPE,
    SIZES,
    Canary,
    datatype_in_place,
    edit,
    external_link,
    external_storage,
    huge_array,
    huge_chunk,
    made,
    npy,
    npy_header,
    ragged,
    references,
    region_references,
    unknown_filter,
    unused_link,
    virtual,
)

LENGTHS = (5, 7)


def npys(**arrays):
    def build(folder):
        path = folder / "set"
        path.mkdir()
        episodes = made()
        usual = {"actions": episodes.actions, "observations": episodes.states, "lengths": episodes.lengths}
        found = {name: npy(value.numpy()) for name, value in usual.items()}
        for name, make in arrays.items():
            found[name] = make(folder) if callable(make) else make
        for name, content in found.items():
            (path / f"{name}.npy").write_bytes(content)
        return path

    return build


def npy_part(change):
    """A folder of arrays whose file `actions.npy` becomes something else."""

    def build(folder):
        path = npys()(folder)
        change(path / "actions.npy", folder)
        return path

    return build


def piped(place, folder):
    place.unlink()
    os.mkfifo(place)


def linked(place, folder):
    place.rename(folder / "elsewhere.npy")
    place.symlink_to(folder / "elsewhere.npy")


def to_device(place, folder):
    place.unlink()
    place.symlink_to("/dev/zero")


def sparse(place, folder):
    os.truncate(place, 1 << 40)


def table(text, name="a.csv"):
    def build(folder):
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return build


def rows(*fields, head="episode,state_x,action_x", count=6):
    lines = [f"{row // 3},{row},{row * 2}" for row in range(count)]
    return "\n".join([head, *lines, *fields]) + "\n"


def table_part(change):
    def build(folder):
        path = table(rows())(folder)
        change(path, folder)
        return path

    return build


def groups(change):
    """ManiSkill's layout with a change: change(file, folder, first group)."""

    def build(folder):
        path, episodes, first = folder / "a.h5", made(), 0
        with h5py.File(path, "w") as file:
            for episode, length in enumerate(LENGTHS):
                part = slice(first, first := first + length)
                group = file.create_group(f"traj_{episode}")
                group["actions"], group["obs/qpos"] = episodes.actions[part].numpy(), episodes.states[part].numpy()
            change(file, folder, file["traj_0"])
        return path

    return build


def aloha(change):
    """A folder with a file an episode: change(file, folder, group of the observations) of the first."""

    def build(folder):
        path, episodes, first = folder / "set", made(), 0
        path.mkdir()
        for episode, length in enumerate(LENGTHS):
            part = slice(first, first := first + length)
            with h5py.File(path / f"episode_{episode}.hdf5", "w") as file:
                file["action"], file["observations/qpos"] = (
                    episodes.actions[part].numpy(),
                    episodes.states[part].numpy(),
                )
                file["observations/images/cam_high"] = pictures(length)
                if not episode:
                    change(file, folder, file["observations"])
        return path

    return build


def pictures(length):
    """Rows of JPEG files, filled up with zeros."""
    from PIL import Image

    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(content := io.BytesIO(), "JPEG")
    packed = np.zeros((length, 2048), np.uint8)
    packed[:, : content.tell()] = np.frombuffer(content.getvalue(), np.uint8)
    return packed


def camera(content):
    """Another content of the camera's first row."""

    def change(file, folder, group):
        packed = group["images/cam_high"][()]
        packed[0] = 0
        packed[0, : len(content)] = np.frombuffer(content, np.uint8)
        group["images/cam_high"][...] = packed

    return change


def instead(name, make):
    """Another array in the place of one: make(group, name, folder)."""

    def change(file, folder, group):
        with suppress(KeyError):
            del group[name]
        make(group, name, folder)

    return change


def outside(group, name, folder):
    (folder / "secret.txt").write_bytes(b"s" * 4096)
    group.create_dataset(name, (5, 3), "f8", external=[("../secret.txt", 0, 120)])


def pictures_outside(group, name, folder):
    (folder / "secret.txt").write_bytes(b"s" * 5 * 2048)
    group.create_dataset(name, (5, 2048), "u1", external=[("../secret.txt", 0, 5 * 2048)])


def ragged_pictures(values):
    def make(group, name, folder):
        array = group.create_dataset(name, (5,), dtype=h5py.vlen_dtype(values.dtype))
        for row in range(5):
            array[row] = values

    return make


def out_of_the_set(file, folder, group):
    with h5py.File(folder / "secret.hdf5", "w") as other:
        other["qpos"] = np.full((5, 3), 42.0)
    group["more"] = h5py.ExternalLink("../secret.hdf5", "/qpos")


def loop(file, folder, group):
    group["again"] = file["/"]


def many_groups(file, folder, group):
    inner = group
    for _ in range(60):
        inner = inner.create_group("deeper")
    inner["array"] = np.ones(3)


def episode_part(change):
    """A folder of episodes of which the second file becomes something else."""

    def build(folder):
        path = aloha(lambda file, folder, group: None)(folder)
        change(path / "episode_1.hdf5", folder)
        return path

    return build


def flat(**arrays):
    """D4RL's layout with other arrays."""

    def build(folder):
        path, episodes = folder / "a.hdf5", made()
        with h5py.File(path, "w") as file:
            found = {
                "actions": episodes.actions.numpy(),
                "observations": episodes.states.numpy(),
                "timeouts": np.isin(np.arange(12), (4, 11)),
            }
            for name, values in (found | arrays).items():
                file.create_dataset(name, **values) if isinstance(values, dict) else file.create_dataset(
                    name, data=values
                )
        return path

    return build


def shards(change):
    """A replay buffer of format 3 in shards: change(the folder of the actions)."""

    def build(folder):
        path, episodes = folder / "a.zarr", made()
        group = zarr.open_group(str(path), mode="w", zarr_format=3)
        for name, values in (("data/action", episodes.actions), ("data/state", episodes.states)):
            plain = values.numpy()
            shape = {"chunks": (2, plain.shape[1]), "shards": (12, plain.shape[1])}
            group.create_array(name, shape=plain.shape, dtype="f8", **shape)[:] = plain
        group.create_array("meta/episode_ends", data=np.array([5, 12]))
        change(path / "data/action")
        return path

    return build


def shard(change):
    def apply(array):
        place = array / "c/0/0"
        place.write_bytes(change(place.read_bytes()))

    return shards(apply)


def codecs(change):
    def apply(array):
        edit(array / "zarr.json", lambda header: change(header["codecs"]))

    return shards(apply)


def shard_pipe(array):
    piped(array / "c/0/0", None)


NPY = {
    "pickled array": (npys(actions=lambda folder: npy(np.array([Canary(folder)]), allow_pickle=True)), "pickled array"),
    "pickled further array": (npys(note=lambda folder: npy(np.array([Canary(folder)]), allow_pickle=True)), "pickled"),
    "huge header": (npys(actions=npy_header("(1000000000000, 2)", data=bytes(64))), "shorter than its header"),
    "negative header": (npys(actions=npy_header("(-1, 2)")), "damaged"),
    "header of code": (npys(actions=npy_header("__import__('os').system('touch ran')")), "damaged"),
    "deep header": (npys(actions=npy_header("(" * 2000 + ")" * 2000)), "damaged"),
    "huge dtype": (npys(actions=npy_header("(1,)", "|V2000000000")), "shorter than its header"),
    "giant shape": (npys(actions=npy_header(f"({'9' * 5000}, 2)")), "damaged|shorter"),
    "long header": (npys(actions=b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0) + b"{}"), "damaged"),
    "text": (npys(actions=npy(np.array(["a"] * 12))), "numbers|holds"),
    "no rows": (npys(actions=npy(np.array(3.0))), "one number"),
    "lengths below zero": (npys(lengths=npy(np.array([-5, 17]))), "length|empty|rows"),
    "lengths beyond all": (npys(lengths=npy(np.array([2**62, 2**62]))), "length|rows"),
    "lengths of NaN": (npys(lengths=npy(np.array([np.nan, 7]))), "length|rows|whole"),
    "not finite": (npys(actions=npy(np.full((12, 2), np.inf))), "holds inf"),
    "pipe": (npy_part(piped), f"{PIPE}|is not a data set"),
    "link": (npy_part(linked), LINK),
    "link to a device": (npy_part(to_device), f"{LINK}|is a device|is not a data set"),
    "terabyte": (npy_part(sparse), MEMORY),
    "folder": (npy_part(lambda place, folder: (place.unlink(), place.mkdir())), "is not a data set|lacks|actions"),
    "as it should be": (npys(), None),
}

CSV = {
    "pickle": (table(b"\x80\x04\x95" + bytes(20)), "pickle"),
    "zeros": (table(bytes(100)), "known format|damaged|is empty|no known"),
    "no text": (table(rows().encode() + b"\xff\xfe\xff\n"), "no text in UTF-8"),
    "nothing": (table(b""), "is empty|no known format"),
    "comments alone": (table("# a\n# b\n"), "holds comments alone"),
    "names alone": (table("state_x,action_x\n"), "names alone|Expected a row"),
    "ragged": (table(rows("1,2")), "columns, the first has"),
    "giant number": (table(rows(f"1,{'9' * 5000},0")), "holds inf"),
    "not a number": (table(rows("1,nan,0")), "holds nan"),
    "infinite": (table(rows("1,1e999,0")), "holds inf"),
    "a field of megabytes": (table(rows("1,2," + "x" * (1 << 20))), "action|field|numbers"),
    "an open quote": (table(rows('1,2,"3')), None),
    "formula": (table(rows('1,2,=cmd|"/c calc"!A1')), "action|numbers"),
    "million columns": (table("state_x,action_x," + ",".join(map(str, range(10**5))) + "\n1,2\n"), "named as states"),
    "giant episode": (table(rows("1e300,2,3")), None),
    "episode of NaN": (table(rows("nan,2,3")), "not finite"),
    "pipe": (table_part(piped), PIPE),
    "device": (table_part(to_device), "is a device"),
    "terabyte": (table_part(sparse), f"{MEMORY}|is larger than|no known format|known format"),
    "escape codes": (table(rows(head="episode,state_\x1b[31mx,action_[/red]x")), None),
    "as it should be": (table(rows()), None),
}

GROUPS = {
    "external storage": (groups(external_storage("../")), ELSEWHERE),
    "external link": (groups(external_link), OUT),
    "external link that nothing reads": (groups(unused_link), OUT),
    "virtual array": (groups(virtual), ELSEWHERE),
    "references": (groups(references), "holds no rows of numbers|no steps|holds no|lacks|action"),
    "region references": (groups(region_references), "holds no|action"),
    "ragged rows": (groups(ragged), "holds no rows of numbers|action"),
    "huge array": (groups(huge_array), f"{MEMORY}|rows|episode"),
    "huge chunk": (groups(huge_chunk), "a chunk declares"),
    "filter by a plug-in": (groups(unknown_filter), "compressed by a plug-in"),
    "dtype instead of an array": (groups(datatype_in_place), "action|damaged"),
    "loop": (groups(loop), "contains itself|more than"),
    "many groups": (groups(many_groups), "groups inside one another"),
    "no array": (groups(lambda file, folder, group: file.clear()), "known format|no episodes|not a robomimic file"),
    "as it should be": (groups(lambda file, folder, group: None), None),
}

ALOHA = {
    "external storage": (aloha(instead("qpos", outside)), ELSEWHERE),
    "external link": (aloha(out_of_the_set), OUT),
    "picture that is a program": (aloha(camera(b"\xff\xd8\xff%!PS-Adobe-3.0\n")), None),
    "picture of any size": (
        aloha(camera(b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(60))),
        None,
    ),
    "pictures of references": (
        aloha(instead("images/cam_high", lambda g, name, _: g.create_dataset(name, (5,), dtype=h5py.ref_dtype))),
        "expected bytes",
    ),
    "pictures of texts": (
        aloha(instead("images/cam_high", lambda g, name, _: g.create_dataset(name, data=["a"] * 5))),
        "",
    ),
    "pictures of ragged numbers": (aloha(instead("images/cam_high", ragged_pictures(np.ones(3)))), "expected bytes"),
    "pictures in another file": (aloha(instead("images/cam_high", pictures_outside)), ELSEWHERE),
    "rows beyond the memory": (
        aloha(instead("images/cam_high", lambda g, n, _: g.create_dataset(n, (5, 1 << 45), "u1", chunks=(1, 1 << 20)))),
        MEMORY,
    ),
    "loop": (aloha(loop), "contains itself"),
    "pipe": (episode_part(piped), f"{PIPE}|is not a data set"),
    "link": (episode_part(linked), LINK),
    "nothing in a file": (episode_part(lambda place, folder: place.write_bytes(b"")), "damaged"),
    "text": (episode_part(lambda place, folder: place.write_text(DEEP)), "damaged"),
    "as it should be": (aloha(lambda file, folder, group: None), None),
}

FLAT = {
    "flags of texts": (flat(timeouts=np.array([b"x"] * 12)), "episode|ends|timeouts"),
    "flags of another length": (flat(timeouts=np.zeros(5, bool)), "rows|timeouts|episode"),
    "huge observations": (flat(observations={"shape": (10**12, 3), "dtype": "f8", "chunks": (10, 3)}), "state|observ"),
    "huge rows": (flat(observations={"shape": (12, 10**12), "dtype": "f8", "chunks": (1, 1000)}), "named as states"),
    "as it should be": (flat(), None),
}

SHARDS = {
    "empty": (shard(lambda content: b""), SIZES),
    "index that leads out": (shard(lambda c: c[:-100] + struct.pack("<Q", 1 << 40) + c[-92:]), SIZES),
    "index that wraps around": (shard(lambda c: c[:-100] + struct.pack("<QQ", 2**64 - 8, 16) + c[-84:]), SIZES),
    "index of ones": (shard(lambda c: c[:-100] + b"\xff" * 100), "damaged|chunks"),
    "terabyte": (shards(lambda array: os.truncate(array / "c/0/0", 1 << 40)), "damaged|chunks"),
    "pipe": (shards(shard_pipe), PIPE),
    "shards in shards": (
        codecs(lambda found: found[0]["configuration"].update(codecs=copy.deepcopy(found))),
        "shards|damaged",
    ),
    "compressed": (
        codecs(lambda found: found.append({"name": "gzip", "configuration": {"level": 1}})),
        "shards in shards",
    ),
    "pickle in the index": (
        codecs(lambda found: found[0]["configuration"]["index_codecs"].append({"name": "numcodecs.pickle"})),
        "is not read",
    ),
    "pieces of nothing": (codecs(lambda found: found[0]["configuration"].update(chunk_shape=[0, 2])), "damaged"),
    "pieces beyond all": (codecs(lambda found: found[0]["configuration"].update(chunk_shape=[10**30, 2])), "damaged"),
    "as it should be": (shards(lambda array: None), None),
}

OTHERS = {"npy": NPY, "csv": CSV, "groups": GROUPS, "aloha": ALOHA, "flat": FLAT, "shards": SHARDS}
