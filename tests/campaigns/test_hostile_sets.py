"""Data sets made by hand to do harm: each is refused in one sentence, and nothing is run, reached or exhausted."""

import json
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from . import hostile_sets
from .hostile_others import OTHERS

SETS = hostile_sets.SETS | {f"{kind}: {name}": case for kind, cases in OTHERS.items() for name, case in cases.items()}

SECONDS = 60
# one set of each kind, for every run of the tests; the others are the campaign
ALWAYS = (
    "zarr: pickle as filter",
    "zarr: pickle in episode_ends",
    "zarr: v3 pickle",
    "zarr: huge arrays",
    "hdf5: robomimic, external storage, absolute",
    "hdf5: robomimic, external link",
    "hdf5: minari, virtual array",
    "npz: pickled array",
    "npz: huge header",
    "native: link of the numbers",
    "native: pipe as a camera",
    "lerobot: template of any width",
    "lerobot: template of attributes",
    "lerobot: video that is a playlist",
    "lerobot: cache of the Hub",
    "npy: pickled array",
    "csv: device",
    "groups: external storage",
    "aloha: pictures of references",
    "flat: huge rows",
    "shards: index that leads out",
)


class Reader:
    """The process that reads; started again after a set that ended it."""

    def __init__(self):
        self.process = None

    def __call__(self, path):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("hostile_reader.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.process.kill()
            return ["hung", "", []]
        line = self.process.stdout.readline()
        return json.loads(line) if line else ["ended", f"status {self.process.wait()}", []]

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()


@pytest.fixture(scope="module")
def reader():
    made = Reader()
    yield made
    made.close()


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.campaign) for name in SETS]
)
def test_a_hostile_set(reader, tmp_path, name):
    path, says = hostile_sets.build(SETS[name][0], tmp_path), SETS[name][1]
    result, said, noticed = reader(path)
    assert noticed == []
    assert not (tmp_path / "ran").exists()
    assert not (Path.cwd() / "ran").exists()
    if says is None:
        assert result == "read", said
        return
    assert result == "refused", said
    assert re.search(says, said), said
    assert "\n" not in said
    assert len(said) < 2000


def test_the_table():
    assert len(SETS) >= 100
    assert set(ALWAYS) <= set(SETS)
