"""Run folders of several trainings at once: each as its own `fit` would leave it, resumed bit for bit."""

import json
import signal
from dataclasses import replace

import pytest
import torch

from holdfast.errors import OutputError, RecipeError, RunError
from holdfast.learn import Interrupted, fit, load_recipe, prepare, prepare_held_out
from holdfast.learn.checkpoint import load_state, save_state
from holdfast.learn.fingerprint import Fingerprint
from holdfast.learn.fitting_variants import fit_variants
from holdfast.learn.preparation import prepare_variants
from holdfast.learn.run_folder import RunFolder
from holdfast.learn.run_place import seed_folder, seed_folders
from holdfast.learn.variants import Variants, train_variants
from holdfast.models import IndependentTokens
from holdfast.nn import ResidualMlp
from holdfast.policy import Policy

EXACT = ["model.safetensors", "scale.json", "interface.json", "recipe.json", "train_state/state.safetensors"]
SEEDS = 3


class Killed(Exception):
    """Stands for whatever ends a training between two checkpoints."""


def stop_at(step):
    def on_step(variants):
        if variants.step >= step:
            raise Killed

    return on_step


def press_at(step):
    def on_step(variants):
        if variants.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def contents(folder):
    return [(folder / name).read_bytes() for name in EXACT]


def step_of(folder, one):
    return load_state(folder, data=Fingerprint.of(one)).step


@pytest.fixture(scope="module")
def recipes(tiny_recipe):
    """120 updates, checkpoints every 40, half of four episodes held out: which, the seed says."""
    training = replace(tiny_recipe.training, steps=120, save_every=40)
    return [replace(tiny_recipe, seed=seed, held_out=0.5, training=training) for seed in range(SEEDS)]


@pytest.fixture(scope="module")
def sets(recipes, demos):
    return prepare_variants(recipes, demos)


@pytest.fixture(scope="module")
def held_out(recipes, demos, sets):
    return [prepare_held_out(recipe, demos, one) for recipe, one in zip(recipes, sets, strict=True)]


@pytest.fixture
def run(recipes, sets, held_out):
    """All of them in one folder: run(folder, …)."""

    def start(folder, data=sets, **options):
        folders = [seed_folder(folder, recipe.seed) for recipe in recipes]
        return fit_variants(recipes, data, folders, held_out=held_out, **options)

    return start


