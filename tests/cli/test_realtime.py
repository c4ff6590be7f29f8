"""`evaluate --delay --realtime`: results under delay, and refusals."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from holdfast.cli.realtime import under_delay, way_of
from holdfast.data import Actions, MinMax
from holdfast.errors import RecipeError
from holdfast.models import Mixture, Streaming
from holdfast.nn import ResidualMlp
from holdfast.policy import (
    Coordinates,
    Ensemble,
    Execution,
    Planner,
    Policy,
    PolicyInterface,
    PolicySpec,
    build_model,
)
from holdfast.policy.realtime import Bid, Delay, Ensembled, Naive
from holdfast.policy.stored import save_planner
from holdfast.sealed import header_of

SMALL = ResidualMlp(width=16, blocks=1)


def policy_of(family=None, horizon=8, **execution):
    spec = PolicySpec(
        n_states=2,
        n_actions=1,
        n_observed=2,
        codec=Actions(),
        model=family or Mixture(SMALL),
        horizon=horizon,
        execution=Execution(**{"n_action_steps": 4, **execution}),
    )
    one, two = torch.ones(1).double(), torch.ones(2).double()
    return Policy(Planner(spec, build_model(spec).eval(), MinMax(low=-two, high=two), MinMax(low=-one, high=one)))


def test_without_a_delay_the_policy_stays():
    policy = policy_of()
    assert under_delay(policy, None, None) is policy


def test_the_default_way_switches_or_averages():
    assert isinstance(under_delay(policy_of(), "2", None).realtime.way, Naive)
    averaging = policy_of(ensemble=Ensemble(decay=0.5))
    assert under_delay(averaging, "2", None).realtime.way == Ensembled(Ensemble(decay=0.5))
    assert way_of(averaging, None) == "ensemble"
    assert isinstance(under_delay(averaging, "0-2", "naive").realtime.way, Naive)
    assert under_delay(averaging, "0-2", "naive").realtime.delay == Delay(0, 2)


def test_a_streaming_policy_executes_one_block_of_each_plan():
    policy = policy_of(Streaming(SMALL), n_action_steps=2)
    assert under_delay(policy, "2", "streaming").spec.execution.n_action_steps == 4


def test_bid_compares_with_a_weaker_policy(tmp_path):
    policy = policy_of()
    policy.save_pretrained(tmp_path / "weak")
    way = under_delay(policy, "2", "bid", tmp_path / "weak").realtime.way
    assert isinstance(way, Bid)
    assert way.weaker is not None


def test_a_weaker_policy_of_other_sizes_is_refused(tmp_path):
    policy_of(horizon=16).save_pretrained(tmp_path / "weak")
    with pytest.raises(RecipeError, match=r"--weaker .* cannot be compared .*: horizon 16 instead of 8\."):
        under_delay(policy_of(), "2", "bid", tmp_path / "weak")


def interface_of(**changes):
    """An interface of two observed coordinates and one action."""
    two = Coordinates(low=(-1.0, -2.0), high=(1.0, 2.0), names=("x", "v"), units=("m", "m/s"))
    made = {"observation": two, "state": two, "action": Coordinates(low=(-1.0,), high=(1.0,), names=("force",))}
    return PolicyInterface(**{**made, **changes}, n_robot=2)


def described(**changes):
    return Policy(replace(policy_of().planner, interface=interface_of(**changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"action": Coordinates(low=(-1.0,), high=(1.0,), names=("torque",))},
            "takes no force in its action, and torque",
        ),
        (
            {"observation": Coordinates(low=(-2.0, -1.0), high=(2.0, 1.0), names=("v", "x"))},
            r"its observation has the order v, x instead of x, v\.",
        ),
        (
            {"observation": Coordinates(low=(-1.0,) * 2, high=(1.0,) * 2, names=("x", "v"), units=("mm", "m/s"))},
            r"x was trained in m, but --weaker .* has it in mm \(1 m = 1000 mm\)\.",
        ),
    ],
)
def test_a_weaker_policy_of_other_coordinates_is_refused(tmp_path, changes, message):
    described(**changes).save_pretrained(tmp_path / "weak")
    with pytest.raises(RecipeError, match=message) as refused:
        under_delay(described(), "2", "bid", tmp_path / "weak")
    assert str(refused.value).endswith("Give a run of the same data and recipe that was trained for fewer steps.")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (
            (-1000.0,),
            (1000.0,),
            "its action was trained in other ranges: force from -1000 to 1000, and here from -1 to 1.",
        ),
        ((5.0,), (6.0,), "force from 5 to 6, and here from -1 to 1."),
        ((-0.7,), (0.9,), ""),
        ((0.5,), (0.5,), ""),
    ],
)
def test_other_ranges_of_a_weaker_policy_are_said(tmp_path, capsys, low, high, says):
    action = Coordinates(low=low, high=high, names=("force",))
    described(action=action).save_pretrained(tmp_path / "weak")
    assert under_delay(described(), "2", "bid", tmp_path / "weak").realtime.way.weaker is not None
    said = " ".join(capsys.readouterr().out.split())
    assert says in said if says else not said


@pytest.mark.parametrize(
    ("delay", "way", "message"),
    [
        (None, "naive", "^--realtime says how to act under delay. Give --delay too"),
        ("x", None, "expected a delay such as 4"),
        ("5", None, "a delay of 5 steps is too long for chunks of 8"),
        ("0-99999999999", None, r"99999999999 steps is too long for chunks of 8.*Give a delay of at most 4\.$"),
        ("0-99999999999", "wait", "expected a delay of at most 65536 steps"),
        ("2", "naif", "naive"),
        ("2", "guided", "Mixture cannot be guided.*Use another --realtime: naive, bid or conditioned"),
        ("2", "", "unknown way"),
    ],
)
def test_what_does_not_fit_is_refused(delay, way, message):
    with pytest.raises(Exception, match=message):
        under_delay(policy_of(), delay, way)


def test_only_the_options_that_were_given_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"^--weaker says how to act under delay"):
        under_delay(policy_of(), None, None, tmp_path)
    with pytest.raises(RecipeError, match=r"^--realtime and --weaker say how to act under delay"):
        under_delay(policy_of(), None, "bid", tmp_path)


@pytest.mark.parametrize(("ensemble", "way"), [("True", "guided"), ("True", "naive"), ("False", "ensemble")])
def test_ensembling_that_contradicts_the_way_is_refused(tmp_path, capsys, ensemble, way):
    policy_of().save_pretrained(tmp_path / "run")
    given = ["--environment", "double_integrator", "--delay", "2", "--realtime", way, "--ensemble", ensemble]
    assert command("evaluate", tmp_path / "run", *given) == 1
    assert f"--ensemble {ensemble} and --realtime {way} contradict each other" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_streaming_policy_takes_no_other_number_of_steps():
    with pytest.raises(RecipeError, match="expected n_action_steps=4, got 3"):
        under_delay(policy_of(Streaming(SMALL), n_action_steps=3), "2", "streaming", n_action_steps=3)


def test_only_bid_takes_a_weaker_policy(tmp_path):
    with pytest.raises(RecipeError, match="only --realtime bid"):
        under_delay(policy_of(), "2", "naive", tmp_path)


def command(*arguments):
    from holdfast.cli import main

    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def obstacle(tmp_path_factory):
    """A run of the obstacle, whose dynamics are not among the built-in systems."""
    folder = tmp_path_factory.mktemp("realtime")
    assert not command("demonstrate", "obstacle", "--episodes", 3, "--out", folder / "data")
    run = folder / "run"
    assert not command("train", folder / "data", "--out", run, "--steps", 20, "--family", "mixture")
    return run


def evaluated(run, out, *options):
    assert not command("evaluate", run, "--episodes", 2, "--out", out, *options)
    return json.loads((out / "result.json").read_text())


def test_evaluate_writes_what_the_delay_was(obstacle, tmp_path):
    result = evaluated(obstacle, tmp_path / "out", "--delay", "0-2", "--realtime", "conditioned")
    assert (result["delay"], result["realtime"]) == ("0-2", "conditioned")


def test_forward_takes_the_known_dynamics_of_the_environment(obstacle, tmp_path, capsys, monkeypatch):
    def learned(*_, **__):
        raise AssertionError("dynamics were learned")

    monkeypatch.setattr("holdfast.cli.realtime.learned_rolling", learned)
    result = evaluated(obstacle, tmp_path / "out", "--delay", 2, "--realtime", "forward")
    assert (result["delay"], result["realtime"], result["dynamics"]) == ("2", "forward", "known")
    assert "forward: the known dynamics of obstacle" in " ".join(capsys.readouterr().out.split())


def test_the_table_names_delay_and_way(obstacle, tmp_path, capsys):
    evaluated(obstacle, tmp_path / "out", "--delay", "0-2", "--realtime", "conditioned", "--untouched", 2)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("obstacle, delay 0-2 steps, conditioned, 2 episodes from seed") == 2
    evaluated(obstacle, tmp_path / "again", "--delay", "1")
    assert "obstacle, delay 1 step, naive, 2 episodes from seed" in " ".join(capsys.readouterr().out.split())
    evaluated(obstacle, tmp_path / "none")
    assert "obstacle, 2 episodes from seed" in " ".join(capsys.readouterr().out.split())


def test_the_result_names_the_weaker_policy(obstacle, tmp_path):
    result = evaluated(obstacle, tmp_path / "out", "--delay", 2, "--realtime", "bid", "--weaker", obstacle)
    assert (result["realtime"], result["weaker"]) == ("bid", str(obstacle))
    assert "weaker" not in evaluated(obstacle, tmp_path / "alone", "--delay", 2, "--realtime", "bid")


def test_forward_learns_the_dynamics_from_the_training_data(obstacle, tmp_path, capsys, monkeypatch):
    """Where those of the environment are not known."""
    monkeypatch.setattr("holdfast.cli.realtime._UPDATES", 300)
    monkeypatch.setattr("holdfast.cli.realtime.known_rolling", lambda recipe, environment: None)
    result = evaluated(obstacle, tmp_path / "out", "--delay", 2, "--realtime", "forward")
    assert (result["delay"], result["realtime"], result["dynamics"]) == ("2", "forward", "learned")
    assert 0 < result["dynamics_error"] < 0.5
    said = " ".join(capsys.readouterr().out.split())
    assert "forward: dynamics of the observation, learned from the training data; the error of one step" in said
    # a model in which nothing moves has the error 1
    assert float(said.partition("held-out episodes is ")[2].split()[0]) < 0.5


def test_forward_refuses_what_does_not_fit_before_anything_is_learned(obstacle, tmp_path, capsys, monkeypatch):
    def learned(*_, **__):
        raise AssertionError("dynamics were learned")

    monkeypatch.setattr("holdfast.cli.realtime.learned_rolling", learned)
    options = ["--episodes", 2, "--realtime", "forward", "--out", tmp_path / "out"]
    assert command("evaluate", obstacle, *options, "--delay", 9) == 1
    assert "too long for chunks of 16" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_forward_refuses_an_environment_of_another_size_before_anything_is_learned(
    obstacle, tmp_path, capsys, monkeypatch
):
    def learned(*_, **__):
        raise AssertionError("dynamics were learned")

    monkeypatch.setattr("holdfast.cli.realtime.learned_rolling", learned)
    options = ["--delay", 2, "--realtime", "forward", "--environment", "quadrotor2d", "--out", tmp_path / "out"]
    assert command("evaluate", obstacle, *options) == 1
    assert "quadrotor2d has observations (state 6) of 6 numbers, but the policy was trained on 4" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.fixture(scope="module")
def continuing(obstacle):
    """A flow policy that learned to continue 0, 1 or 3 steps of a running plan."""
    run = obstacle.parent / "continuing"
    family = ["--family", "flow", "--prefix-delays", 0, 1, 3]
    assert not command("train", obstacle.parent / "data", "--out", run, "--steps", 2, "--horizon", 16, *family)
    return run


@pytest.mark.parametrize("way", ["trained", "conditioned", "guided"])
def test_delays_that_were_not_trained_are_refused_with_those_that_were(continuing, way):
    policy = Policy.from_pretrained(continuing)
    for delay in ("1", "3", "0"):
        assert under_delay(policy, delay, way, run=continuing, n_action_steps=10).realtime.delay == Delay.parse(delay)
    for delay, missing in (("4", "4"), ("2", "2"), ("0-5", "2, 4 or 5")):
        message = rf"continue 0, 1 or 3 steps of a running plan \(--prefix-delays\), not {missing}\. Give a delay among"
        with pytest.raises(RecipeError, match=message):
            under_delay(policy, delay, way, run=continuing)
    assert isinstance(under_delay(policy, "4", "naive", run=continuing).realtime.way, Naive)


def test_trained_delays_are_stored_with_the_policy(continuing, tmp_path):
    """In runs, in policies that are saved again, and, for runs of before, taken from the recipe."""
    assert json.loads((continuing / "interface.json").read_text())["prefix_delays"] == [0, 1, 3]
    policy = Policy.from_pretrained(continuing)
    policy.save_pretrained(tmp_path / "again")
    assert Policy.from_pretrained(tmp_path / "again").planner.prefix_delays == (0, 1, 3)
    bare = replace(policy.planner, interface=replace(policy.planner.interface, prefix_delays=()))
    shutil.copytree(continuing, tmp_path / "before")
    save_planner(tmp_path / "before", bare)
    assert Policy.from_pretrained(tmp_path / "before").planner.prefix_delays == (0, 1, 3)


def test_a_folder_of_seeds_names_the_runs_in_it(obstacle, tmp_path, capsys):
    shutil.copytree(obstacle, tmp_path / "runs" / "seed3")
    for verb in (["train", "--residual"], ["evaluate"]):
        assert command(*verb, tmp_path / "runs") == 1
        said = " ".join(capsys.readouterr().err.split())
        assert (
            f"holds the runs of 1 seed, each in a folder of its own. Give one of them, for example {tmp_path}" in said
        )
        assert "runs/seed3." in said


def test_lost_data_have_a_way_out(obstacle, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(obstacle, run)
    plain = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps(plain | {"data": str(tmp_path / "gone")}))
    assert command("train", "--residual", run) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Put them back there, or train the correction in Python: holdfast.learn.fit_correction(RUN" in said


def test_a_correction_is_trained_stored_and_flown(obstacle, tmp_path, capsys):
    flown = ["--delay", 2, "--realtime", "residual"]
    assert command("evaluate", obstacle, "--out", tmp_path / "none", *flown) == 1
    assert f"Train one with: holdfast train --residual {obstacle}" in " ".join(capsys.readouterr().err.split())
    assert not command("train", "--residual", obstacle, "--steps", 40, "--batch-size", 32, "--seed", 3)
    said = " ".join(capsys.readouterr().out.split())
    assert "as planned" in said
    # as many plans as 40 updates of 32 steps can use, of 16 steps each
    assert "80 plans of 16 steps (--residual-plans), then 40 updates of 32 steps each" in said
    assert f"wrote {obstacle / 'residual.safetensors'}" in said
    result = evaluated(obstacle, tmp_path / "out", *flown)
    assert (result["delay"], result["realtime"]) == ("2", "residual")
    assert (result["correction"]["recipe"]["steps"], result["correction"]["recipe"]["plans"]) == (40, 80)
    assert set(result["correction"]) == {"recipe", "errors", "digest"}
    way = under_delay(Policy.from_pretrained(obstacle), "2", "residual", run=obstacle).realtime.way
    assert way.corrections.sizes.n_observed == 4
    assert command("train", "--residual", obstacle) == 1
    assert " ".join(capsys.readouterr().err.split()).endswith("exists already. Replace it with --overwrite.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--horizon", 8, "--out", "x"],
            "corrects a trained policy on its run's own data. Remove --out, --horizon. Only --residual-plans, "
            "--seed, --steps, --batch-size, --learning-rate, --device, --threads and --overwrite may be given besides.",
        ),
        (["--steps", 0], "expected --steps of at least 1, got 0"),
        (["--residual-plans", 0], "expected --residual-plans of at least 1 plan, got 0"),
    ],
)
def test_options_that_a_correction_does_not_have_are_refused(obstacle, capsys, options, message):
    assert command("train", "--residual", obstacle, *options) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_number_of_plans_is_chosen_or_given(obstacle, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(obstacle, run, ignore=shutil.ignore_patterns("residual*", "evaluation"))
    assert not command("train", "--residual", run, "--steps", 3, "--residual-plans", 5)
    assert "5 plans of 16 steps" in capsys.readouterr().out
    header = header_of(run / "residual.safetensors")
    assert (header["recipe"]["plans"], header["recipe"]["steps"]) == (5, 3)
    assert command("train", obstacle.parent / "data", "--out", tmp_path / "new", "--residual-plans", 5) == 1
    assert "--residual-plans is for --residual RUN" in " ".join(capsys.readouterr().err.split())


def test_a_run_of_arrays_has_no_data_for_a_correction(tmp_path, capsys):
    policy_of().save_pretrained(tmp_path / "run")
    assert command("train", "--residual", tmp_path / "run") == 1
    assert "was trained on arrays" in " ".join(capsys.readouterr().err.split())
