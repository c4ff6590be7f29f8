"""Links and other traps in a folder from a stranger: nothing outside it is read, moved or written."""

import os

import pytest

from holdfast.atomic import claimed, put_back, refuse_others, replacing, updating, write_atomically
from holdfast.atomic.names import lock_name, new_name
from holdfast.errors import OutputError


@pytest.fixture
def victim(tmp_path):
    """A folder outside, with one file, which stays as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "v.txt").write_text("precious")
    yield folder
    assert os.listdir(folder) == ["v.txt"]
    assert (folder / "v.txt").read_text() == "precious"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / "recipe.txt").write_text("old")
    return folder


TRAPS = {
    "symbolic link": lambda place, victim: place.symlink_to(victim / "v.txt"),
    "dangling link": lambda place, victim: place.symlink_to(victim / "new.txt"),
    "hard link": lambda place, victim: os.link(victim / "v.txt", place),
    "pipe": lambda place, victim: os.mkfifo(place),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(
    "take", [lambda run: claimed(run).__enter__(), refuse_others], ids=["claimed", "refuse_others"]
)
def test_a_lock_that_is_a_link_is_refused(run, victim, trap, take):
    TRAPS[trap](lock_name(run), victim)
    with pytest.raises(OutputError, match=rf"{lock_name(run).name} is a link or no regular file.*Remove it"):
        take(run)


@pytest.mark.parametrize("kind", ["old", "partial"])
@pytest.mark.parametrize("inside", [False, True])
def test_leftovers_that_are_links_are_removed_and_not_followed(run, victim, kind, inside):
    left = new_name(run, kind)
    if inside:
        left.mkdir()
        (left / run.name).symlink_to(victim)
    else:
        left.symlink_to(victim)
    with claimed(run, ours=lambda relative: False):
        pass
    assert os.listdir(run.parent) == ["run"]
    assert not (run / "v.txt").exists()


def test_a_link_is_not_put_back(tmp_path, victim):
    new_name(tmp_path / "set", "old").symlink_to(victim)
    put_back(tmp_path / "set")
    assert not os.path.lexists(tmp_path / "set")


def test_what_returns_is_not_moved_through_a_link(run, victim):
    left = new_name(run, "old")
    (left / "notes").mkdir(parents=True)
    (left / "notes" / "evil.txt").write_text("evil")
    (run / "notes").symlink_to(victim)
    with pytest.raises(OutputError, match="notes is a symbolic link"), claimed(run, ours=lambda relative: False):
        pass
    assert (left / "notes" / "evil.txt").exists()


def test_results_are_not_written_through_a_link(run, victim):
    (run / "jobs").symlink_to(victim)
    with (
        pytest.raises(OutputError, match="jobs is a symbolic link"),
        updating(run, ours=lambda relative: relative != "recipe.txt") as fresh,
    ):
        write_atomically(fresh / "jobs" / "v.txt", "evil")


def test_a_file_is_not_prepared_through_a_link(run, victim):
    (run / f".recipe.txt.{os.getpid()}.partial").symlink_to(victim / "v.txt")
    write_atomically(run / "recipe.txt", "new")
    assert (run / "recipe.txt").read_text() == "new"
    assert not (run / "recipe.txt").is_symlink()


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="loop cannot be followed"), replacing(tmp_path / "loop"):
        pass
    with pytest.raises(OutputError, match="loop cannot be followed"):
        refuse_others(tmp_path / "loop")


def test_the_current_folder_is_not_replaced_by_a_file(run, monkeypatch):
    (run / "recipe.txt").unlink()
    monkeypatch.chdir(run)
    with pytest.raises(OutputError, match="cannot be replaced by a file"), replacing(run) as new:
        new.write_text("text")
