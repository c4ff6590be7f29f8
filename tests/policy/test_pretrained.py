"""The policy that users hold, and its run folder."""

import copy
import json
from dataclasses import replace

import pytest
import torch

import holdfast
from holdfast.errors import DataError, HoldfastError, OutputError, RecipeError, RunError, ShapeError
from holdfast.nn.fast.packing import PackedLinear, packs_bfloat16
from holdfast.policy import Execution, Policy
from holdfast.seeding import stream
from holdfast.types import Observation


@pytest.fixture
def policy(tiny_planner) -> Policy:
    return Policy(tiny_planner)


@pytest.fixture
def states(drone) -> torch.Tensor:
    return drone.initial_states(5, rng=stream(0, "tests", "policy"))


@pytest.fixture
def run(policy, tmp_path):
    policy.save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def actions_of(policy, states, seed=3, steps=6):
    policy.reset(seed)
    return torch.stack([policy.select_action(states + 0.1 * step) for step in range(steps)])


def test_a_saved_policy_acts_the_same_bit_for_bit(policy, states, run):
    assert {path.name for path in run.iterdir()} == {"recipe.json", "scale.json", "interface.json", "model.safetensors"}
    expected = actions_of(policy, states)
    assert torch.equal(actions_of(Policy.from_pretrained(run), states), expected)
    assert torch.equal(actions_of(holdfast.load(run), states), expected)
    loaded = Policy.from_pretrained(run)
    assert loaded.spec == policy.spec
    loaded.save_pretrained(run.parent / "again")
    for path in run.iterdir():
        assert (run.parent / "again" / path.name).read_bytes() == path.read_bytes()


def test_execution_can_be_replaced_without_training(policy, states, run):
    quick = replace(policy.spec.execution, n_action_steps=1, sigma_deploy=0.0)
    loaded = Policy.from_pretrained(run, execution=quick)
    assert loaded.spec.execution == quick
    assert not torch.equal(actions_of(loaded, states), actions_of(policy, states))


@pytest.mark.parametrize(
    ("precision", "atol"),
    [
        ("float32", 1e-3),
        pytest.param(
            "bfloat16",
            0.5,
            marks=pytest.mark.skipif(not packs_bfloat16(), reason="this processor cannot pack weights in bfloat16"),
        ),
    ],
)
def test_a_packed_policy_acts_the_same_up_to_its_precision(policy, states, precision, atol):
    expected = actions_of(policy, states, steps=2)
    ready = policy.packed(precision)
    found = actions_of(ready, states, steps=2)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=atol * scale, rtol=0)
    # the sums have another order, which changes the last bits on some processors only
    assert any(isinstance(part, PackedLinear) for part in ready.planner.model.modules())
    assert torch.equal(actions_of(policy, states, steps=2), expected)


def test_weights_that_cannot_be_packed_are_refused(tiny_planner):
    double = replace(tiny_planner, model=copy.deepcopy(tiny_planner.model).double())
    with pytest.raises(RecipeError, match="single-precision"):
        Policy(double).packed()


def test_one_observation_in_many_forms(policy, states):
    state = states[0]
    forms = [
        state,
        state.numpy(),
        {"observation.state": state},
        {"observation.state": state.numpy()},
        {"observation.state": state[:4], "observation.environment_state": state[4:]},
        Observation(state=state),
    ]
    answers = []
    for form in forms:
        policy.reset(0)
        answers.append(policy.select_action(form, state))
    assert answers[0].shape == (2,)
    assert all(torch.equal(answer, answers[0]) for answer in answers)
    with pytest.raises(ShapeError, match=r"expected the key 'observation.state', got state"):
        policy.select_action({"state": state})


def test_selecting_one_equals_acting_on_a_batch_of_one(policy, states):
    policy.reset(2)
    one = torch.stack([policy.select_action(states[0] + step) for step in range(5)])
    policy.reset(2)
    batched = [policy.act(Observation(state=states[:1] + step), states[:1] + step)[0] for step in range(5)]
    assert torch.equal(one, torch.stack(batched))


def test_controllers_act_on_the_state_that_is_given(policy, states):
    """The observation decides the plan, the state the action: u(x) − u(x') = K (x − x')."""
    other = states + 0.5
    policy.reset(0)
    first = policy.select_action(states, states)
    policy.reset(0)
    second = policy.select_action(states, other)
    policy.reset(0)
    gains = policy.predict_controllers(states).gains[:, 0]
    expected = (gains @ (other - states)[..., None])[..., 0]
    torch.testing.assert_close(second - first, expected, rtol=0, atol=1e-9)


def test_predicting_leaves_the_policy_as_it_was(policy, states):
    expected = actions_of(policy, states)
    policy.reset(3)
    found = []
    for step in range(6):
        chunk = policy.predict_action_chunk(states + 0.1 * step)
        assert chunk.shape == (5, 8, 2)
        found.append(policy.select_action(states + 0.1 * step))
        policy.predict_action_chunk(states[:, :].flip(0))
    assert torch.equal(torch.stack(found), expected)