@pytest.fixture(scope="module")
def whole(recipes, sets, held_out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants") / "whole"
    fit_variants(recipes, sets, [seed_folder(folder, recipe.seed) for recipe in recipes], held_out=held_out)
    return folder


def assert_whole(folder, whole):
    for seed in range(SEEDS):
        assert contents(seed_folder(folder, seed)) == contents(seed_folder(whole, seed)), seed
        assert lines_of(seed_folder(folder, seed)) == lines_of(seed_folder(whole, seed))


def test_each_folder_is_what_its_own_training_leaves(recipes, sets, held_out, whole, tmp_path):
    for seed, recipe in enumerate(recipes):
        found, expected = seed_folder(whole, seed), tmp_path / str(seed)
        state = fit(recipe, sets[seed], expected, held_out=held_out[seed])
        assert {path.relative_to(found) for path in found.rglob("*")} == {
            path.relative_to(expected) for path in expected.rglob("*")
        }
        assert load_recipe(found) == recipe
        assert (found / "scale.json").read_bytes() == (expected / "scale.json").read_bytes()
        stored = load_state(found, data=Fingerprint.of(sets[seed]))
        for name, value in state.average.items():
            torch.testing.assert_close(stored.average[name], value, atol=1e-4, rtol=0)
        for line, other in zip(lines_of(found), lines_of(expected), strict=True):
            assert line == pytest.approx(other, rel=1e-3, abs=1e-6)
        assert Policy.from_pretrained(found).spec == recipe.policy


def test_metrics_come_at_fits_steps(whole):
    lines = lines_of(seed_folder(whole, 1))
    assert [line["step"] for line in lines] == [40, 50, 80, 100, 120]
    assert [line["step"] for line in lines if "held_out_loss" in line] == [40, 80, 120]


def test_seeds_differ(whole):
    assert len({(seed_folder(whole, seed) / "model.safetensors").read_bytes() for seed in range(SEEDS)}) == SEEDS


@pytest.mark.parametrize("killed_at", [10, 70, 120])
def test_what_was_killed_ends_on_the_same_bytes(run, whole, tmp_path, killed_at):
    with pytest.raises(Killed):
        run(tmp_path, on_step=stop_at(killed_at))
    run(tmp_path, resume=True)
    assert_whole(tmp_path, whole)


@pytest.mark.parametrize("killed_at", [40, 120])
def test_a_kill_between_checkpoints_of_one_step_ends_on_the_same_bytes(
    run, whole, sets, tmp_path, killed_at, monkeypatch
):
    """One run is a checkpoint ahead of the others, which are brought up to it in the company that they had."""
    save = RunFolder.save

    def killing(self, state):
        if state.step == killed_at and self.recipe.seed == 1:
            raise Killed
        save(self, state)

    monkeypatch.setattr(RunFolder, "save", killing)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    steps = [step_of(seed_folder(tmp_path, seed), sets[seed]) for seed in range(SEEDS)]
    assert steps == [killed_at, killed_at - 40, killed_at - 40]
    seen = list[int]()
    run(tmp_path, resume=True, on_step=lambda variants: seen.append(variants.step))
    assert seen == list(range(killed_at - 30, 121, 10))
    assert_whole(tmp_path, whole)


def test_a_kill_before_the_first_checkpoints_of_all(run, whole, tmp_path, monkeypatch):
    """All runs appear at once; older ones may have a recipe and no checkpoint, and start from step 0."""
    begin = RunFolder.begin_at

    def killing(self, place, state):
        if self.recipe.seed == 1:
            raise Killed
        begin(self, place, state)

    monkeypatch.setattr(RunFolder, "begin_at", killing)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    with pytest.raises(Killed):
        run(tmp_path, on_step=stop_at(10))
    for seed in (1, 2):
        for name in ("train_state/state.safetensors", "model.safetensors"):
            (seed_folder(tmp_path, seed) / name).unlink()
    assert len(seed_folders(tmp_path)) == SEEDS
    run(tmp_path, resume=True)
    assert_whole(tmp_path, whole)


def test_one_that_went_on_alone_is_left_as_it_is(run, recipes, sets, held_out, whole, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, on_step=stop_at(50))
    alone = seed_folder(tmp_path, 1)
    fit(recipes[1], sets[1], alone, resume=True, held_out=held_out[1])
    before = contents(alone)
    run(tmp_path, resume=True)
    assert contents(alone) == before
    for seed in (0, 2):
        assert contents(seed_folder(tmp_path, seed)) == contents(seed_folder(whole, seed))


def test_what_is_finished_resumes_to_itself(run, whole):
    before = [contents(path) for path in seed_folders(whole)]
    assert [end.state.step for end in run(whole, resume=True)] == [120] * SEEDS
    assert [contents(path) for path in seed_folders(whole)] == before


def test_ctrl_c_saves_all_and_says_how_to_go_on(run, recipes, sets, whole, tmp_path):
    with pytest.raises(Interrupted, match=r"stopped at step 70; continue with: fit_variants\(.*resume=True\)"):
        run(tmp_path / "arrays", on_step=press_at(70))
    assert [step_of(seed_folder(tmp_path / "arrays", i), one) for i, one in enumerate(sets)] == [70] * SEEDS
    run(tmp_path / "arrays", resume=True)
    for seed in range(SEEDS):
        assert contents(seed_folder(tmp_path / "arrays", seed)) == contents(seed_folder(whole, seed))
    stored = [replace(recipe, data="demos") for recipe in recipes]
    folders = [seed_folder(tmp_path / "stored", seed) for seed in range(SEEDS)]
    with pytest.raises(Interrupted, match=r"continue with: holdfast train --resume .*stored$"):
        fit_variants(stored, sets, folders, on_step=press_at(10))


def test_one_that_diverges_keeps_its_checkpoint_and_the_others_go_on(run, sets, whole, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, on_step=stop_at(70))
    path = seed_folder(tmp_path, 1)
    # from here on its data are not finite, which a fingerprint of the sound data hides
    broken = replace(sets[1], codes=sets[1].codes * float("nan"))
    save_state(path, load_state(path, data=Fingerprint.of(sets[1])), data=Fingerprint.of(broken))
    kept = contents(path)[0]
    for _ in range(2):
        ends = run(tmp_path, [sets[0], broken, sets[2]], resume=True)
        assert [end.state.step for end in ends] == [120, 40, 120]
        assert [end.error is None for end in ends] == [True, False, True]
        assert f"{path}: the loss of update 40 is not finite. The last checkpoint is kept" in str(ends[1].error)
    assert contents(path)[0] == kept
    for seed in (0, 2):
        assert contents(seed_folder(tmp_path, seed)) == contents(seed_folder(whole, seed))


def test_parameters_that_are_not_finite_are_not_kept(recipes, sets, tmp_path, monkeypatch):
    state = Variants.state

    def breaking(self, index):
        found = state(self, index)
        if index == 2 and self.step == 80:
            next(iter(found.parameters.values())).fill_(float("inf"))
        return found

    monkeypatch.setattr(Variants, "state", breaking)
    ends = fit_variants(recipes, sets, [seed_folder(tmp_path, seed) for seed in range(SEEDS)])
    assert [end.state.step for end in ends] == [120, 120, 40]
    assert "seed2: after update 80 the parameters" in str(ends[2].error)


def test_runs_are_replaced_only_where_asked(run, whole, tmp_path):
    run(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        run(tmp_path)
    run(tmp_path, overwrite=True)
    assert_whole(tmp_path, whole)


def test_what_cannot_run_replaces_nothing(run, recipes, sets, whole, tmp_path, demos):
    run(tmp_path)
    before = [contents(path) for path in seed_folders(tmp_path)]
    folders = seed_folders(tmp_path)
    longer = [replace(recipes[0], training=replace(recipes[0].training, steps=7)), *recipes[1:]]
    with pytest.raises(RecipeError, match=r"agree in training\.steps"):
        fit_variants(longer, sets, folders, overwrite=True)
    model = IndependentTokens(network=ResidualMlp(width=24, blocks=1))
    tokens = replace(recipes[0], policy=replace(recipes[0].policy, model=model))
    with pytest.raises(RecipeError, match="has a tokenizer"):
        fit_variants([tokens], [prepare(tokens, demos)], folders[:1], overwrite=True)
    with pytest.raises(RecipeError, match="2 distinct folders"):
        fit_variants(recipes, sets, [folders[0], *folders[:2]], overwrite=True)
    assert [contents(path) for path in folders] == before


@pytest.mark.parametrize("stops", [[0], [10, 10], [5, 121]])
def test_stops_ascend_to_the_end_at_most(recipes, sets, stops):
    with pytest.raises(RecipeError, match="stops that ascend from 1 to 120 at most, got"):
        train_variants(recipes, sets, stops=stops)


def test_a_state_that_was_deleted_is_missed(run, tmp_path):
    """A trained run whose state was removed to save space must not start over its weights."""
    run(tmp_path)
    (seed_folder(tmp_path, 1) / "train_state" / "state.safetensors").unlink()
    with pytest.raises(RunError, match=r"seed1 contains no training state"):
        run(tmp_path, resume=True)


def test_seed_folders_are_counted_in_their_order(run, tmp_path):
    for name in ("seed10", "seed2", "seeds", "seed", "seed-1", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.json").write_text("{}")
    (tmp_path / "seed3").mkdir()
    assert [path.name for path in seed_folders(tmp_path)] == ["seed2", "seed10"]
    assert seed_folders(tmp_path / "nothing") == []
