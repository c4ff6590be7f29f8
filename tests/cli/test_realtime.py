"""`evaluate --delay --realtime`: results under delay, and refusals."""

import json

import pytest
import torch

from holdfast.cli.realtime import under_delay, way_of
from holdfast.data import Actions, MinMax
from holdfast.errors import RecipeError
from holdfast.models import Mixture, Streaming
from holdfast.nn import ResidualMlp
from holdfast.policy import Ensemble, Execution, Planner, Policy, PolicySpec, build_model
from holdfast.policy.realtime import Bid, Delay, Ensembled, Naive

SMALL = ResidualMlp(width=16, blocks=1)


def policy_of(family=None, **execution):
    spec = PolicySpec(
        n_states=2,
        n_actions=1,
        n_observed=2,
        codec=Actions(),
        model=family or Mixture(SMALL),
        horizon=8,
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


@pytest.mark.parametrize(
    ("delay", "way", "message"),
    [
        (None, "naive", "Give --delay too"),
        ("x", None, "expected a delay such as 4"),
        ("5", None, "a delay of 5 steps is too long for chunks of 8"),
        ("2", "naif", "naive"),
        ("2", "guided", "Mixture cannot be guided"),
    ],
)
def test_what_does_not_fit_is_refused(delay, way, message):
    with pytest.raises(Exception, match=message):
        under_delay(policy_of(), delay, way)


def test_only_bid_takes_a_weaker_policy(tmp_path):
    with pytest.raises(RecipeError, match="only --realtime bid"):
        under_delay(policy_of(), "2", "naive", tmp_path)


def test_evaluate_writes_what_the_delay_was(tmp_path, capsys):
    from holdfast.cli import main

    arguments = ["demonstrate", "obstacle", "--episodes", "3", "--out", str(tmp_path / "data")]
    assert main(arguments) in (0, None)
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "data"), "--out", str(run), "--steps", "20", "--family", "mixture"]) in (
        0,
        None,
    )
    out = tmp_path / "out"
    found = ["evaluate", str(run), "--episodes", "2", "--delay", "0-2", "--realtime", "conditioned", "--out", str(out)]
    assert main(found) in (0, None)
    result = json.loads((out / "result.json").read_text())
    assert (result["delay"], result["realtime"]) == ("0-2", "conditioned")
