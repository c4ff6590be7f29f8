"""Run folders that were damaged in seeded ways: each is refused in words, or acts and resumes as before.

Runs that were written before there were digests may act otherwise, if a warning says that this cannot be checked.
`pytest -m campaign tests/campaigns/test_run_folders.py` takes all seeds; a small part runs always.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.learn import fit, prepare
from holdfast.learn.fingerprint import Fingerprint
from holdfast.models import IndependentTokens
from holdfast.nn import ResidualMlp
from holdfast.recipe import Recipe, Training
from holdfast.sealed import header_of
from holdfast.tokens import Binning

HERE = Path(__file__).parent
OLD = HERE.parent / "fixtures" / "run_version_1"
FEW, MANY = 40, 600


@dataclass(frozen=True)
class Runs:
    """Folders of sound runs by family, each with a twin of another seed, and the fingerprints of their data."""

    folders: dict[str, tuple[Path, Path]]
    data: dict[str, dict[str, Any]]


def recipes(tiny: Recipe) -> dict[str, Recipe]:
    """A family with, and one without a tokenizer."""
    training = Training(steps=2, batch_size=4, warmup_steps=0, save_every=2, sigma_train=0.1)
    tokens = IndependentTokens(tokenizer=Binning(bins=8), network=ResidualMlp(width=8, blocks=1, embedding=4))
    diffusion = replace(tiny, training=training)
    return {"diffusion": diffusion, "tokens": replace(diffusion, policy=replace(tiny.policy, model=tokens))}


@pytest.fixture(scope="module")
def runs(tiny_recipe, demos, tmp_path_factory) -> Runs:
    place, folders, data = tmp_path_factory.mktemp("runs"), {}, {}
    for family, recipe in recipes(tiny_recipe).items():
        for seed in (0, 1):
            sets = prepare(replace(recipe, seed=seed, n_demos=3), demos)
            fit(replace(recipe, seed=seed, n_demos=3), sets, place / f"{family}{seed}")
            data.setdefault(family, asdict(Fingerprint.of(sets)))
        folders[family] = (place / f"{family}0", place / f"{family}1")
    folders["old"] = (OLD / "diffusion" / "stopped", OLD / "uniform-noise" / "stopped")
    old = str(header_of(folders["old"][0] / "train_state" / "state.safetensors")["data"])
    data["old"] = asdict(Fingerprint(rows=old, gains=0.0, whole=old))
    return Runs(folders, data)


class Loader:
    """The process that loads; it is started again when it has ended."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def load(self, folder: Path, data: dict[str, Any]) -> dict[str, Any]:
        """The report on one folder."""
        if self.process is None:
            command = [sys.executable, str(HERE / "load_run.py")]
            source = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "OMP_NUM_THREADS": "1"}
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=source)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), data]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.close()
        return {"acts": "crash", "resumes": "crash", "words": ["the process ended"], "said": []}

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait()
            self.process = None


@contextmanager
def loader() -> Iterator[Loader]:
    """A loader for a while."""
    made = Loader()
    try:
        yield made
    finally:
        made.close()


def outcome(found: dict[str, Any], sound: dict[str, Any]) -> str:
    """How a loading ended, the worse of acting and resuming."""
    ends = []
    for what in ("acts", "resumes"):
        end = found[what]
        other = "said" if found["said"] else "silent"
        ends.append(end if end in ("refused", "traceback", "crash") else "same" if end == sound[what] else other)
    worst = ("crash", "traceback", "silent", "said", "refused", "same")
    return min(ends, key=worst.index)


def campaign(runs: Runs, place: Path, count: int) -> list[tuple[str, str, list[str]]]:
    """Outcome, damage and words of each seed."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("run_damage", HERE / "run_damage.py")
    assert spec is not None
    assert spec.loader is not None
    damages = module_from_spec(spec)
    spec.loader.exec_module(damages)
    ends = []
    with loader() as loading:
        sound = {family: loading.load(folders[0], runs.data[family]) for family, folders in runs.folders.items()}
        assert all(len(one[what]) == 64 for one in sound.values() for what in ("acts", "resumes"))
        assert [family for family, one in sound.items() if one["said"]] == ["old"]
        for seed in range(count):
            family = sorted(runs.folders)[seed % len(runs.folders)]
            folder, twin = runs.folders[family]
            copy = Path(shutil.copytree(folder, place / f"{seed}"))
            how = damages.damage(copy, twin, random.Random(seed))
            found = loading.load(copy, runs.data[family])
            end = outcome(found, sound[family])
            ends.append((end, f"seed {seed}, {family}, {how}", found["words"]))
            shutil.rmtree(copy)
    return ends


def check(ends: list[tuple[str, str, list[str]]]) -> None:
    """No outcome but refused and same, in old runs also said; and sentences where one is refused."""
    fine = ("refused", "same", "said")
    assert not [end for end in ends if end[0] not in fine], Counter(end for end, _, _ in ends)
    assert not [end for end in ends if end[0] == "said" and ", old, " not in end[1]]
    for end, how, words in ends:
        assert end in ("same", "said") or all(len(word) < 1200 and "\n" not in word.strip() for word in words), (
            how,
            words,
        )


def test_a_few_damaged_runs(runs, tmp_path):
    check(campaign(runs, tmp_path, FEW))


@pytest.mark.campaign
def test_many_damaged_runs(runs, tmp_path):
    ends = campaign(runs, tmp_path, MANY)
    print(Counter(end for end, _, _ in ends))
    check(ends)
