"""Per-step corrections: what they learn, how they are stored, and what is refused."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from holdfast.data import Actions, Affine, MinMax, width, write
from holdfast.errors import DataError, DivergedError, Interrupted, OutputError, RecipeError, RunError, UnknownNameError
from holdfast.learn import correct, fit, fit_correction, is_of_run, load_recipe
from holdfast.learn.correction_state import STATE
from holdfast.models import Regression
from holdfast.nn import ResidualMlp
from holdfast.policy import Execution, Planner, Policy, PolicySpec, build_model
from holdfast.policy.realtime import (
    CORRECTION,
    Correction,
    CorrectionNet,
    CorrectionRecipe,
    CorrectionSizes,
    Corrects,
    Delay,
    Means,
    Naive,
    RealTime,
    Residual,
    load_correction,
    save_correction,
    way_named,
)
from holdfast.recipe import Recipe
from holdfast.sealed import read_sealed, sealed
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

N, M, H, S = 3, 2, 8, 4
QUICK = CorrectionRecipe(widths=(64, 64), plans=256, steps=300, batch_size=128, learning_rate=3e-3)
SHORT = CorrectionRecipe(widths=(8,), plans=20, steps=5, batch_size=16)
DEMANDED = torch.tensor([[0.5, -0.2, 0.1], [0.0, 0.3, -0.4]]).double()


def recipe_of(codec, horizon=H):
    return Recipe(
        policy=PolicySpec(
            n_states=N,
            n_actions=M,
            n_observed=N,
            codec=codec,
            model=Regression(ResidualMlp(width=16, blocks=1)),
            n_obs_steps=2,
            horizon=horizon,
            execution=Execution(n_action_steps=S, sigma_deploy=0.1),
        )
    )


def planner_of(recipe, seed=1):
    """A planner that was never trained: what it plans has nothing to do with the newest observation."""
    size = width(recipe.policy.codec, N, M)
    ones = (torch.ones(count).double() for count in (N, size))
    scales = [MinMax(low=-one, high=one) for one in ones]
    return Planner(recipe.policy, build_model(recipe.policy, seed=seed).eval(), *scales)


def gusty(count=10, steps=40):
    """Episodes whose states jump at random, and whose action answers the newest one: no plan can know it in advance."""
    rng = stream(0, "gusts")
    states = 2 * torch.rand(count * steps, N, generator=rng, dtype=torch.float64) - 1
    return Episodes(actions=states @ DEMANDED.T, states=states, lengths=torch.full((count,), steps))


def flown(policy, states):
    policy.reset(5)
    return torch.stack([policy.act(Observation(state=now[None]), now[None])[0] for now in states])


@pytest.fixture(scope="module")
def folder(tiny_recipe, tiny_data, tmp_path_factory):
    """A trained run with gains, and its correction."""
    place = tmp_path_factory.mktemp("corrected") / "run"
    fit(replace(tiny_recipe, training=replace(tiny_recipe.training, steps=2)), tiny_data, place)
    return place


@pytest.fixture(scope="module")
def corrected(folder, demos):
    errors = fit_correction(folder, demos, SHORT)
    return folder, errors


@pytest.mark.parametrize("codec", [Actions(), Affine()], ids=["actions", "affine"])
def test_with_weights_of_zero_it_is_naive_bit_for_bit(codec):
    planner = planner_of(recipe_of(codec))
    net = CorrectionNet(CorrectionSizes.of(planner.spec), (16,))
    untrained = Correction.of(planner, net)
    assert isinstance(untrained, Corrects)
    for weight in (*net.parameters(),):
        torch.nn.init.zeros_(weight)
    states = gusty(1, 20).states
    for delay in (Delay(0), Delay(3), Delay(0, 4)):
        ways = (Naive(), Residual(untrained))
        naive, residual = (flown(Policy(planner, realtime=RealTime(delay, way)), states) for way in ways)
        assert torch.equal(naive, residual)


def test_a_network_that_was_not_trained_corrects_nothing():
    planner = planner_of(recipe_of(Actions()))
    new = Correction.of(planner, CorrectionNet(CorrectionSizes.of(planner.spec), (16,)))
    states = gusty(1, 5).states
    assert not new.correction(Observation(state=states), states[:, :M], torch.zeros(5)).any()


@pytest.mark.parametrize("codec", [Actions(), Affine()], ids=["actions", "affine"])
def test_it_learns_to_answer_the_newest_observation_under_delay(codec):
    recipe, episodes = recipe_of(codec), gusty()
    planner = planner_of(recipe)
    correction, errors = correct(planner, recipe, episodes, QUICK)
    assert not errors.held_out
    assert errors.corrected < 0.35 * errors.planned
    assert f"{errors.planned:.4f} as planned, {errors.corrected:.4f} corrected" in errors.sentence
    fresh = 2 * torch.rand(40, N, generator=stream(1, "gusts"), dtype=torch.float64) - 1
    ways = (Naive(), Residual(correction))
    late, answered = (
        (flown(Policy(planner, realtime=RealTime(Delay(3), way)), fresh) - fresh @ DEMANDED.T).square().mean().sqrt()
        for way in ways
    )
    assert answered < 0.5 * late


def test_the_index_in_the_chunk_is_seen():
    net = CorrectionNet(CorrectionSizes(n_observed=1, n_actions=1, horizon=4), (4,))
    one = MinMax(low=torch.tensor([-2.0]), high=torch.tensor([2.0]))
    correction = Correction(net, CorrectionSizes(n_observed=1, n_actions=1, horizon=4), one, one)
    found = correction.inputs(torch.ones(4, 1), torch.full((4, 1), -1.0), torch.arange(4) / 4)
    expected = [[0.5, -0.5, 0, 1], [0.5, -0.5, 1, 0], [0.5, -0.5, 0, -1], [0.5, -0.5, -1, 0]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_held_out_episodes_judge_it(tiny_recipe, tiny_planner, demos):
    _, errors = correct(tiny_planner, replace(tiny_recipe, held_out=0.5), demos, SHORT)
    assert errors.held_out
    assert "on held-out episodes" in errors.sentence


def test_it_is_read_as_it_was_written(corrected, demos, tmp_path):
    folder, errors = corrected
    planner = Policy.from_pretrained(folder).planner
    loaded = load_correction(folder, planner)
    again, errors_again = correct(planner, load_recipe(folder), demos, SHORT)
    # the same seed gives the same bits
    assert errors_again == errors
    for name, value in again.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], value)
    assert bool(loaded.net.state_dict()["layers.1.weight"].any())
    about = read_sealed(folder / CORRECTION).about
    assert about["errors"] == {"planned": errors.planned, "corrected": errors.corrected}
    assert about["recipe"]["plans"] == SHORT.plans
    states = demos.states[:9]
    realtime = RealTime(Delay(2), Residual(loaded))
    assert not torch.equal(
        flown(Policy(planner, realtime=realtime), states), flown(Policy(planner, realtime=RealTime(Delay(2))), states)
    )


def test_it_goes_with_its_run():
    assert is_of_run(CORRECTION)
    assert is_of_run(f"seed3/{CORRECTION}")


def test_a_stored_one_is_replaced_only_on_demand(corrected, demos):
    folder, _ = corrected
    before = (folder / CORRECTION).read_bytes()
    with pytest.raises(OutputError, match=r"exists already. Replace it with --overwrite\.$"):
        fit_correction(folder, demos, SHORT)
    fit_correction(folder, demos, SHORT, overwrite=True)
    assert (folder / CORRECTION).read_bytes() == before


def test_without_a_correction_the_message_says_how_to_train_one(folder, tmp_path):
    planner = Policy.from_pretrained(folder).planner
    with pytest.raises(RunError, match=r"has no trained correction.*holdfast train --residual"):
        load_correction(tmp_path, planner)
    with pytest.raises(RecipeError, match=r"needs a learned correction. Train one with: holdfast train --residual RUN"):
        way_named("residual", Means(planner=planner, execution=planner.spec.execution))
    with pytest.raises(UnknownNameError, match="residual"):
        way_named("residuals", Means(planner=planner, execution=planner.spec.execution))


def test_a_correction_of_another_run_is_refused(corrected, tiny_recipe, tiny_data, tmp_path):
    folder, _ = corrected
    fit(replace(tiny_recipe, training=replace(tiny_recipe.training, steps=3)), tiny_data, tmp_path / "other")
    (tmp_path / "other" / CORRECTION).write_bytes((folder / CORRECTION).read_bytes())
    planner = Policy.from_pretrained(tmp_path / "other").planner
    with pytest.raises(RunError, match=r"was trained for other weights than those of .*other: for another run"):
        load_correction(tmp_path / "other", planner)


def test_a_correction_of_other_sizes_is_refused(corrected):
    folder, _ = corrected
    planner = planner_of(recipe_of(Actions()))
    with pytest.raises(RunError, match=r"observations of 6 numbers.*has observations of 3 numbers, actions of 2"):
        load_correction(folder, planner)
    other = planner_of(recipe_of(Actions(), horizon=12))
    way = Residual(Correction.of(other, CorrectionNet(CorrectionSizes.of(other.spec), (4,))))
    with pytest.raises(RecipeError, match=r"chunks of 12 steps, but the policy has .*chunks of 8 steps"):
        Policy(planner, realtime=RealTime(Delay(2), way))


def changed(path, about=None, tensors=None, **fields):
    stored = read_sealed(path)
    return sealed({**stored.tensors, **(tensors or {})}, {**stored.about, **(about or {}), **fields})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.read_bytes()[:100], "is damaged"),
        (lambda path: b"", "is damaged"),
        (lambda path: path.read_bytes()[:-4] + b"\0\0\0\1", "disagree with the digest"),
        (lambda path: changed(path, version=2), "has version 2.*use a newer holdfast"),
        (lambda path: changed(path, tensors={"layers.1.bias": torch.full((2,), torch.inf)}), "not finite, in layers.1"),
        (
            lambda path: changed(path, tensors={"layers.9.bias": torch.zeros(2)}),
            "layers.9.bias is .* instead of absent",
        ),
        (lambda path: changed(path, sizes={"kind": "CorrectionSizes", "n_observed": 10**9}), "is damaged"),
        (lambda path: changed(path, recipe={"widths": [2**19] * 16}), "layers.0.weight is"),
        (lambda path: changed(path, recipe=None), "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(corrected, tmp_path, damage, message):
    folder, _ = corrected
    planner = Policy.from_pretrained(folder).planner
    for name in ("model.safetensors", CORRECTION):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / CORRECTION).write_bytes(damage(tmp_path / CORRECTION))
    with pytest.raises(RunError, match=message):
        load_correction(tmp_path, planner)


def test_a_run_without_a_digest_has_no_correction(tmp_path):
    from safetensors.torch import save

    planner = planner_of(recipe_of(Actions()))
    (tmp_path / "model.safetensors").write_bytes(save({"x": torch.zeros(1)}))
    new = Correction.of(planner, CorrectionNet(CorrectionSizes.of(planner.spec), (4,)))
    with pytest.raises(RunError, match="before holdfast stored digests"):
        save_correction(tmp_path, new, SHORT, {})


def test_data_that_do_not_fit_are_refused(tiny_planner, tiny_recipe, demos):
    with pytest.raises(RecipeError, match=r"of 6, 6 and 2 numbers, as the policy was trained on, got 3, 3 and 2"):
        correct(tiny_planner, tiny_recipe, gusty(), SHORT)
    one = replace(tiny_recipe, n_demos=1)
    with pytest.raises(DataError, match="one part of the episodes and judged by another: expected 2"):
        correct(tiny_planner, one, demos, SHORT)


@pytest.mark.parametrize(
    "wrong", [{"widths": ()}, {"widths": (0,)}, {"steps": 0}, {"plans": 2**21}, {"weight_decay": -1.0}]
)
def test_recipes_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError, match="expected"):
        CorrectionRecipe(**wrong)


def test_a_loss_that_is_not_finite_ends_the_training(tiny_planner, tiny_recipe, demos):
    with pytest.raises(DivergedError, match=r"No correction was written. Lower --learning-rate"):
        correct(tiny_planner, tiny_recipe, demos, replace(SHORT, learning_rate=1e30, steps=50))


KILLED = """
import os, sys
from holdfast.data import read
from holdfast.learn import fit_correction
from holdfast.policy.realtime import CorrectionRecipe

