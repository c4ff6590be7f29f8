"""The run folder: resuming is exact, files are whole, changed data and damage are refused."""

import json
import os
import shutil
import signal
import stat
import threading
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from holdfast.errors import HoldfastError, OutputError, RecipeError, RunError, RunWarning
from holdfast.interrupts import deferred_interrupt
from holdfast.learn import Interrupted, fit, load_recipe, prepare, prepare_held_out
from holdfast.learn.checkpoint import load_state, write_atomically
from holdfast.learn.fingerprint import Fingerprint
from holdfast.policy import Policy

EXACT = ["model.safetensors", "scale.json", "interface.json", "recipe.json", "train_state/state.safetensors"]


class Killed(Exception):
    """Stands for whatever ends a training between two checkpoints."""


def stop_at(step):
    def on_step(state):
        if state.step == step:
            raise Killed

    return on_step


def run(recipe, data, folder, **options):
    return fit(recipe, data, folder, **options)


def steps_of(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def recipe(tiny_recipe):
    """120 updates, checkpoints every 10: several lines of metrics, which come every 50."""
    return replace(tiny_recipe, training=replace(tiny_recipe.training, steps=120, save_every=10))


@pytest.fixture
def whole(recipe, tiny_data, tmp_path):
    run(recipe, tiny_data, tmp_path / "whole")
    return tmp_path / "whole"


@pytest.mark.parametrize("killed_at", [3, 67, 110, 119])
def test_an_interrupted_training_ends_on_the_same_bytes(recipe, tiny_data, tmp_path, whole, killed_at):
    folder = tmp_path / "resumed"
    with pytest.raises(Killed):
        run(recipe, tiny_data, folder, on_step=stop_at(killed_at))
    run(recipe, tiny_data, folder, resume=True)
    for name in EXACT:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert steps_of(folder) == steps_of(whole) == [50, 100, 120]


def test_a_run_can_be_interrupted_twice(recipe, tiny_data, tmp_path, whole):
    folder = tmp_path / "resumed"
    for options in ({"on_step": stop_at(25)}, {"on_step": stop_at(61), "resume": True}):
        with pytest.raises(Killed):
            run(recipe, tiny_data, folder, **options)
    run(recipe, tiny_data, folder, resume=True)
    assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in EXACT)
    assert steps_of(folder) == [50, 100, 120]


def test_a_resumed_training_starts_at_its_checkpoint(recipe, tiny_data, tmp_path):
    with pytest.raises(Killed):
        run(recipe, tiny_data, tmp_path / "run", on_step=stop_at(67))
    steps = []
    run(recipe, tiny_data, tmp_path / "run", resume=True, on_step=lambda state: steps.append(state.step))
    assert steps == list(range(61, 121))


def test_metrics_beyond_the_checkpoint_and_half_lines_are_dropped(recipe, tiny_data, tmp_path):
    sparse = replace(recipe, training=replace(recipe.training, save_every=30))
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        run(sparse, tiny_data, folder, on_step=stop_at(117))
    assert steps_of(folder) == [50, 100]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 110, "lo')
    with pytest.raises(Killed):
        run(sparse, tiny_data, folder, resume=True, on_step=stop_at(91))
    assert steps_of(folder) == [50]
    run(sparse, tiny_data, folder, resume=True)
    assert steps_of(folder) == [50, 100, 120]


def test_a_finished_run_resumes_to_itself(recipe, tiny_data, whole):
    before = {name: (whole / name).read_bytes() for name in [*EXACT, "metrics.jsonl"]}
    assert run(recipe, tiny_data, whole, resume=True).step == 120
    assert {name: (whole / name).read_bytes() for name in before} == before


def test_the_folder_is_complete_before_the_first_update(recipe, tiny_data, tmp_path):
    with pytest.raises(Killed):
        run(recipe, tiny_data, tmp_path / "run", on_step=stop_at(1))
    assert Policy.from_pretrained(tmp_path / "run").spec == recipe.policy
    assert load_recipe(tmp_path / "run") == recipe


