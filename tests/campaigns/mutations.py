"""Damage small data sets in seeded ways, read each in another process, and count how the readings end.

python -m tests.campaigns.mutations [--mutations 2000] [--seed 0] [--sets NAME …] [--out FILE.json]

refused      a sentence: an error of Holdfast
same         read, every quantity and picture as before
said         read, with a note in `meta` on what was not read, or a warning on what was assumed
silent       read with other numbers or another description: nothing in the format shows the damage
traceback    an error that is not Holdfast's
outside      something outside the set was read, written or run
crash, hang  the process ended, or took longer than 60 s; it may use 6 GB
"""

import argparse
import json
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import damage
from .small_sets import SETS

SECONDS = 60
OUTCOMES = ("refused", "same", "said", "silent", "traceback", "outside", "crash", "hang")
FAULTS = ("traceback", "outside", "crash", "hang")
ROOT = Path(__file__).resolve().parents[2]


class Reader:
    """The reading process, started again when it has ended."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def read(self, root: Path, path: Path) -> dict[str, Any]:
        """The report on one set."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(root), str(path)]) + "\n")
        process.stdin.flush()
        # one line of report for one of request, so nothing waits in the buffer
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        outcome = "crash" if ready else "hang"
        return {"outcome": outcome, "numbers": {}, "words": f"the process ended with {process.returncode}"}

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None:
            pipe = subprocess.PIPE
            command = [sys.executable, "-m", "tests.campaigns.reader"]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
            )
        return self.process

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None


def outcome_of(report: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[str, str]:
    """How a reading ended, and words on it."""
    if report["outcome"] != "read":
        return report["outcome"], report["words"]
    found = report["numbers"]
    other = [name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)]
    if not other:
        return "same", ""
    return "said" if "notes" in other else "silent", ", ".join(sorted(other))


def trial(name: str, seed: Sequence[int], room: Path, reader: Reader, whole: Mapping[str, Any]) -> dict[str, str]:
    """Copy a set, damage it and read it."""
    suffix, _ = SETS[name]
    path = room / "trial" / f"set{suffix}"
    source = room / name / f"set{suffix}"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    done = damage.damage(path, np.random.default_rng(list(seed)))
    if not path.exists():
        return {"set": name, "damage": done, "outcome": "refused", "words": "nothing is left"}
    outcome, words = outcome_of(reader.read(room, path), whole)
    return {"set": name, "damage": done, "outcome": outcome, "words": words}


def campaign(mutations: int, seed: int, names: Sequence[str]) -> list[dict[str, str]]:
    """Every trial of a campaign; sets take turns."""
    reader, trials = Reader(), list[dict[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        room, whole = Path(folder), dict[str, dict[str, Any]]()
        for name in names:
            suffix, make = SETS[name]
            (room / name).mkdir()
            make(room / name / f"set{suffix}")
            report = reader.read(room, room / name / f"set{suffix}")
            assert report["outcome"] == "read", report
            whole[name] = report["numbers"]
        for index in range(mutations):
            name = names[index % len(names)]
            trials.append({"seed": f"{seed} {index}", **trial(name, (seed, index), room, reader, whole[name])})
        reader.close()
    return trials


def table(trials: Sequence[Mapping[str, str]]) -> str:
    """Counts of outcomes by set."""
    lines = [f"{'':20}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES)]
    for name in dict.fromkeys(trial["set"] for trial in trials):
        counts = Counter(trial["outcome"] for trial in trials if trial["set"] == name)
        lines.append(f"{name:20}" + "".join(f"{counts[outcome]:10}" for outcome in OUTCOMES))
    return "\n".join(lines)


def main() -> None:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    trials = campaign(given.mutations, given.seed, given.sets)
    print(table(trials))
    for trial in trials:
        if trial["outcome"] in (*FAULTS, "silent"):
            print(f"{trial['set']}, {trial['seed']}: {trial['damage']}: {trial['outcome']}: {trial['words']}")
    if given.out:
        given.out.write_text(json.dumps(trials, indent=1))


if __name__ == "__main__":
    main()
