"""`select_action` with what robots' programs give: right in any form, or refused in words, with the episode intact."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast
from holdfast.errors import DataError, HoldfastError, InterfaceError, RecipeError, ShapeError
from holdfast.learn import prepare, prepare_variants
from holdfast.policy import Policy
from holdfast.seeding import stream
from holdfast.types import Observation


@pytest.fixture
def policy(tiny_planner) -> Policy:
    """Windows of two observations and two actions of each plan, with gains."""
    return Policy(tiny_planner, execution=replace(tiny_planner.spec.execution, n_action_steps=2, sigma_deploy=0.0))


@pytest.fixture
def state(drone) -> torch.Tensor:
    return drone.initial_states(1, rng=stream(0, "tests", "doors"))[0]


FORMS = {
    "tensor": lambda state: state,
    "big-endian": lambda state: state.numpy().astype(">f8"),
    "backwards": lambda state: state.flip(0).numpy()[::-1],
    "read-only": lambda state: np.frombuffer(state.numpy().tobytes()),
    "list": lambda state: state.tolist(),
    "tuple of scalars": lambda state: tuple(np.float64(value) for value in state),
    "list of tensors": lambda state: list(state),
    "mapping": lambda state: {"observation.state": state.tolist()},
    "extended": lambda state: state.numpy().astype(np.longdouble),
    "column of a matrix": lambda state: torch.stack([state, state], dim=1)[:, 0],
    "with a gradient": lambda state: state.clone().requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_in_mid_episode(policy, state, form):
    """The same bits as tensors, also where the form changes within an episode and within a plan."""
    wanted, found = [], []
    for answers, given in ((wanted, lambda state: state), (found, form)):
        policy.reset(0)
        answers.append(policy.select_action(state))
        answers.extend(policy.select_action(given(state + 0.1 * step)) for step in range(1, 4))
        answers.append(
            policy.select_action(state + 1, state=given(state + 2) if given is not FORMS["mapping"] else state + 2)
        )
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32, torch.bool, torch.uint8])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_other_precisions_in_mid_episode(policy, state, dtype, position):
    """A rounded observation acts as its exact value does, whenever it comes."""
    rounded = (3 * state).to(dtype)
    steps = [state, state + 0.1, state + 0.2, state + 0.3]
    ends = []
    for exact in (False, True):
        policy.reset(0)
        given = [*steps[:position], rounded.double() if exact else rounded, *steps[position + 1 :]]
        ends.append(torch.stack([policy.select_action(one).double() for one in given]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)
    assert bool(ends[0].isfinite().all())


def test_a_buffer_may_be_used_again(policy, state):
    buffer, answers = state.numpy().copy(), []
    policy.reset(0)
    wanted = [policy.select_action(state + step) for step in range(5)]
    policy.reset(0)
    for step in range(5):
        buffer[:] = state.numpy() + step
        answers.append(policy.select_action(buffer))
    assert all(torch.equal(a, b) for a, b in zip(answers, wanted, strict=True))


WRONG = {
    "no axis": lambda s: (s[0], None),
    "three axes": lambda s: (s[None, None], None),
    "a window": lambda s: (s.expand(1, 2, 6), None),
    "no episodes": lambda s: (s[None][:0], None),
    "too narrow": lambda s: (s[:5], None),
    "too wide": lambda s: (torch.cat([s, s]), None),
    "state too narrow": lambda s: (s, s[:5]),
    "state too wide": lambda s: (s, torch.cat([s, s])),
    "state of a batch": lambda s: (s, s[None]),
    "state of more episodes": lambda s: (s[None], torch.stack([s, s])),
    "state without axis": lambda s: (s, 1.0),
    "parts of other episodes": lambda s: (
        {"observation.state": s[None, :4], "observation.environment_state": s[4:]},
        s[None],
    ),
    "state missing where parts differ": lambda s: (
        {"observation.state": s[:4], "observation.environment_state": s[4:]},
        None,
    ),
    "another batch": lambda s: (torch.stack([s, s]), None),
    "words": lambda s: (["up"] * 6, None),
    "nothing": lambda s: ({"observation.state": None}, None),
    "ragged": lambda s: ([[1.0, 2.0], [3.0]], None),
    "complex": lambda s: (s.to(torch.complex128), None),
    "complex array": lambda s: (s.numpy().astype(complex), None),
    "objects": lambda s: (np.array([object()] * 6), None),
    "words as state": lambda s: (s, "up"),
    "dates": lambda s: (np.zeros(6, dtype="datetime64[s]"), None),
    "no state": lambda s: ({"state": s}, None),
    "names that are numbers": lambda s: ({1: s, "x": s}, None),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused_and_changes_nothing(policy, state, wrong):
    policy.reset(0)
    wanted = [policy.select_action(state + step) for step in range(4)]
    policy.reset(0)
    found = [policy.select_action(state)]
    observation, feedback = wrong(state)
    with pytest.raises((ShapeError, DataError, InterfaceError)) as refusal:
        policy.select_action(observation, feedback)
    assert isinstance(refusal.value, HoldfastError)
    assert len(str(refusal.value)) < 400
    found.extend(policy.select_action(state + step) for step in range(1, 4))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_parts_that_change_within_an_episode_are_right(policy, state):
    """State and environment state are one vector for the policy, however they are divided."""
    policy.reset(0)
    wanted = [policy.select_action(state + step) for step in range(3)]
    policy.reset(0)
    found = []
    for step, split in enumerate((6, 4, 2)):
        here = state + step
        parts = {"observation.state": here[:split], "observation.environment_state": here[split:]}
        found.append(policy.select_action(parts if split < 6 else here, here))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_batches_for_act_are_checked_too(policy, state):
    with pytest.raises(ShapeError, match=r"expected an observation \[n\] of one episode or \[b, n\]"):
        policy.act(Observation(state=state), state)
    with pytest.raises(ShapeError, match=r"expected the feedback state as an array of shape \[1, 6\]"):
        policy.act(Observation(state=state[None]), state)


@pytest.mark.parametrize("name", ["foo", "meta", "cuda:99", "cpu:7", "privateuseone", "hpu", "xla", ""])
def test_devices_that_are_not_here_are_refused(tiny_planner, tiny_recipe, demos, tmp_path, name):
    Policy(tiny_planner).save_pretrained(tmp_path / "run")
    doors = (
        lambda: holdfast.load(tmp_path / "run", device=name),
        lambda: Policy.from_pretrained(tmp_path / "run", device=name),
        lambda: prepare(tiny_recipe, demos, device=name),
        lambda: prepare_variants([tiny_recipe], demos, device=name),
    )
    for door in doors:
        with pytest.raises(RecipeError, match=f"expected a device of this machine, cpu.*got '{name}'"):
            door()