def test_no_partial_file_is_left(whole):
    names = {path.name for path in whole.rglob("*") if path.is_file()}
    assert names == {"recipe.json", "scale.json", "interface.json", "model.safetensors"} | {
        "metrics.jsonl",
        "state.safetensors",
    }


def test_a_new_run_in_an_old_folder_starts_afresh(recipe, tiny_data, whole):
    expected = (whole / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        run(recipe, tiny_data, whole)
    run(recipe, tiny_data, whole, overwrite=True)
    assert steps_of(whole) == [50, 100, 120]
    assert (whole / "model.safetensors").read_bytes() == expected


def test_changed_data_are_refused(recipe, tiny_data, demos, whole):
    actions = demos.actions.clone()
    actions[7] += 1e-3
    changed = prepare(recipe, replace(demos, actions=actions))
    assert Fingerprint.of(changed) != Fingerprint.of(tiny_data)
    with pytest.raises(
        RunError, match=r"differ from those that .*whole was trained on.*Restore the data, or start a new training"
    ):
        run(recipe, changed, whole, resume=True)


def test_nothing_to_resume_from(recipe, tiny_data, tmp_path, whole):
    with pytest.raises(RunError, match="contains no training state"):
        run(recipe, tiny_data, tmp_path / "nothing", resume=True)
    path = whole / "train_state" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunError, match=r"state\.safetensors is damaged"):
        run(recipe, tiny_data, whole, resume=True)


def test_a_stored_state_comes_back_bit_for_bit(recipe, tiny_data, whole):
    state = load_state(whole, data=Fingerprint.of(tiny_data))
    assert state.step == 120
    with safe_open(str(whole / "model.safetensors"), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            assert torch.equal(file.get_tensor(name), state.average[name])


def test_writing_keeps_the_old_content_until_the_new_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")

    def fails(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_ctrl_c_saves_and_says_how_to_go_on(recipe, tiny_data, tmp_path, whole):
    folder = tmp_path / "stopped"

    def press(state):
        if state.step == 37:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(
        Interrupted, match=r"stopped at step 37; continue with: fit\(recipe, data, folder, resume=True\)"
    ):
        run(recipe, tiny_data, folder, on_step=press)
    stored, elsewhere = replace(recipe, data="demos"), tmp_path / "elsewhere"
    with pytest.raises(Interrupted, match=r"stopped at step 37; continue with: holdfast train --resume .*elsewhere"):
        run(stored, tiny_data, elsewhere, on_step=press)
    assert load_state(folder, data=Fingerprint.of(tiny_data)).step == 37
    run(recipe, tiny_data, folder, resume=True)
    assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in EXACT)


def test_the_interrupt_handler_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_kill_between_the_two_writes_of_a_checkpoint_is_repaired(recipe, tiny_data, tmp_path, whole):
    """The training state is written first; the deployable weights must not stay behind it for good."""
    folder = tmp_path / "torn"
    run(recipe, tiny_data, folder)
    expected = (folder / "model.safetensors").read_bytes()
    other = replace(recipe, training=replace(recipe.training, steps=10))
    run(other, tiny_data, tmp_path / "early")
    (folder / "model.safetensors").write_bytes((tmp_path / "early" / "model.safetensors").read_bytes())
    run(recipe, tiny_data, folder, resume=True)
    assert (folder / "model.safetensors").read_bytes() == expected == (whole / "model.safetensors").read_bytes()


def test_what_is_no_run_is_not_overwritten(recipe, tiny_data, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is not a run folder"):
        run(recipe, tiny_data, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_held_out_loss_is_noted_at_checkpoints(recipe, demos, tmp_path):
    recipe = replace(recipe, held_out=0.5, training=replace(recipe.training, save_every=60))
    data = prepare(recipe, demos)
    held_out = prepare_held_out(recipe, demos, data)
    assert len(held_out.windows.lengths) == len(data.windows.lengths) == 2
    run(recipe, data, tmp_path / "run", held_out=held_out)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out_loss" in line] == [60, 120]
    assert lines[-1]["held_out_loss"] > lines[-1]["loss"] / 10
    assert prepare_held_out(replace(recipe, held_out=0.0), demos, data) is None


def test_data_prepared_for_another_recipe_are_refused(tiny_recipe, tiny_data, tmp_path):
    other = replace(tiny_recipe, policy=replace(tiny_recipe.policy, n_observed=4))
    with pytest.raises(RecipeError, match=r"observations of 4 .* got 6 .* Prepare the data with this recipe"):
        fit(other, tiny_data, tmp_path / "run")


@pytest.mark.parametrize(
    ("line", "sound"),
    [
        (b"\xff\xfe\n", [50, 100]),
        (b'{"step": 70, "lo\n', [50, 100]),
        (b'[1]\n"text"\nnull\n', [50, 100]),
        (b'{"step": "many"}\n', [50, 100]),
        (b"[" * 100_000 + b"\n", [50, 100]),
    ],
)
def test_a_damaged_log_is_set_aside_and_training_goes_on(recipe, tiny_data, whole, line, sound):
    log = whole / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:1], line, *lines[1:]])
    for number in (1, 2):
        log.write_bytes(damaged)
        with pytest.warns(
            RunWarning, match=rf"metrics.jsonl was damaged. It is kept as metrics.damaged-{number}.jsonl"
        ):
            run(recipe, tiny_data, whole, resume=True)
        assert (whole / f"metrics.damaged-{number}.jsonl").read_bytes() == damaged
        assert steps_of(whole) == [*sound, 120]