def killed(done):
    if done >= 25:
        os.kill(os.getpid(), 9)

options = CorrectionRecipe(widths=(8,), plans=20, steps=50, batch_size=16)
fit_correction(sys.argv[1], read(sys.argv[2]), options, overwrite=True, progress=killed)
"""


LONG = CorrectionRecipe(widths=(8,), plans=600, steps=40, batch_size=16)


def stopped(folder, demos, signum, at):
    """A training that gets a signal after a number of plans and updates, and where it then began."""
    begun = list[int]()

    def progress(done):
        begun.append(done)
        if done == at:
            os.kill(os.getpid(), signum)

    with pytest.raises(Interrupted, match="the same command continues from there") as caught:
        fit_correction(folder, demos, LONG, progress=progress)
    assert caught.value.signum == signum
    assert begun[-1] == at
    return begun[0]


def test_a_stopped_training_continues_bit_for_bit(folder, demos, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for place in (whole, parts):
        shutil.copytree(folder, place)
        (place / CORRECTION).unlink(missing_ok=True)
    fit_correction(whole, demos, LONG)
    # in the plans, which are made in blocks of 256, and in the updates that follow
    assert stopped(parts, demos, signal.SIGTERM, 256) == 256
    assert stopped(parts, demos, signal.SIGINT, 512) == 512
    assert stopped(parts, demos, signal.SIGTERM, 607) == 600
    assert stopped(parts, demos, signal.SIGINT, 631) == 608
    assert not (parts / CORRECTION).exists()
    assert all(is_of_run(f"{STATE}/{path.name}") for path in (parts / STATE).iterdir())
    begun = list[int]()
    fit_correction(parts, demos, LONG, progress=begun.append)
    assert begun == list(range(632, 641))
    assert (parts / CORRECTION).read_bytes() == (whole / CORRECTION).read_bytes()
    assert not (parts / STATE).exists()


def test_a_training_with_other_options_or_data_begins_anew(folder, demos, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(folder, place)
    (place / CORRECTION).unlink(missing_ok=True)
    stopped(place, demos, signal.SIGTERM, 620)
    for options, episodes in ((replace(LONG, seed=1), demos), (LONG, replace(demos, actions=0.5 * demos.actions))):
        begun = list[int]()
        fit_correction(place, episodes, options, overwrite=True, progress=begun.append)
        assert begun[0] == 256


@pytest.mark.parametrize("name", ["plans", "state"])
def test_a_damaged_checkpoint_says_what_to_do(folder, demos, tmp_path, name):
    place = tmp_path / "run"
    shutil.copytree(folder, place)
    (place / CORRECTION).unlink(missing_ok=True)
    stopped(place, demos, signal.SIGTERM, 620)
    path = place / STATE / f"{name}.safetensors"
    stored = read_sealed(path)
    path.write_bytes(
        sealed({name: value for name, value in stored.tensors.items() if name != "rng"}, {**stored.about, "done": "x"})
    )
    with pytest.raises(RunError, match=rf"is damaged .* Remove the folder .*{STATE}, and train the correction again"):
        fit_correction(place, demos, LONG)


def test_kill_9_leaves_the_run_as_it_was_and_the_command_can_be_repeated(corrected, demos, tmp_path):
    folder, _ = corrected
    write(demos, tmp_path / "demos")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(tmp_path / "demos")], capture_output=True)
    assert done.returncode == -9, done.stderr
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: after[path] for path in after if path.parts[0] != STATE} == before
    # other options: what the killed process has kept is not used
    fit_correction(folder, demos, SHORT, overwrite=True)
    assert (folder / CORRECTION).read_bytes() == before[(folder / CORRECTION).relative_to(folder)]