def test_a_refused_prediction_leaves_the_policy_as_it_was(policy, states):
    expected = actions_of(policy, states)
    policy.reset(3)
    with pytest.raises(ShapeError):
        policy.predict_action_chunk(states[:, :5])
    assert torch.equal(torch.stack([policy.select_action(states + 0.1 * step) for step in range(6)]), expected)


def test_the_predicted_chunk_is_the_one_that_is_executed(tiny_planner, states):
    execution = replace(tiny_planner.spec.execution, n_action_steps=8, sigma_deploy=0.2)
    policy = Policy(tiny_planner, execution=execution)
    policy.reset(1)
    chunk = policy.predict_controllers(states)
    for step in range(8):
        here = states + step
        torch.testing.assert_close(policy.select_action(here), chunk.at(step)(here), rtol=0, atol=0)


def test_limits_hold_in_full_precision(tiny_planner, states):
    limited = Execution(n_action_steps=1, action_low=(0.1, -0.1), action_high=(0.3, 0.1))
    actions = Policy(tiny_planner, execution=limited).select_action(states)
    assert actions.dtype == torch.float64
    assert bool((actions >= torch.tensor([0.1, -0.1]).double()).all())
    assert bool((actions <= torch.tensor([0.3, 0.1], dtype=torch.float64)).all())
    assert bool((actions == torch.tensor([0.3, 0.1], dtype=torch.float64)).any())


def test_a_wrong_observation_size_is_refused(policy):
    with pytest.raises(ShapeError, match="expected observations of 6 numbers, as in training, got 4"):
        policy.select_action(torch.zeros(4))


@pytest.mark.parametrize("name", ["scale.json", "model.safetensors"])
def test_an_incomplete_folder(run, name):
    (run / name).unlink()
    with pytest.raises(RunError, match=rf"incomplete: {name} is missing\..*--resume"):
        Policy.from_pretrained(run)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
@pytest.mark.parametrize("name", ["recipe.json", "scale.json", "interface.json"])
def test_damaged_json(run, name, text):
    (run / name).write_text(text)
    with pytest.raises(RunError, match=rf"{name}.* damaged.*(Train again|restore)"):
        Policy.from_pretrained(run)


def test_bytes_that_are_no_text(run):
    (run / "recipe.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(RunError, match=r"recipe\.json is damaged"):
        Policy.from_pretrained(run)


def test_truncated_weights(run):
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"model\.safetensors does not fit this policy"):
        Policy.from_pretrained(run)


def test_weights_of_another_network(run):
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["policy"]["model"]["network"]["widths"] = [24, 25]
    (run / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(RunError, match="does not fit this policy"):
        Policy.from_pretrained(run)


def test_a_newer_version(run):
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps(recipe | {"version": 3}))
    with pytest.raises(
        RunError, match=r"run: the recipe was written in version 3, but this holdfast reads versions 1 to 2\. Upgrade"
    ):
        Policy.from_pretrained(run)


def test_a_missing_scale(run):
    scales = json.loads((run / "scale.json").read_text())
    del scales["code"]
    (run / "scale.json").write_text(json.dumps(scales))
    with pytest.raises(RunError, match=r"scale\.json is damaged.*code"):
        Policy.from_pretrained(run)


def test_a_folder_without_a_recipe(run):
    (run / "recipe.json").unlink()
    with pytest.raises(RunError, match=r"is not a run folder: recipe\.json is missing\. Make one with: "):
        Policy.from_pretrained(run)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(RunError, match=r"nothing does not exist\. Make a run folder with: holdfast train DATA --out"):
        holdfast.load(tmp_path / "nothing")


def test_a_recipe_without_a_policy(run):
    (run / "recipe.json").write_text('{"version": 1}')
    with pytest.raises(HoldfastError, match="lacks the field policy"):
        Policy.from_pretrained(run)


def test_whole_numbers_are_numbers(policy):
    whole = policy.predict_action_chunk({"observation.state": [1, 0, 0, 0, 0, 0]})
    torch.testing.assert_close(whole, policy.predict_action_chunk(torch.tensor([1.0, 0, 0, 0, 0, 0]).double()))


def test_an_observation_that_is_no_number_is_refused(policy):
    with pytest.raises(DataError, match=r"holds nan at coordinate 2\. Check the sensor"):
        policy.select_action({"observation.state": [0.0, 0.0, float("nan"), 0.0, 0.0, 0.0]})


def test_a_run_is_not_overwritten_unasked(policy, run):
    with pytest.raises(OutputError, match="overwrite=True"):
        policy.save_pretrained(run)
    policy.save_pretrained(run, overwrite=True)