def test_a_run_without_a_checkpoint_starts_from_step_0(recipe, tiny_data, tmp_path, whole):
    """Both as `--resume` and as a new training, without --overwrite."""
    for number, options in enumerate(({"resume": True}, {})):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "recipe.json").write_bytes((whole / "recipe.json").read_bytes())
        (folder / "notes.txt").write_text("mine")
        run(recipe, tiny_data, folder, **options)
        assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in EXACT)
        assert (folder / "notes.txt").read_text() == "mine"


def test_a_replaced_run_takes_its_results_along_and_leaves_notes(recipe, tiny_data, whole):
    for name in ("diagnosis/index.html", "evaluation/result.json", "notes.txt", "diagnosis/notes.txt"):
        (whole / name).parent.mkdir(exist_ok=True)
        (whole / name).write_text("mine")
    run(recipe, tiny_data, whole, overwrite=True, on_step=lambda state: None)
    files = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert files == {*EXACT, "metrics.jsonl", "notes.txt", "diagnosis/notes.txt"}


def test_an_old_run_stays_until_the_new_one_has_a_checkpoint(recipe, tiny_data, whole, monkeypatch):
    before = {name: (whole / name).read_bytes() for name in [*EXACT, "metrics.jsonl"]}

    def killed(folder, planner):
        raise Killed

    monkeypatch.setattr("holdfast.learn.run_folder.save_planner", killed)
    with pytest.raises(Killed):
        run(recipe, tiny_data, whole, overwrite=True)
    assert {name: (whole / name).read_bytes() for name in before} == before
    assert [path.name for path in whole.parent.iterdir()] == ["whole"]


def test_two_trainings_do_not_share_a_folder(recipe, tiny_data, tmp_path):
    def second(state):
        thread = threading.Thread(target=refused)
        thread.start()
        thread.join()
        raise Killed

    said = []

    def refused():
        with pytest.raises(OutputError, match="has been training in it since") as error:
            run(recipe, tiny_data, tmp_path / "run", overwrite=True)
        said.append(str(error.value))

    with pytest.raises(Killed):
        run(recipe, tiny_data, tmp_path / "run", on_step=second)
    assert len(said) == 1
    run(recipe, tiny_data, tmp_path / "run", overwrite=True)


