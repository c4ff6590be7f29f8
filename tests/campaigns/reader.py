"""A process that reads data sets and reports how each reading ended. It serves until its input ends.

    python -m tests.campaigns.reader < REQUESTS > REPORTS

A request is a JSON list [root, path] on a line, and is answered by a JSON object on a line.
A report holds `outcome` (read, refused, traceback, outside), `numbers` (a digest by quantity) and `words`.
"""

import hashlib
import json
import os
import resource
import sys
import traceback
import warnings
from typing import Any

import torch

import holdfast as hf
from holdfast.data.formats.stored import description_of, tensors_of
from holdfast.errors import DataWarning, HoldfastError
from holdfast.types import Episodes

MEMORY = 6 << 30
CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.mkdir", "os.chmod", "os.truncate")
RUNNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pty.spawn")
# entries of `meta` that say what was not read
NOTES = ("features_left_out", "cameras_missing", "tasks_vary")


class Watch:
    """What a reading did outside its data set, by Python's audit events; libraries in C are not seen."""

    def __init__(self) -> None:
        self.root, self.inside, self.found = "", "", list[str]()
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note one event."""
        if not self.root:
            return
        # Python's own `platform` asks for the machine
        if (event in RUNNING and arguments[0] != "uname") or (event in CHANGING and self._is_strange(arguments)):
            self.found.append(f"{event} {arguments[:1]}")
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes and path != os.devnull) or (path.startswith(self.root) and not path.startswith(self.inside)):
                self.found.append(f"open {path}")

    @staticmethod
    def _is_strange(arguments: tuple[Any, ...]) -> bool:
        return not str(arguments[0]).endswith("__pycache__")


def digests(episodes: Episodes) -> dict[str, Any]:
    """A digest of every quantity, and the notes on what was not read."""
    values = {"lengths": episodes.lengths, **tensors_of(episodes)}
    rows = torch.arange(len(episodes.actions))
    values |= {f"camera {name}": pictures.read(rows) for name, pictures in episodes.cameras.items()}
    found = {name: _digest(bytes(v.contiguous().flatten().view(torch.uint8).numpy())) for name, v in values.items()}
    found |= {name: found[name] + f" {list(v.shape)} {v.dtype}" for name, v in values.items()}
    described = description_of(episodes)
    meta = {key: value for key, value in described["meta"].items() if key not in NOTES}
    rest = {**described, "meta": meta, "cameras": sorted(episodes.cameras)}
    notes = {key: value for key, value in described["meta"].items() if key in NOTES}
    return found | {"description": json.dumps(rest, sort_keys=True), "notes": json.dumps(notes, sort_keys=True)}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def read(path: str) -> dict[str, Any]:
    """Read a set and everything in it."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", DataWarning)
            numbers = digests(hf.read(path))
        numbers["notes"] += "".join(str(one.message).replace(path, "") for one in said)
        return {"outcome": "read", "numbers": numbers, "words": ""}
    except HoldfastError as error:
        return {"outcome": "refused", "numbers": {}, "words": str(error)}
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [place for place in last if "holdfast" in place.filename and "campaigns" not in place.filename]
        where = f"{ours[-1].filename.rsplit('holdfast/', 1)[-1]}:{ours[-1].lineno}" if ours else ""
        return {"outcome": "traceback", "numbers": {}, "words": f"{type(error).__name__} at {where}: {error}"[:400]}


def main() -> None:
    """Answer requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    watch = Watch()
    # libraries print to standard output too; the reports have it for themselves
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        root, path = json.loads(line)
        watch.found = []
        watch.root, watch.inside = os.path.realpath(root), os.path.realpath(path)
        report = read(path)
        watch.root = ""
        if watch.found:
            report |= {"outcome": "outside", "words": "; ".join(watch.found)}
        print(json.dumps(report), file=reports, flush=True)


if __name__ == "__main__":
    main()
