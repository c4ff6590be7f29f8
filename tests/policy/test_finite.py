"""A policy hands out finite numbers only: it raises or holds; a rollout loses the one episode and keeps the others."""

import copy
import math
import threading
import warnings
from dataclasses import replace

import pytest
import torch

import holdfast as hf
from holdfast.envs import make_environment, rollout
from holdfast.errors import ActionError, DataError, HeldWarning, RecipeError, UnknownNameError
from holdfast.policy import Ensemble, Execution, Policy
from holdfast.schema import from_plain
from holdfast.seeding import stream

BAD = [math.nan, math.inf, -math.inf]


class Spoiled:
    """Plans whose actions are not finite in some rows, from a number of plans on."""

    def __init__(self, plans, rows, after=0, value=math.nan) -> None:
        self.plans, self.rows, self.left, self.value = plans, rows, after, value

    def plan(self, window, *, rng, prefix=None):
        chunk = self.plans.plan(window, rng=rng, prefix=prefix)
        self.left -= 1
        if self.left < 0:
            chunk.actions[self.rows] = self.value
        return chunk


@pytest.fixture
def policy(tiny_planner) -> Policy:
    return made(tiny_planner)


def made(planner, *, rows=(), after=0, value=math.nan, **changes) -> Policy:
    """A policy that plans at every step; some rows of its plans are spoiled."""
    execution = replace(planner.spec.execution, n_action_steps=1, sigma_deploy=0.0, **changes)
    policy = Policy(planner, execution=execution)
    if rows:
        policy.executor.plans = Spoiled(policy.executor.plans, list(rows), after, value)
    return policy


@pytest.fixture
def states(drone) -> torch.Tensor:
    return drone.initial_states(3, rng=stream(0, "tests", "finite"))


@pytest.mark.parametrize("value", BAD)
def test_inputs_that_are_not_finite_are_refused(policy, states, value):
    bad = states.clone()
    bad[1, 2] = value
    with pytest.raises(DataError, match=r"the observation holds .* at coordinate 2\. Check the sensor"):
        policy.select_action(bad)
    with pytest.raises(DataError, match=r"the feedback state holds .* at coordinate 2"):
        policy.select_action(states, bad)
    with pytest.raises(DataError, match="the observation holds"):
        policy.select_action({"observation.state": states[:, :4], "observation.environment_state": bad[:, 2:4]}, states)
    for predict in (policy.predict_action_chunk, policy.predict_controllers):
        with pytest.raises(DataError, match="the observation holds"):
            predict(bad)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("ensemble", [None, Ensemble()])
def test_an_action_that_is_not_finite_is_not_handed_out(tiny_planner, states, value, ensemble):
    policy = made(tiny_planner, rows=[0], value=value, ensemble=ensemble)
    with pytest.raises(ActionError, match=r"the action would hold .* at coordinate 0: it was not handed out"):
        policy.select_action(states)
    with pytest.raises(ActionError):
        policy.predict_action_chunk(states)


def test_limits_do_not_hide_infinity(tiny_planner, states):
    """Clipping makes a finite number of infinity, but not of NaN."""
    policy = made(tiny_planner, rows=[0], action_low=(-1.0, -1.0), action_high=(1.0, 1.0))
    with pytest.raises(ActionError):
        policy.select_action(states)


def test_huge_but_finite_numbers_are_finite(policy, states):
    huge = torch.full_like(states, 1e308)
    assert not math.isfinite(float(huge.sum()))
    policy.executor.act = lambda observation, state: state[:, :2]
    assert torch.equal(policy.select_action(states, huge), huge[:, :2])


