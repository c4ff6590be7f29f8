"""Reads data sets whose paths it is given, one a line, under limits; a process of its own, run by the tests beside it.

Each answer is one line of JSON: what came of the set ("read", "refused", "crashed"), what was said, and what Python
opened, imported or started that it should not have.
"""

import json
import os
import resource
import sys
import traceback
from pathlib import Path

MEMORY = 3 << 30
WATCHED = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect"}

noticed: list[str] = []


def notice(event, arguments):
    """An audit hook: whatever runs code or leads out of a set."""
    # Python's own `platform` asks for the machine
    if (event in WATCHED and arguments[0] != "uname") or (event == "import" and str(arguments[0]).startswith("canary")):
        noticed.append(f"{event} {arguments[0]!r}")
    elif event == "open" and os.path.basename(str(arguments[0])).startswith("secret."):
        noticed.append(f"open {arguments[0]!r}")


def use(path):
    """Read a set, look at pictures of each camera, examine it, and write it elsewhere."""
    import torch

    import holdfast
    from holdfast.data.doctor import inspect_episodes

    inspect_episodes(holdfast.read(path, check=False))
    episodes = holdfast.read(path)
    for pictures in episodes.cameras.values():
        pictures.read(torch.tensor([0, len(pictures) - 1]))
    out = Path(path).parent / "converted"
    holdfast.write(episodes, out, format="holdfast", overwrite=True)
    return repr([values.tolist() for values in (episodes.actions, episodes.states)])


def answer(path):
    """What came of one set."""
    from holdfast.errors import HoldfastError

    noticed.clear()
    try:
        return ["read", use(path), noticed]
    except HoldfastError as error:
        return ["refused", str(error), noticed]
    except BaseException:
        return ["crashed", traceback.format_exc(), noticed]


def main():
    """Answer until there is no more to read."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # other packages are imported before, as they open and start what they like

    import holdfast  # noqa: F401

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + _taken(), MEMORY + _taken()))
    sys.addaudithook(notice)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def _taken():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
