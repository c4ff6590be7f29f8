"""A process that has imported everything and forks a child for each command, which takes milliseconds.

Reads one JSON object a line: `{"task": name, "arguments": […], "crash": n, "after": seconds, "signal": number,
"two_steps": bool, "warm": bool}`. A child runs the task. At its n-th call that changes the file system it ends as if
killed, and a write is then cut in half. Answers with `[status, printed, number of such calls]`. With `warm` the modules
that the child imported are imported here as well.
"""

import builtins
import contextlib
import hashlib
import importlib
import io
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from tests.campaigns.tiny_study import TinyStudy

import holdfast.atomic.swap as swap
import holdfast.cli
import holdfast.cli.convert
import holdfast.cli.demonstrate
import holdfast.cli.evaluate
import holdfast.cli.export
import holdfast.cli.inspect
import holdfast.cli.running
import holdfast.cli.study
import holdfast.cli.train
from holdfast import load, read
from holdfast.learn.run_folder import RunFolder
from holdfast.policy.realtime import CORRECTION, load_correction

CHANGES = ("replace", "rename", "mkdir", "unlink", "remove", "rmdir", "fsync", "link", "symlink", "ftruncate", "pwrite")


class Point:
    """Counts changes; at the n-th the process ends."""

    def __init__(self, last):
        self.last, self.count = last, 0

    def pass_by(self):
        self.count += 1
        return self.count == self.last

    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Writing:
    """An open file whose writes are points."""

    def __init__(self, file, point):
        self.__dict__.update(file=file, point=point)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        if self.point.pass_by():
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            self.point.end()
        return self.file.write(content)


def watch(point):
    def wrapped(call):
        def watched(*arguments, **options):
            if point.pass_by():
                point.end()
            return call(*arguments, **options)

        return watched

    for name in CHANGES:
        setattr(os, name, wrapped(getattr(os, name)))
    swap.exchanged = wrapped(swap.exchanged)
    create, opened = os.open, io.open

    def open_handle(path, flags, *arguments, **options):
        if flags & os.O_CREAT and point.pass_by():
            point.end()
        return create(path, flags, *arguments, **options)

    def open_file(path, mode="r", *arguments, **options):
        if not set(mode) & set("wax+") or isinstance(path, int) or str(path).startswith("/dev"):
            return opened(path, mode, *arguments, **options)
        if point.pass_by():
            point.end()
        return Writing(opened(path, mode, *arguments, **options), point)

    os.open, io.open, builtins.open = open_handle, open_file, open_file


def verb(arguments):
    return holdfast.cli.main(arguments)


def show(arguments):
    """Print what readers see of places: numbers of a data set, weights of a run, or why there is nothing."""
    for place in map(Path, arguments):
        try:
            if (place / "recipe.json").exists() or "run" in place.name or "seed" in place.name:
                numbers = run_numbers(place)
            elif place.name == "graph":
                numbers = graph_numbers(place)
            else:
                episodes = read(place)
                numbers = float(episodes.states.double().abs().sum() + episodes.actions.double().abs().sum())
            print(f"{numbers!r}")
        except Exception as error:
            print(f"{type(error).__name__}: {error}"[:200])
    return 0


def run_numbers(place):
    """Sums of the weights of a run and of its correction, if it has one."""
    policy = load(place)
    nets = [policy.planner.model]
    if (place / CORRECTION).exists():
        nets.append(load_correction(place, policy.planner).net)
    return [sum(float(value.double().abs().sum()) for value in net.state_dict().values()) for net in nets]


def graph_numbers(place):
    """Digest of an exported graph, whose manifest must name it."""
    file = json.loads((place / "manifest.json").read_text())["file"]
    if hashlib.sha256((place / file["name"]).read_bytes()).hexdigest() != file["sha256"]:
        raise ValueError("Error: the manifest belongs to another graph")
    return file["sha256"]


def half(arguments):
    """A training that is killed after its checkpoint of step 2."""
    after = RunFolder.after

    def kill(self, state, *, stopping):
        if state.step > 2:
            os._exit(0)
        after(self, state, stopping=stopping)

    RunFolder.after = kill
    return holdfast.cli.main(arguments)


TASKS = {"verb": verb, "show": show, "half": half}


def child(command, out, count):
    sys.stdout = sys.stderr = open(out, "w")  # noqa: SIM115
    torch.set_num_threads(1)
    holdfast.cli.study.load_study = lambda name: TinyStudy
    if command.get("two_steps"):
        swap.exchanged = lambda one, other: False
    point = Point(command.get("crash"))
    watch(point)
    try:
        status = TASKS[command["task"]](command["arguments"])
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    count.write(json.dumps([point.count, sorted(sys.modules) if command.get("warm") else []]))
    count.flush()
    os._exit(status)


def main():
    for line in sys.stdin:
        command = json.loads(line)
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("w+") as count:
            process = os.fork()
            if process == 0:
                child(command, out.name, count)
            if command.get("after") is not None:
                time.sleep(command["after"])
                os.kill(process, command.get("signal", signal.SIGKILL))
            _, status = os.waitpid(process, 0)
            count.seek(0)
            points, modules = json.loads(count.read() or "[0, []]")
            answer = [os.waitstatus_to_exitcode(status), Path(out.name).read_text(), points]
        for name in modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        sys.__stdout__.write(json.dumps(answer) + "\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    main()