def test_holding_repeats_the_last_action_and_says_so_once(tiny_planner, states):
    policy = made(tiny_planner, rows=[1], after=2, on_nonfinite="hold")
    sound = made(tiny_planner)
    for one in (policy, sound):
        one.reset(0)
    first, second = (policy.select_action(states + 0.1 * step) for step in range(2))
    assert torch.equal(first, sound.select_action(states))
    assert torch.equal(second, sound.select_action(states + 0.1))
    with pytest.warns(HeldWarning, match="in 1 of 3 episodes: the policy repeats its last action"):
        third = policy.select_action(states + 0.2)
    expected = sound.select_action(states + 0.2)
    assert torch.equal(third[1], second[1])
    assert torch.equal(third[[0, 2]], expected[[0, 2]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(policy.select_action(states + 0.3)[1], second[1])


def test_holding_keeps_bad_observations_out_of_the_window(tiny_planner, states):
    policy = made(tiny_planner, on_nonfinite="hold")
    policy.reset(0)
    first = policy.select_action(states)
    bad = states.clone()
    bad[0, 0] = math.nan
    with pytest.warns(HeldWarning):
        held = policy.select_action(bad)
    assert torch.equal(held[0], first[0])
    after = policy.select_action(states)
    assert bool(after.isfinite().all())


def test_there_is_nothing_to_hold_at_first(tiny_planner, states):
    with pytest.raises(ActionError):
        made(tiny_planner, rows=[0], on_nonfinite="hold").select_action(states)
    with pytest.raises(DataError):
        made(tiny_planner, on_nonfinite="hold").select_action(states * math.nan)
    policy = made(tiny_planner, on_nonfinite="hold")
    policy.select_action(states)
    policy.reset()
    with pytest.raises(DataError):
        policy.select_action(states * math.nan)


def test_the_reaction_is_chosen_where_a_policy_is_loaded(policy, tmp_path):
    policy.save_pretrained(tmp_path / "run")
    assert hf.load(tmp_path / "run").spec.execution.on_nonfinite == "raise"
    assert hf.load(tmp_path / "run", on_nonfinite="hold").guarded.holds
    with pytest.raises(UnknownNameError, match=r"unknown recipe\.on_nonfinite 'drop'\. Known: hold, raise"):
        from_plain(Execution, {"on_nonfinite": "drop"})


def test_a_rollout_loses_one_episode_and_keeps_the_others(tiny_planner):
    environment = make_environment("quadrotor2d", 3)
    starts = environment.initial_states(3, seed=0)
    sound = rollout(made(tiny_planner), environment, starts=starts, steps=6)
    found = rollout(made(tiny_planner, rows=[1], after=2), environment, starts=starts, steps=6)
    assert found.escaped.tolist() == [False, True, False]
    assert torch.equal(found.trajectory.actions[[0, 2]], sound.trajectory.actions[[0, 2]])
    # outside the rollout the same policy raises again
    policy = made(tiny_planner, rows=[1])
    rollout(policy, environment, starts=starts, steps=1)
    policy.reset()
    with pytest.raises(ActionError):
        policy.select_action(starts)


def test_an_episode_belongs_to_one_thread(policy, states):
    policy.reset(0)
    policy.select_action(states)
    with pytest.raises(RecipeError, match=r"two threads step one policy.*Load a policy for each thread"):
        in_thread(lambda: policy.select_action(states))
    # predictions change nothing, and after a reset another thread may begin
    assert in_thread(lambda: policy.predict_action_chunk(states)).shape == (3, 8, 2)
    policy.reset(0)
    assert in_thread(lambda: policy.select_action(states)).shape == (3, 2)


def test_copies_are_policies_of_their_own(policy, states):
    policy.reset(0)
    policy.select_action(states)
    twin = copy.deepcopy(policy)
    expected = policy.select_action(states + 0.1)
    assert torch.equal(in_thread(lambda: twin.select_action(states + 0.1)), expected)


def in_thread(function):
    """The result, or the error, of a function in another thread."""
    ends = []

    def run() -> None:
        try:
            ends.append((function(), None))
        except Exception as error:
            ends.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    (result, error), *_ = ends
    if error is not None:
        raise error
    return result


def test_threads_at_once_are_right_or_refused(tiny_planner, states):
    expected, policy = made(tiny_planner), made(tiny_planner)
    for one in (expected, policy):
        one.reset(0)
    wanted = [expected.select_action(states + 0.01 * step) for step in range(30)]
    barrier, found, refused = threading.Barrier(2), [], []

    def run() -> None:
        barrier.wait()
        for step in range(30):
            try:
                found.append(policy.select_action(states + 0.01 * step))
            except RecipeError:
                refused.append(step)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(refused) == 30
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("part", ["actions", "states", "gains"])
def test_controllers_are_finite(policy, states, part):
    plan = policy.executor.plan

    def spoiled():
        chunk = plan()
        getattr(chunk, part)[0] = math.nan
        return chunk

    policy.executor.plan = spoiled
    with pytest.raises(ActionError, match="would hold nan"):
        policy.predict_controllers(states)
