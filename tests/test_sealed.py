"""Files with a digest: what is noticed, and files from before, whose digest covered the numbers themselves."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from holdfast.errors import DataError
from holdfast.sealed import ENTRY, crc32c, read_sealed, sealed

NUMBERS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([0.5, -1.0])}


def written(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = folder / "file.safetensors"
    path.write_bytes(sealed(tensors, {"step": 3}))
    return path


def written_before(folder: Path, tensors: dict[str, torch.Tensor], about: dict[str, object]) -> Path:
    """A file whose digest is the SHA-256 of all numbers."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name]
        found.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode() + values.numpy().tobytes())
    path = folder / "before.safetensors"
    save_file(tensors, path, {ENTRY: json.dumps({**about, "digest": found.hexdigest()}, sort_keys=True)})
    return path


def test_the_checksum_is_that_of_the_castagnoli_polynomial_computed_bit_by_bit():
    content = bytes(range(200))
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(content) == register ^ 0xFFFFFFFF
    assert crc32c(content[77:], crc32c(content[:77])) == crc32c(content)


def test_what_was_written_is_read_and_agrees(tmp_path: Path):
    stored = read_sealed(written(tmp_path, NUMBERS))
    stored.check()
    assert stored.about == {"step": 3}
    assert all(torch.equal(stored.tensors[name], values) for name, values in NUMBERS.items())


@pytest.mark.parametrize("place", [-1, -9, -24])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_changed_bit_of_the_numbers_is_noticed(tmp_path: Path, place: int, bit: int):
    path = written(tmp_path, NUMBERS)
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(DataError, match="disagree with the digest"):
        read_sealed(path).check()


def test_a_changed_header_is_noticed(tmp_path: Path):
    path = written(tmp_path, NUMBERS)
    path.write_bytes(path.read_bytes().replace(b'\\"step\\": 3', b'\\"step\\": 4'))
    with pytest.raises(DataError, match="disagree with the digest"):
        read_sealed(path).check()


def test_a_file_of_before_is_read_and_its_digest_compared(tmp_path: Path):
    path = written_before(tmp_path, NUMBERS, {"step": 3})
    read_sealed(path).check()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="disagree with the digest"):
        read_sealed(path).check()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_tensors_that_are_not_finite_are_named(tmp_path: Path, bad: float):
    numbers = {**NUMBERS, "broken": torch.tensor([1.0, bad])}
    # their sum overflows, although each is finite
    numbers["large"] = torch.full((4,), torch.finfo(torch.float32).max)
    assert read_sealed(written(tmp_path, numbers)).not_finite() == ["broken"]
