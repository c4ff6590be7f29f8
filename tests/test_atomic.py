"""Output that is whole or not there: transactions, locks, and what killed processes leave."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast.atomic import claimed, leaves, put_back, refuse_others, replacing, updating, write_atomically
from holdfast.atomic.locks import _boot, locked
from holdfast.atomic.names import lock_name, new_name, unfinished_files
from holdfast.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from holdfast.atomic import claimed
with claimed(Path(sys.argv[1]), purpose="training in"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def held(source):
    """held(target): another process that holds a lock, until it is killed."""
    processes = []

    def start(target):
        environment = os.environ | {"PYTHONPATH": str(source.parent)}
        command = [sys.executable, "-c", HOLD, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(params=["one step", "two steps"])
def steps(request, monkeypatch):
    """File systems that can exchange two paths, and others."""
    if request.param == "two steps":
        monkeypatch.setattr("holdfast.atomic.swap.exchanged", lambda one, other: False)


@pytest.fixture(params=["kernel", "content"])
def locks(request, monkeypatch):
    """File systems with locks, and others."""
    if request.param == "content":
        without_locks(monkeypatch)


def without_locks(monkeypatch):
    def unsupported(handle, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("holdfast.atomic.locks.fcntl.flock", unsupported)


def fill(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def contents(folder):
    return {name: (folder / name).read_text() for name in leaves(folder)}


class TestLocks:
    def test_the_second_process_is_refused_and_told_who_is_first(self, tmp_path, held, locks):
        process = held(tmp_path / "run")
        said = (
            rf"run is in use: process {process.pid} on {re.escape(socket.gethostname())} has been training in it since"
        )
        with pytest.raises(OutputError, match=said), claimed(tmp_path / "run"):
            pass
        with pytest.raises(OutputError, match=said):
            refuse_others(tmp_path / "run")
        process.kill()
        process.wait()
        assert lock_name(tmp_path / "run").exists()
        refuse_others(tmp_path / "run")
        with claimed(tmp_path / "run"):
            pass
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        ("changed", "stale"),
        [({}, False), ({"boot": "an earlier one"}, True), ({"started": "1"}, True), ({"machine": "elsewhere"}, False)],
    )
    def test_without_locks_of_the_kernel_the_content_decides(self, tmp_path, monkeypatch, changed, stale):
        with locked(tmp_path / "run"):
            content = json.loads(lock_name(tmp_path / "run").read_text())
        lock_name(tmp_path / "run").write_text(json.dumps(content | changed))
        without_locks(monkeypatch)
        if not stale:
            with pytest.raises(OutputError, match="is in use"), locked(tmp_path / "run"):
                pass
            lock_name(tmp_path / "run").unlink()
        with locked(tmp_path / "run"):
            pass
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        "content",
        [
            *("", "{", "[" * 4000, "[1]", "null", '"x"', "\xff\xfe", '{"process": ' + "9" * 3000 + "}"),
            *('{"process": -1}', '{"process": true}', '{"process": 1e300}', '{"process": {"a": []}, "boot": []}'),
        ],
    )
    def test_hostile_content_of_a_lock_stops_nobody(self, tmp_path, locks, content):
        known = {"boot": _boot(), "machine": socket.gethostname()}
        text = content if not content.endswith("}") else json.dumps(known)[:-1] + ", " + content[1:]
        lock_name(tmp_path / "run").write_text(text)
        refuse_others(tmp_path / "run")
        with claimed(tmp_path / "run"):
            pass
        assert os.listdir(tmp_path) == []

    def test_a_thread_holds_it_twice_and_two_threads_do_not(self, tmp_path, locks):
        refused = []

        def other():
            with pytest.raises(OutputError, match=f"process {os.getpid()}"), claimed(tmp_path / "run"):
                pass
            refused.append(True)

        with claimed(tmp_path / "run"), claimed(tmp_path / "run"):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert refused == [True]
        assert os.listdir(tmp_path) == []

    def test_parents_that_stay_empty_are_removed(self, tmp_path):
        with claimed(tmp_path / "a" / "b" / "run"):
            assert (tmp_path / "a" / "b").is_dir()
        assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("steps")
class TestReplacing:
    def test_what_is_not_ours_stays_the_same_file(self, tmp_path):
        fill(tmp_path / "run", recipe_txt="old", notes_txt="mine", deep__notes_txt="mine")
        before = (tmp_path / "run" / "notes.txt").stat()
        with replacing(tmp_path / "run", ours=lambda relative: relative == "recipe.txt") as new:
            fill(new, weights_txt="new")
            assert contents(tmp_path / "run")["recipe.txt"] == "old"
        assert contents(tmp_path / "run") == {"weights.txt": "new", "notes.txt": "mine", "deep/notes.txt": "mine"}
        assert (tmp_path / "run" / "notes.txt").stat().st_ino == before.st_ino
        assert os.listdir(tmp_path) == ["run"]

    def test_a_note_that_comes_in_the_meantime_stays_too(self, tmp_path, monkeypatch):
        fill(tmp_path / "run", recipe_txt="old")
        import holdfast.atomic.transaction as module

        put = module.put

        def late(finished, target, *, aside):
            fill(target, notes_txt="mine")
            put(finished, target, aside=aside)

        monkeypatch.setattr(module, "put", late)
        with replacing(tmp_path / "run", ours=lambda relative: relative == "recipe.txt") as new:
            fill(new, recipe_txt="new")
        assert contents(tmp_path / "run") == {"recipe.txt": "new", "notes.txt": "mine"}
        assert os.listdir(tmp_path) == ["run"]

    def test_a_failure_changes_nothing(self, tmp_path):
        fill(tmp_path / "run", recipe_txt="old")

        def fails():
            with replacing(tmp_path / "run") as new:
                fill(new, recipe_txt="new")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        assert contents(tmp_path / "run") == {"recipe.txt": "old"}
        assert os.listdir(tmp_path) == ["run"]

    def test_a_writer_inside_is_not_disturbed(self, tmp_path, held):
        fill(tmp_path / "run", recipe_txt="old")
        held(tmp_path / "run" / "evaluation")

        def replaced():
            with replacing(tmp_path / "run") as new:
                fill(new, recipe_txt="new")

        with pytest.raises(OutputError, match=r"run is in use: process"):
            replaced()
        assert (tmp_path / "run" / "recipe.txt").read_text() == "old"

    def test_the_current_folder_is_refused(self, tmp_path, monkeypatch):
        fill(tmp_path / "run", recipe_txt="old")
        monkeypatch.chdir(tmp_path / "run")

        def replaced():
            with replacing(tmp_path / "run") as new:
                fill(new, recipe_txt="new")

        with pytest.raises(OutputError, match="it is the current folder"):
            replaced()
        assert contents(tmp_path / "run") == {"recipe.txt": "old"}

    @pytest.mark.parametrize("name", ["x" * 255, "ü" * 120])
    def test_long_names(self, tmp_path, name):
        for text in ("old", "new"):
            with replacing(tmp_path / name) as new:
                fill(new, recipe_txt=text)
        assert contents(tmp_path / name) == {"recipe.txt": "new"}
        assert os.listdir(tmp_path) == [name]


def test_a_device_is_no_output(tmp_path, monkeypatch):
    """Not tried on a real device, which a fault would remove."""
    device = tmp_path / "device"
    device.write_text("kept")
    monkeypatch.setattr(Path, "is_char_device", lambda path: path == device)
    with pytest.raises(OutputError, match="is a device"):
        write_atomically(device, "text")
    assert device.read_text() == "kept"


@pytest.mark.parametrize("door", [claimed, replacing, updating])
def test_a_pipe_and_the_root_are_no_outputs(tmp_path, door):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link")
    for target, said in ((tmp_path / "pipe", "a pipe"), (tmp_path / "link", "a pipe"), (Path("/"), "the root")):
        with pytest.raises(OutputError, match=said), door(target, ours=lambda relative: True):
            pytest.fail("the work began")
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("read", ["set", "set/seed0", "set/deep/er"])
def test_what_was_moved_aside_comes_back(tmp_path, read):
    fill(new_name(tmp_path / "set", "old"), data_txt="old")
    put_back(tmp_path / read)
    assert contents(tmp_path / "set") == {"data.txt": "old"}
    assert os.listdir(tmp_path) == ["set"]


def test_leftovers_are_removed_and_notes_in_them_return(tmp_path):
    fill(tmp_path / "run", recipe_txt="new")
    fill(new_name(tmp_path / "run", "partial") / "run", recipe_txt="old", notes_txt="mine")
    fill(
        tmp_path / "run", **{".recipe.json.999999999.partial": "half", f".scale.json.{os.getppid()}.partial": "running"}
    )
    with claimed(tmp_path / "run", ours=lambda relative: relative == "recipe.txt"):
        pass
    assert contents(tmp_path / "run") == {"recipe.txt": "new", "notes.txt": "mine"}
    assert sorted(os.listdir(tmp_path / "run")) == [f".scale.json.{os.getppid()}.partial", "notes.txt", "recipe.txt"]
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("others", [{}, {"notes_txt": "mine"}])
def test_results_keep_what_else_is_in_their_folder(tmp_path, others):
    fill(tmp_path / "out", result_txt="old", kept_txt="old", **others)
    with updating(tmp_path / "out", ours=lambda relative: relative != "notes.txt") as fresh:
        write_atomically(fresh / "result.txt", "new")
        assert contents(tmp_path / "out")["result.txt"] == "old"
    expected = {"result.txt": "new", "kept.txt": "old"} | {
        name.replace("_", "."): text for name, text in others.items()
    }
    assert contents(tmp_path / "out") == expected
    assert os.listdir(tmp_path) == ["out"]


def test_what_an_ended_process_was_writing_is_unfinished_before_its_parent_notices(tmp_path):
    """Until its parent asks for its exit status, an ended process keeps its number."""
    writer = subprocess.Popen([sys.executable, "-c", "pass"])
    (tmp_path / f".cell.json.{writer.pid}.partial").touch()
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    assert [path.name for path in unfinished_files(tmp_path)] == [f".cell.json.{writer.pid}.partial"]
    writer.wait()
