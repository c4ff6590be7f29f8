"""The form of the weights that loading chooses: by measurement, with the same plans, and nothing is lost by it."""

import copy
import logging
from dataclasses import replace

import pytest
import torch

import holdfast
from holdfast.models import Diffusion, Sampler
from holdfast.nn import UNet1d, can_be_packed
from holdfast.nn.fast.packing import PackedConvolution, packed, packs_bfloat16, unpacked
from holdfast.policy import Policy, StackedPolicies, build_model, ready
from holdfast.types import Observation

pytestmark = pytest.mark.skipif(not can_be_packed(torch.nn.Linear(1, 1)), reason="PyTorch without oneDNN")


@pytest.fixture
def planner(tiny_planner):
    network = UNet1d(channels=(16, 32), groups=4, embedding=16)
    spec = replace(tiny_planner.spec, model=Diffusion(network=network, levels=20, sampler=Sampler(steps=3)))
    return replace(tiny_planner, spec=spec, model=build_model(spec, seed=1).eval())


@pytest.fixture
def run(planner, tmp_path):
    Policy(planner).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def measured(monkeypatch):
    """Small networks are measured too, by a clock on which plans take the given seconds in turn."""

    def with_times(*seconds):
        ticks = iter([tick for value in seconds for tick in (0.0, value)])
        monkeypatch.setattr(ready, "FEWEST_WEIGHTS", 1)
        monkeypatch.setattr(ready.time, "perf_counter", lambda: next(ticks))

    return with_times


def is_packed(policy):
    return any(isinstance(part, PackedConvolution) for part in policy.planner.model.modules())


def chunks(policy, count=2):
    window = torch.linspace(-1, 1, 6)
    policy.reset(5)
    return torch.stack([policy.predict_action_chunk({"observation.state": window}) for _ in range(count)])


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        # as stored and packed in turn: one look is enough where packing is twice as fast
        ((1.0, 0.4), True),
        ((1.0, 0.6, 1.0, 0.8, 0.9, 0.9), True),
        ((1.0, 0.95, 1.0, 0.95, 1.0, 0.95), False),
        ((1.0, 2.0, 1.0, 2.0, 1.0, 2.0), False),
    ],
)
def test_the_faster_form_is_chosen_and_said_in_one_line(run, measured, caplog, seconds, chosen):
    measured(*seconds)
    with caplog.at_level(logging.INFO, logger="holdfast"):
        policy = holdfast.load(run)
    assert is_packed(policy) == chosen
    (line,) = caplog.messages
    assert line.startswith(f"{run}: weights {'packed' if chosen else 'as stored'}: a plan takes ")
    plain = holdfast.load(run, fast=False)
    assert not is_packed(plain)
    expected = chunks(plain)
    torch.testing.assert_close(chunks(policy), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_small_networks_are_not_measured(run, monkeypatch):
    monkeypatch.setattr(ready, "_faster", None)
    assert not is_packed(holdfast.load(run))


@pytest.mark.skipif(not packs_bfloat16(), reason="this processor cannot pack weights in bfloat16")
def test_other_plans_are_refused_however_fast(run, measured, monkeypatch, caplog):
    measured(1.0, 0.1)
    monkeypatch.setattr(ready, "packed", lambda model: packed(model, "bfloat16"))
    with caplog.at_level(logging.INFO, logger="holdfast"):
        assert not is_packed(holdfast.load(run))
    assert "changes plans" in caplog.text


def test_no_random_number_is_used_by_measuring(run, measured):
    before = torch.get_rng_state()
    measured(1.0, 0.95, 1.0, 0.95, 1.0, 0.95)
    policy = holdfast.load(run)
    assert torch.equal(torch.get_rng_state(), before)
    state = torch.linspace(-1, 1, 6)
    found, expected = (one.select_action(state) for one in (policy, holdfast.load(run, fast=False)))
    assert torch.equal(found, expected)


def test_what_is_saved_is_what_was_loaded(run, measured):
    measured(1.0, 0.4)
    policy = holdfast.load(run)
    assert is_packed(policy)
    policy.save_pretrained(run.parent / "again")
    for file in run.iterdir():
        assert (run.parent / "again" / file.name).read_bytes() == file.read_bytes()


def test_weights_that_change_are_followed_by_the_policy_and_by_its_copies(planner):
    policy = Policy(replace(planner, model=packed(copy.deepcopy(planner.model))))
    twin = copy.deepcopy(policy)
    before = chunks(policy)
    torch.testing.assert_close(chunks(twin), before)
    changed = copy.deepcopy(planner.model)
    with torch.no_grad():
        for model in (policy.planner.model, changed):
            for value in model.parameters():
                value.mul_(0.5)
    torch.testing.assert_close(chunks(policy), chunks(Policy(replace(planner, model=changed))))
    assert not torch.allclose(chunks(policy), before, rtol=1e-2)
    torch.testing.assert_close(chunks(twin), before)


def test_packed_policies_are_stacked_like_others(planner):
    other = replace(planner, model=build_model(planner.spec, seed=2).eval())
    state = torch.linspace(-1, 1, 12).view(2, 6)
    found, expected = (
        StackedPolicies([Policy(form(one)) for one in (planner, other)], seeds=(0, 1)).act(
            Observation(state=state), state
        )
        for form in (lambda one: replace(one, model=packed(one.model)), lambda one: one)
    )
    torch.testing.assert_close(found, expected)


def test_unpacked_layers_are_those_that_were_packed(planner):
    network = packed(planner.model)
    plain = unpacked(network)
    assert [type(part) for part in plain.modules()] == [type(part) for part in planner.model.modules()]
    assert all(a is b for a, b in zip(plain.parameters(), planner.model.parameters(), strict=True))