def test_a_training_in_the_current_folder(recipe, tiny_data, tmp_path, whole, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(recipe, tiny_data, ".")
    assert all((tmp_path / "here" / name).read_bytes() == (whole / name).read_bytes() for name in EXACT)


@pytest.mark.parametrize("part", ["train_state", "metrics.jsonl", "model.safetensors", "recipe.json"])
def test_a_run_with_a_part_elsewhere_is_not_resumed(recipe, tiny_data, tmp_path, whole, part):
    (whole / part).rename(tmp_path / "elsewhere")
    (whole / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=f"{part} is a symbolic link"):
        run(recipe, tiny_data, whole, resume=True)


def test_pipes_and_other_names_in_a_run(recipe, tiny_data, tmp_path, whole):
    with pytest.raises(Killed):
        run(recipe, tiny_data, tmp_path / "run", on_step=stop_at(50))
    for part in ("recipe.json", "train_state/state.safetensors", "train_state"):
        folder = shutil.copytree(tmp_path / "run", tmp_path / part.replace("/", "-"))
        place = folder / part
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        os.mkfifo(place)
        with pytest.raises(HoldfastError, match=r"pipe|is damaged|no checkpoint|Not a directory"):
            run(recipe, tiny_data, folder, resume=True)
        assert stat.S_ISFIFO(place.lstat().st_mode)
    # what the state makes again is replaced, and a log is set aside; neither is waited for
    for part in ("model.safetensors", "scale.json", "interface.json", "metrics.jsonl"):
        (tmp_path / "run" / part).unlink()
        os.mkfifo(tmp_path / "run" / part)
    # other names of the same files, as backups by cp -al leave them
    others = {part: tmp_path / f"backup-{number}" for number, part in enumerate(("recipe.json", EXACT[-1]))}
    before = {part: (tmp_path / "run" / part).read_bytes() for part in others}
    for part, backup in others.items():
        os.link(tmp_path / "run" / part, backup)
    with pytest.warns(RunWarning, match=r"metrics\.jsonl was damaged"):
        assert run(recipe, tiny_data, tmp_path / "run", resume=True).step == 120
    assert {part: backup.read_bytes() for part, backup in others.items()} == before
    assert all((tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes() for name in EXACT)


def test_another_name_of_the_log_keeps_its_content(recipe, tiny_data, tmp_path, whole):
    os.link(whole / "metrics.jsonl", tmp_path / "backup")
    before = (whole / "metrics.jsonl").read_bytes()
    assert run(recipe, tiny_data, whole, resume=True).step == 120
    assert (tmp_path / "backup").read_bytes() == before
    assert (tmp_path / "backup").stat().st_nlink == 1


def test_links_to_a_run_and_of_its_results_are_no_hindrance(recipe, tiny_data, tmp_path, whole):
    (tmp_path / "link").symlink_to(whole)
    (tmp_path / "pages").mkdir()
    (whole / "evaluation").symlink_to(tmp_path / "pages")
    assert run(recipe, tiny_data, tmp_path / "link", resume=True).step == 120


def test_a_place_through_a_missing_folder_and_back(recipe, tiny_data, tmp_path):
    state = fit(replace(recipe, training=replace(recipe.training, steps=2)), tiny_data, tmp_path / "missing/../run")
    assert state.step == 2
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("stopped_by", ["checkpoint", "signal"])
def test_a_moved_run_folder_is_not_made_again(recipe, tiny_data, tmp_path, stopped_by):
    def move(state):
        if state.step == 15:
            (tmp_path / "run").rename(tmp_path / "moved")
            if stopped_by == "signal":
                signal.raise_signal(signal.SIGINT)

    at = {"checkpoint": 20, "signal": 15}[stopped_by]
    with pytest.raises(OutputError, match=f"was moved or removed during training, so nothing was written at step {at}"):
        run(recipe, tiny_data, tmp_path / "run", on_step=move)
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    assert run(recipe, tiny_data, tmp_path / "moved", resume=True).step == 120
