"""Damage is not read as data: every format that Holdfast writes is compared with its checksums when it is read."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.data import FORMATS, read, write
from holdfast.data.checksums import Verified, of_array, of_json, of_pictures
from holdfast.data.formats import lerobot
from holdfast.data.formats.sealed import CONTENTS, SEAL, check_seal, sealed
from holdfast.data.pictures import Frames
from holdfast.data.tensor_file import read_tensors
from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.types import Episodes

SUFFIXES = {"npz": ".npz", "robomimic": ".hdf5", "zarr": ".zarr", "minari": "-v0"}
PIXELS = torch.randint(0, 256, (40, 32, 32, 3), dtype=torch.uint8, generator=stream(0, "pixels"))


def made(**parts) -> Episodes:
    rng = stream(0, "checksums")
    actions, states = (torch.randn(40, n, generator=rng, dtype=torch.float64) for n in (2, 3))
    whole = Episodes(actions=actions, states=states, lengths=torch.tensor([35, 5]), dt=0.1, meta={"seed": 1})
    return replace(whole, **parts)


def written(folder: Path, format: str, episodes: Episodes | None = None) -> Path:
    path = folder / f"set{SUFFIXES.get(format, '')}"
    write(episodes or made(cameras={"top": Frames(PIXELS)}), path, format=format)
    return path


class TestSums:
    def test_arrays_differ_by_dtype_shape_and_bits(self):
        ones = torch.ones(2, 3)
        others = (ones.double(), ones.reshape(3, 2), -ones, torch.cat([ones[:1], ones[:1].neg()]), ones.bool())
        assert len({of_array(values) for values in (ones, *others)}) == 6
        assert of_array(torch.zeros(2)) != of_array(-torch.zeros(2))

    def test_strides_do_not_matter(self):
        wide = torch.randn(5, 6, generator=stream(0))
        assert of_array(wide[:, ::2]) == of_array(wide[:, ::2].contiguous())

    def test_json_as_it_is_read_again(self):
        value = {"b": [0.1, 1e-320, None, "ü"], "a": {"1": True}}
        assert of_json(value) == of_json(json.loads(json.dumps(value, indent=3, ensure_ascii=False)))
        assert of_json([1]) != of_json([1.0])


class TestSeal:
    def test_what_changed_is_named(self):
        episodes = made(tasks=("a", "b"), columns={"force": torch.ones(40)})
        label = sealed({"dt": 0.1}, episodes)
        check_seal(label, episodes, "demos")
        changed = {
            "actions": replace(episodes, actions=-episodes.actions),
            "lengths": replace(episodes, lengths=torch.tensor([30, 10])),
            "tasks": replace(episodes, tasks=("a", "c")),
            "columns/force": replace(episodes, columns={}),
            "columns/more": replace(episodes, columns={"force": torch.ones(40), "more": torch.ones(40)}),
        }
        for name, other in changed.items():
            with pytest.raises(DataError, match=f"demos is damaged: {name} changed after"):
                check_seal(label, other, "demos")

    def test_the_description(self):
        label = sealed({"dt": 0.1}, made())
        for changed in ({**label, "dt": 0.2}, {**label, "more": 1}, {**label, CONTENTS: {}}, {**label, SEAL: None}):
            with pytest.raises(DataError, match="the description changed after"):
                check_seal(changed, made(), "demos")

    def test_sets_without_checksums_are_not_compared(self):
        check_seal({"dt": 0.1}, made(), "demos")
        check_seal({key: v for key, v in sealed({"dt": 0.1}, made()).items() if key != SEAL}, made(), "demos")


@pytest.mark.parametrize("format", FORMATS)
class TestFormats:
    def test_pictures_are_verified_when_they_are_read(self, tmp_path, format):
        assert torch.equal(read(written(tmp_path, format)).cameras["top"].read(torch.arange(40)), PIXELS)

    def test_cut_short_while_open(self, tmp_path, format):
        """A file that is mapped into memory would end the process."""
        path = written(tmp_path, format)
        code = (
            "import sys, torch, holdfast as hf; from pathlib import Path\n"
            f"path = Path({str(path)!r}); episodes = hf.read(path)\n"
            "for file in [path] if path.is_file() else [file for file in path.rglob('*') if file.is_file()]:\n"
            "    file.open('r+b').truncate(100)\n"
            "print(float(episodes.actions.sum() + episodes.states.sum()))\n"
            "try: print(int(episodes.cameras['top'].read(torch.arange(40)).sum()))\n"
            "except hf.HoldfastError as error: print('refused:', error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        numbers, pictures = done.stdout.splitlines()
        assert float(numbers) == float(made().actions.sum() + made().states.sum())
        # whole, where they were read with the set
        assert pictures == str(int(PIXELS.sum())) or pictures.startswith("refused:")


def test_a_picture_that_changed(tmp_path):
    path = written(tmp_path, "holdfast")
    file = path / "camera-0.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    pictures = read(path).cameras["top"]
    assert torch.equal(pictures.read(torch.tensor([38, 0, 1])), PIXELS[[38, 0, 1]])
    with pytest.raises(DataError, match=r"camera-0.npy is damaged: picture 39 differs from its checksum"):
        pictures.read(torch.tensor([0, 39]))


def test_numbers_that_changed(tmp_path):
    path = written(tmp_path, "holdfast")
    file = path / "episodes.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="states changed after the data set was written"):
        read(path)


@pytest.mark.parametrize("name", ["episodes.json", "meta/info.json", ".zattrs", "data/metadata.json"])
def test_a_change_that_is_intended(tmp_path, name):
    format = {"episodes.json": "holdfast", ".zattrs": "zarr", "data/metadata.json": "minari"}.get(name, "lerobot")
    path = written(tmp_path, format)
    content = json.loads((path / name).read_text())
    label = content.get("holdfast", content)
    label["system"] = "toy"
    (path / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"the description changed .* remove the entry 'checksum'"):
        read(path)
    del label["checksum"]
    (path / name).write_text(json.dumps(content))
    assert read(path).system == "toy"


class TestLostDescriptions:
    def test_zarr(self, tmp_path):
        path = written(tmp_path, "zarr")
        (path / ".zattrs").unlink()
        with pytest.raises(DataError, match="lacks the attribute holdfast"):
            read(path)

    def test_hdf5(self, tmp_path):
        path = written(tmp_path, "robomimic")
        with h5py.File(path, "r+") as file:
            del file["data"].attrs["holdfast"]
        with pytest.raises(DataError, match="lacks the description 'holdfast'"):
            read(path)

    @pytest.mark.parametrize(("format", "place"), [("minari", "data/metadata.json"), ("lerobot", "meta/info.json")])
    def test_under_another_name(self, tmp_path, format, place):
        file = written(tmp_path, format) / place
        file.write_text(file.read_text().replace('"holdfast"', '"holdfasu"'))
        with pytest.raises(DataError, match="'holdfasu' should be 'holdfast'"):
            read(file.parents[1])


def test_a_video_that_changed(tmp_path):
    lerobot.write(made(cameras={"top": Frames(PIXELS)}), tmp_path / "set", video=True)
    (file,) = (tmp_path / "set").rglob("*.mp4")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    pictures = read(tmp_path / "set").cameras["top"]
    with pytest.raises(DataError, match=r"file-000.mp4 is damaged: its size or checksum"):
        pictures.read(torch.tensor([0]))


def test_checksums_of_another_number_of_pictures():
    sums = of_pictures(PIXELS.numpy())
    assert torch.equal(Verified(Frames(PIXELS), sums, "top").read(torch.tensor([3, 3])), PIXELS[[3, 3]])
    for wrong in (sums[1:], sums.astype(np.int64)):
        with pytest.raises(DataError, match="top: 40 pictures, but checksums of"):
            Verified(Frames(PIXELS), wrong, "top")


class TestTensorFile:
    def test_as_the_library_reads_it(self, tmp_path):
        kinds = (torch.float64, torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.int16, torch.uint32)
        tensors = {f"ä {dtype}": torch.arange(7).to(dtype) for dtype in kinds}
        tensors |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.5)}
        save_file(tensors, tmp_path / "a.safetensors", metadata={"x": "y"})
        found, expected = read_tensors(tmp_path / "a.safetensors"), load_file(tmp_path / "a.safetensors")
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
            assert torch.equal(found[name], values)

    @pytest.mark.parametrize(
        "entry",
        [
            {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]},
            {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]},
            {"dtype": "F64", "shape": [-1, -2], "data_offsets": [0, 16]},
            {"dtype": "F65", "shape": [2], "data_offsets": [0, 16]},
            {"dtype": "U8", "shape": [10**30], "data_offsets": [0, 10**30]},
            {"shape": [2]},
            [1],
            None,
        ],
    )
    def test_headers_that_do_not_fit(self, tmp_path, entry):
        header = json.dumps({"a": entry}).encode()
        (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
        with pytest.raises(DataError, match="is damaged or cut short"):
            read_tensors(tmp_path / "a")
