"""Every verb where nothing can be written: a limit on files, a full disk, a read-only disk.

Each ends with one sentence and exit status 1, and leaves no part of an output. A limit on the size of files needs no
permissions and runs in every suite; disks of their own need the right to mount and run with `pytest -m campaign`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from holdfast.cli import VERBS, main
from holdfast.data import read, write

resource = pytest.importorskip("resource")

COMMANDS = {
    "demo": ["demo", "--steps", "2", "--starts", "2", "--out", "{out}"],
    "demonstrate": ["demonstrate", "scalar", "--episodes", "2", "--out", "{out}"],
    "inspect": ["inspect", "{demos}", "--out", "{out}"],
    "replay": ["replay", "{demos}", "--out", "{out}"],
    "convert": ["convert", "{demos}", "{out}", "--format", "{format}"],
    "train": ["train", "{demos}", "--steps", "2", "--batch-size", "4", "--out", "{out}"],
    "pretrain": ["pretrain", "{pictures}", "--steps", "2", "--batch-size", "4", "--out", "{out}"],
    "skills": ["skills", "{labelled}", "--runs", "0={run}", "1={run}", "--steps", "2", "--out", "{out}"],
    "finetune": ["finetune", "{run}", "--episodes", "2", "--steps", "1", "--epochs", "1", "--out", "{out}"],
    "evaluate": ["evaluate", "{run}", "--episodes", "2", "--out", "{out}"],
    "compare": ["compare", "{run}", "{other}", "--episodes", "2", "--out", "{out}"],
    "diagnose": ["diagnose", "{run}", "--starts", "10", "--no-sweeps", "--steps", "20", "--out", "{out}"],
    "export": ["export", "{run}", "--out", "{out}"],
    "study": ["study", "toy", "--runs", "100", "--out", "{out}"],
}
SLOW = ("demo", "diagnose", "export", "study")
WRITING = [verb for verb in VERBS if verb not in ("serve", "runs")]  # which write nothing
FORMATS = ("holdfast", "lerobot", "robomimic", "zarr", "minari", "npz")
CASES = [*((verb, "lerobot") for verb in WRITING), *(("convert", name) for name in FORMATS if name != "lerobot")]
IDS = [verb if name == "lerobot" else name for verb, name in CASES]


def test_every_verb_is_tried():
    assert set(COMMANDS) == set(WRITING)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    demos, run, pictures = folder / "demos", folder / "run", folder / "pictures"
    pictures.mkdir()
    for number in range(20):
        Image.effect_noise((32, 32), 20 + number).convert("RGB").save(pictures / f"{number:02}.png")
    assert main(["demonstrate", "scalar", "--episodes", "3", "--out", str(demos)]) == 0
    assert main(["train", str(demos), "--steps", "2", "--batch-size", "4", "--out", str(run)]) == 0
    other = folder / "other"
    shutil.copytree(run, other)
    labelled, halves = folder / "labelled", read(demos)
    write(replace(halves, columns={"skill": torch.arange(len(halves.actions)) % 2}), labelled)
    return {"demos": demos, "run": run, "other": other, "pictures": pictures, "labelled": labelled}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit on the size of files, which fails as a full disk does, with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def is_one_sentence(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return "Traceback" not in text and lines[-1].startswith("error: ")


@pytest.mark.parametrize(("verb", "name"), [case for case in CASES if case[0] not in SLOW], ids=lambda part: part)
def test_a_limit_on_files_is_one_sentence(places, tmp_path, capsys, verb, name):
    out = tmp_path / "out"
    command = [part.format(**places, out=out, format=name) for part in COMMANDS[verb]]
    capsys.readouterr()
    with files_of_at_most(600):
        status = main(command)
    said = capsys.readouterr()
    assert status == 1, said.out
    assert is_one_sentence(said.err), said.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "holdfast", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


@pytest.mark.campaign
@pytest.mark.parametrize(("verb", "name"), CASES, ids=IDS)
@pytest.mark.parametrize("options", ["size=4k", "size=16k", "size=64k", "ro"])
def test_disks_that_are_full_or_read_only(places, tmp_path, options, verb, name):
    with disk(tmp_path / "disk", options) as mounted:
        command = [part.format(**places, out=mounted / "out", format=name) for part in COMMANDS[verb]]
        done = run(command)
        left = [path for path in mounted.rglob("*") if path.is_file()]
        if done.returncode == 0:
            # the numbers of a replay fit on 16 kB
            fits = {"size=64k", "size=16k"} if verb == "replay" else {"size=64k"}
            assert options in fits, "a small disk took the output"
            return
        assert done.returncode == 1, done.stderr[-2000:]
        assert is_one_sentence(done.stderr), done.stderr[-2000:]
        assert not left or verb in ("demo", "study")  # their finished parts are kept


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["robomimic", "minari"])
@pytest.mark.parametrize("free", range(200, 2000, 100))
def test_hdf5_on_a_disk_that_fills_up(tmp_path, free, name):
    """HDF5 ended the process at some of these places."""
    script = (
        "import sys, torch, holdfast as hf\n"
        "from holdfast.data import write\n"
        "parts = [torch.randn(200, n, generator=torch.Generator().manual_seed(n)).numpy() for n in (60, 7)]\n"
        "episodes = hf.episodes_from_arrays([parts[0]] * 15, [parts[1]] * 15, dt=0.05)\n"
        "from holdfast.data import formats\n"
        "formats.check_space = lambda *_: None\n"
        "try:\n write(episodes, sys.argv[1], format=sys.argv[2])\n"
        "except OSError:\n sys.exit(3)\n"
    )
    with disk(tmp_path / "disk", f"size={free}k") as mounted:
        done = subprocess.run([sys.executable, "-c", script, mounted / "x-v0", name], capture_output=True, check=False)
        assert done.returncode in (0, 3), done.stderr[-2000:]
        assert done.returncode == 0 or not [path for path in mounted.rglob("*") if path.is_file()]
