"""The interface of a policy: stored with it, checked when it is read, and used by `select_action`."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast
from holdfast.errors import DataError, InterfaceError, InterfaceWarning, RunError, RunWarning, ShapeError
from holdfast.policy import Coordinates, Policy, PolicyInterface
from holdfast.sealed import read_sealed, sealed

NAMES = ("x", "z", "phi", "x_dot", "z_dot", "phi_dot")


@pytest.fixture
def policy(tiny_planner) -> Policy:
    return Policy(tiny_planner)


@pytest.fixture
def run(policy, tmp_path):
    policy.save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def rename(policy: Policy, names) -> Policy:
    interface = policy.interface
    return Policy(
        replace(policy.planner, interface=replace(interface, observation=replace(interface.observation, names=names)))
    )


def older(run, *, digest=True):
    """Make a run as it was written before interfaces were stored."""
    (run / "interface.json").unlink()
    found = read_sealed(run / "model.safetensors")
    about = {name: value for name, value in found.about.items() if name != "interface"}
    (run / "model.safetensors").write_bytes(sealed(found.tensors, about))


def test_it_is_loaded_as_it_was_trained(policy, run, demos):
    interface = holdfast.load(run).interface
    assert interface == policy.interface
    assert interface.observation.names == NAMES
    assert interface.dt == demos.dt
    assert interface.episodes == len(demos)
    assert interface.state.high == tuple(demos.states.double().numpy().max(0))


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(dt=0.5),
        lambda plain: plain["observation"]["names"].reverse(),
        lambda plain: plain["action"].update(low=[-9.0] * 2),
    ],
)
def test_a_changed_interface_is_noticed(run, change):
    plain = json.loads((run / "interface.json").read_text())
    change(plain)
    (run / "interface.json").write_text(json.dumps(plain))
    with pytest.raises(RunError, match=r"interface\.json is not the one that .*model\.safetensors was written with"):
        holdfast.load(run)


def test_a_missing_interface_is_noticed(run):
    (run / "interface.json").unlink()
    with pytest.raises(RunError, match=r"interface\.json is not the one"):
        holdfast.load(run)


@pytest.mark.parametrize(
    ("interface", "says"),
    [
        (lambda one: replace(one, state=one.action), "expected 6 coordinates of the state, as in the recipe, got 2"),
        (lambda one: replace(one, action=one.state), "expected 2 coordinates of the action, as in the recipe, got 6"),
        (lambda one: replace(one, prefix_delays=(1, 10**6)), "expected different prefix_delays below the horizon of"),
        (lambda one: replace(one, prefix_delays=(1, 1)), r"expected different prefix_delays .*, got \[1, 1\]"),
    ],
)
def test_an_interface_of_another_policy_is_refused(policy, tmp_path, interface, says):
    other = Policy(replace(policy.planner, interface=interface(policy.interface)))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(RunError, match=f"interface.json does not fit this policy: {says}"):
        holdfast.load(tmp_path / "other")


def test_ranges_and_counts_must_fit():
    with pytest.raises(RunError, match="expected names of 2 coordinates, got 1"):
        Coordinates(low=(0.0, 0.0), high=(1.0, 1.0), names=("x",))
    with pytest.raises(RunError, match="low <= high"):
        Coordinates(low=(0.0,), high=(1.0,), first_low=(1.0,), first_high=(0.5,))
    one = Coordinates(low=(0.0,), high=(1.0,))
    with pytest.raises(RunError, match="expected 1 to 1 coordinates of the robot, got 2"):
        PolicyInterface(observation=one, state=one, action=one, n_robot=2)
    with pytest.raises(RunError, match="expected dt above 0"):
        PolicyInterface(observation=one, state=one, action=one, n_robot=1, dt=0.0)


def test_an_older_run_is_read_with_one_line_and_keeps_its_ranges(policy, run, demos):
    older(run)
    with pytest.warns(RunWarning, match="names, order, units and time step .* cannot be compared") as said:
        loaded = holdfast.load(run)
    assert len(said) == 1
    found = loaded.interface
    assert (found.observation.names, found.dt, found.episodes) == (None, None, None)
    assert found.observation.high == pytest.approx(policy.interface.observation.high)
    assert found.action.low == pytest.approx(tuple(demos.actions.double().numpy().min(0)))
    loaded.reset()
    with pytest.warns(InterfaceWarning, match="lies outside every demonstration"):
        loaded.select_action(torch.full((6,), 1e4))


def test_a_file_that_the_weights_do_not_mention_is_not_used(run):
    text = (run / "interface.json").read_text()
    older(run)
    (run / "interface.json").write_text(text)
    with pytest.warns(RunWarning, match="cannot be compared"):
        assert holdfast.load(run).interface.observation.names is None


def test_a_policy_without_an_interface_is_stored_without_one(tiny_planner, tmp_path):
    Policy(replace(tiny_planner, interface=None)).save_pretrained(tmp_path / "bare")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert holdfast.load(tmp_path / "bare").interface is None


STATE = [0.1, -0.2, 0.05, 0.3, -0.1, 0.02]


@pytest.mark.parametrize(
    "shown",
    [
        lambda: dict(zip(NAMES, STATE, strict=True)),
        lambda: dict(reversed(list(zip(NAMES, STATE, strict=True)))),
        lambda: {name.upper(): np.float64(value) for name, value in zip(NAMES, STATE, strict=True)},
        lambda: {"observation.state": dict(zip(NAMES, STATE, strict=True)), "observation.images.top": np.zeros((4, 4))},
        lambda: {**{name: [value] for name, value in zip(NAMES, STATE, strict=True)}, "time": "now"},
        lambda: {
            "x": STATE[0],
            "z": STATE[1],
            "phi": {"": STATE[2], "dot": STATE[5]},
            "x.dot": STATE[3],
            "z/dot": STATE[4],
        },
    ],
)
def test_named_quantities_are_put_in_order(policy, shown):
    policy.reset(0)
    expected = policy.select_action(torch.tensor(STATE, dtype=torch.float64))
    policy.reset(0)
    assert torch.equal(policy.select_action(shown()), expected)


def test_vectors_are_taken_by_name_and_index(policy):
    named = rename(policy, ("goal_0", "goal_1", "arm/q_0", "arm/q_1", "arm/q_2", "grip"))
    policy.reset(0)
    batch = torch.arange(18.0, dtype=torch.float64).reshape(3, 6) / 20
    expected = policy.select_action(batch)
    named.reset(0)
    shown = {
        "grip": batch[:, 5],
        "arm": {"q": batch[:, 2:5].numpy()},
        "goal": batch[:, :2],
        "images": np.zeros((3, 9, 9, 3)),
    }
    assert torch.equal(named.select_action(shown), expected)
    named.reset(0)
    one = {"grip": batch[0, 5], "arm.q": batch[0, 2:5].float(), "goal": batch[0, :2].float()}
    assert named.select_action(one).shape == (2,)


def test_other_names_are_refused_with_both_lists(policy):
    shown = dict(zip(("x", "z", "angle", "x_dot", "z_dot", "phi_dot"), STATE, strict=True))
    says = "has no phi; it holds angle, phi_dot, x, x_dot, z, z_dot. The policy was trained on x, z, phi, x_dot, z_dot"
    with pytest.raises(InterfaceError, match=says):
        policy.select_action(shown)


def test_a_coordinate_twice_or_of_other_episodes_is_refused(policy):
    shown = dict(zip(NAMES, STATE, strict=True))
    with pytest.raises(InterfaceError, match="holds x twice"):
        policy.select_action({**shown, "X": 3.0})
    with pytest.raises(ShapeError, match="same episodes, got 2, 3 of them"):
        policy.select_action({**shown, "x": [0.1, 0.2], "z": [0.1, 0.2, 0.3]})
    with pytest.raises(ShapeError, match=r"expected x as \[k\] or \[b, k\]"):
        policy.select_action({**shown, "x": np.zeros((2, 2, 2))})
    with pytest.raises(DataError, match="expected x as an array of real numbers"):
        policy.select_action({**shown, "x": "left"})
    with pytest.raises(ShapeError, match="expected at least 2 numbers of goal"):
        rename(policy, ("goal_0", "goal_1", "a", "b", "c", "d")).select_action(
            {"goal": [0.1], "a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}
        )


def test_without_names_a_dictionary_needs_the_key_of_a_vector(policy):
    with pytest.raises(ShapeError, match=r"expected the key 'observation.state', got x\. .* data without names"):
        rename(policy, None).select_action({"x": 0.0})


def test_the_first_observation_of_an_episode_is_compared_once(policy, demos):
    known = Policy(replace(policy.planner, interface=replace(policy.interface, episodes=20)))
    far = torch.tensor(policy.interface.observation.high, dtype=torch.float64) * 100 + 100
    with pytest.warns(InterfaceWarning, match="first observation of this episode .*: z is|x is|phi") as said:
        known.select_action(far)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known.select_action(far)
        known.reset()
        known.select_action(demos.states[0])
    known.reset()
    with pytest.warns(InterfaceWarning):
        known.select_action(far)
