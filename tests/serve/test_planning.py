"""Batches change no session's numbers: each plan is what the policy alone, with the session's seed, would give."""

import numpy as np
import pytest
import torch

from holdfast.data import Actions, Affine, Waypoints
from holdfast.errors import DataError
from holdfast.models import FAMILIES, Flow, Streaming
from holdfast.nn import FilmMlp, ResidualMlp
from holdfast.policy import Coordinates, Ensemble, Execution, Policy, PolicyInterface
from holdfast.policy.realtime import WAYS, Delay, Means, RealTime
from holdfast.serve.continuing import Continues
from holdfast.serve.planning import Job, Session, plan_all, rehearse
from holdfast.serve.requests import request_of
from holdfast.serve.served import Served
from holdfast.types import Observation, Prefix

STACKABLE = ("consistency", "diffusion", "flow", "meanflow", "mip", "regression", "shortcut")
POINTS = Waypoints(positions=(0, 1), velocities=(2, 3), stiffness=(4.0, 1.0), damping=(2.0, 1.0))


def planned(served, sessions, message, options=None):
    jobs = [
        Job(session, request_of({"observation.state": row, **({"holdfast": options} if options else {})}, served))
        for session, row in zip(sessions, message, strict=True)
    ]
    return plan_all(jobs)


def alone(planner, seed):
    return Policy(planner, seed=seed).executor


def observed(row):
    return Observation(state=torch.as_tensor(row)[None])


@pytest.mark.parametrize("codec", [Actions(), Affine()], ids=str)
@pytest.mark.parametrize("family", STACKABLE)
def test_a_batch_changes_no_session(make_planner, gaussian, family, codec):
    """Sessions of other precisions, that begin at other times, over several plans."""
    model = FAMILIES[family](FilmMlp(widths=(16, 16), embedding=8))
    execution = Execution(n_action_steps=2, sigma_deploy=0.1)
    planner = make_planner(codec, sizes=(3, 2, 3), model=model, n_obs_steps=2, execution=execution)
    served = Served.of(Policy(planner))
    assert served.together
    sessions, expected = [Session(served, seed) for seed in range(5)], [alone(planner, seed) for seed in range(5)]
    for time in range(3):
        some = slice(time, 5)
        rows = [row.float() if index % 2 else row for index, row in enumerate(gaussian(time, 5, 3))][some]
        replies = planned(served, sessions[some], [row.numpy() for row in rows])
        for reply, executor, row in zip(replies, expected[some], rows, strict=True):
            executor.observe(observed(row))
            chunk = executor.plan()
            assert reply.chunk.actions.dtype == row.dtype
            for name in ("actions", "states", "gains"):
                torch.testing.assert_close(getattr(reply.chunk, name), getattr(chunk, name)[0], atol=1e-5, rtol=1e-5)


def test_the_families_that_plan_together_are_these(make_planner):
    kinds = {name: FAMILIES[name](ResidualMlp()) for name in FAMILIES}
    assert {name for name, kind in kinds.items() if kind.stackable} >= set(STACKABLE)


@pytest.mark.parametrize("family", ["mixture", "cvae"])
def test_other_families_plan_one_after_another(make_planner, gaussian, family):
    model = FAMILIES[family](FilmMlp(widths=(16, 16), embedding=8))
    planner = make_planner(
        Actions(), sizes=(3, 2, 3), model=model, n_obs_steps=1, execution=Execution(n_action_steps=2)
    )
    served = Served.of(Policy(planner))
    assert not served.together
    sessions, rows = [Session(served, seed) for seed in range(3)], gaussian(0, 3, 3)
    for reply, seed, row in zip(planned(served, sessions, list(rows.numpy())), range(3), rows, strict=True):
        executor = alone(planner, seed)
        executor.observe(observed(row))
        torch.testing.assert_close(reply.chunk.actions, executor.plan().actions[0], atol=1e-5, rtol=1e-5)


def test_streams_continue_their_own_buffers(make_planner, gaussian):
    model = Streaming(network=FilmMlp(widths=(16, 16), embedding=8))
    execution = Execution(n_action_steps=4, stream=True)
    planner = make_planner(Actions(), sizes=(3, 2, 3), model=model, n_obs_steps=1, execution=execution)
    served = Served.of(Policy(planner))
    sessions, expected = [Session(served, seed) for seed in range(2)], [alone(planner, seed) for seed in range(2)]
    for time in range(3):
        rows = gaussian(time, 2, 3)
        for reply, executor, row in zip(planned(served, sessions, list(rows.numpy())), expected, rows, strict=True):
            executor.observe(observed(row))
            assert reply.actions.shape == (served.horizon, 2) == (4, 2)
            torch.testing.assert_close(reply.actions, executor.plan().actions[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", STACKABLE)
def test_prefixes_are_encoded_and_passed_on_in_batches(make_planner, gaussian, family):
    """Two sessions hold two steps, a third holds one, the fourth none; all at once."""
    model = FAMILIES[family](FilmMlp(widths=(16, 16), embedding=8))
    planner = make_planner(Affine(), sizes=(3, 2, 3), model=model, n_obs_steps=1, execution=Execution(n_action_steps=2))
    served, rows = Served.of(Policy(planner)), gaussian(0, 4, 3)
    held = {
        "actions": gaussian(1, 2, 2).numpy(),
        "states": gaussian(2, 2, 3).numpy(),
        "gains": gaussian(3, 2, 2, 3).numpy(),
    }
    code = np.concatenate([held["actions"], held["states"], held["gains"].reshape(2, 6)], axis=1)
    options = [{"prefix": held}, {"prefix": held}, {"prefix": held, "delay": 1}, {}]
    weights = [(1.0, 1.0), (1.0, 1.0), (1.0, 0.0), None]
    jobs = [
        Job(Session(served, seed), request_of({"observation.state": rows[seed].numpy(), "holdfast": one}, served))
        for seed, one in enumerate(options)
    ]
    for seed, (reply, weight) in enumerate(zip(plan_all(jobs), weights, strict=True)):
        executor = alone(planner, seed)
        executor.observe(observed(rows[seed]))
        # the codes are scaled by one, and so their own normalised values
        prefix = None if weight is None else Prefix(chunk=torch.tensor(code)[None], weights=torch.tensor(weight))
        chunk = executor.plans.plan(executor.seen(), rng=executor.rng, prefix=prefix)
        torch.testing.assert_close(reply.chunk.actions, chunk.actions[0], atol=1e-5, rtol=1e-5)
    assert served.together


def test_aside_changes_nothing(actions_planner, gaussian):
    served = Served.of(Policy(actions_planner))
    session, executor = Session(served, 0), alone(actions_planner, 0)
    first, second = gaussian(0, 2, 3)
    (one,) = planned(served, [session], [second.numpy()], {"aside": True})
    (again,) = planned(served, [session], [second.numpy()], {"aside": True})
    torch.testing.assert_close(one.actions, again.actions, rtol=0, atol=0)
    (reply,) = planned(served, [session], [first.numpy()])
    executor.observe(observed(first))
    torch.testing.assert_close(reply.chunk.actions, executor.plan().actions[0], atol=1e-5, rtol=1e-5)


def test_reset_restarts_window_and_randomness(gains_planner, gaussian):
    served, rows = Served.of(Policy(gains_planner)), gaussian(0, 3, 4).numpy()
    session = Session(served, 0)
    message = {"observation.state": rows[0, :3], "observation.environment_state": rows[0, 3:]}
    begin = {**message, "holdfast": {"reset": True, "seed": 7}}
    first = plan_all([Job(session, request_of(begin, served))])[0]
    plan_all([Job(session, request_of({"x": rows[1, 0], "y": 0.0, "z": 0.0, "goal": 0.0}, served))])
    again = plan_all([Job(session, request_of(begin, served))])[0]
    torch.testing.assert_close(first.chunk.gains, again.chunk.gains, rtol=0, atol=0)


def test_a_window_in_one_message_is_the_window_of_single_ones(gains_planner, gaussian):
    served, rows = Served.of(Policy(gains_planner)), gaussian(0, 2, 4).numpy()
    one, two = Session(served, 0), Session(served, 0)
    both = {"observation.state": rows[:, :3], "observation.environment_state": rows[:, 3:]}
    together = plan_all([Job(one, request_of(both, served))])[0]
    two.prepare(request_of({"observation.state": rows[0, :3], "observation.environment_state": rows[0, 3:]}, served))
    named = dict(zip(("goal", "z", "y", "x"), rows[1, ::-1], strict=True))
    apart = plan_all([Job(two, request_of(named, served))])[0]
    torch.testing.assert_close(together.chunk.actions, apart.chunk.actions, rtol=0, atol=0)


def test_an_unusual_first_observation_is_named_once(gains_planner):
    served = Served.of(Policy(gains_planner))
    session, far = Session(served, 0), {"x": 5.0, "y": 0.0, "z": 0.0, "goal": 0.0}
    first, second = (plan_all([Job(session, request_of(far, served))])[0] for _ in range(2))
    assert len(first.warnings) == 1
    assert "x is 5" in first.warnings[0]
    assert not second.warnings


def test_one_session_that_fails_fails_alone(actions_planner, gaussian, monkeypatch):
    """A batch that raises is planned again one by one, and the others get the plans that they would get alone."""
    served = Served.of(Policy(actions_planner))
    sample = type(actions_planner.model).sample

    def fussy(self, observation, **more):
        if bool((observation.vector.abs() > 100).any()):
            raise RuntimeError("no")
        return sample(self, observation, **more)

    monkeypatch.setattr(type(actions_planner.model), "sample", fussy)
    rows = gaussian(0, 3, 3)
    rows[1] = 1e6
    replies = planned(served, [Session(served, seed) for seed in range(3)], list(rows.numpy()))
    assert isinstance(replies[1], RuntimeError)
    for seed in (0, 2):
        executor = alone(actions_planner, seed)
        executor.observe(observed(rows[seed]))
        torch.testing.assert_close(replies[seed].chunk.actions, executor.plan().actions[0], atol=1e-5, rtol=1e-5)


def test_ensembles_get_references_before_the_limits(make_planner, gaussian):
    execution = Execution(n_action_steps=1, ensemble=Ensemble(), action_low=(-0.1, -0.1), action_high=(0.1, 0.1))
    served = Served.of(Policy(make_planner(Actions(), sizes=(3, 2, 3), n_obs_steps=1, execution=execution)))
    (reply,) = planned(served, [Session(served, 0)], list(gaussian(0, 1, 3).numpy()))
    assert served.sends_controllers
    assert float(reply.chunk.actions.abs().max()) > 0.1 >= float(reply.actions.abs().max())


@pytest.mark.parametrize("codec", [Actions(), Affine(), POINTS], ids=["actions", "affine", "way-points"])
@pytest.mark.parametrize(
    ("family", "way", "delay"),
    [
        ("flow", "guided", 1),
        ("flow", "guided-no-jacobian", 2),
        ("mixture", "conditioned", 2),
        ("prefix", "trained", 1),
        ("prefix", None, 2),
    ],
)
def test_a_session_continues_its_last_plan_as_the_policy_does_under_delay(
    make_planner, gaussian, family, way, delay, codec
):
    """Plans of two sessions, every third step, against those of the simulation under the same delay."""
    network = FilmMlp(widths=(16, 16), embedding=8)
    model = Flow(network, clean_prefix=True) if family == "prefix" else FAMILIES[family](network)
    execution = Execution(n_action_steps=3, sigma_deploy=0.1)
    planner = make_planner(codec, sizes=(4, 2, 4), model=model, n_obs_steps=1, execution=execution)
    served, seeds = Served.of(Policy(planner)), (0, 1)
    simulated = [
        Policy(planner, realtime=RealTime(Delay(delay), WAYS[way or "trained"](Means(planner, execution))), seed=seed)
        for seed in seeds
    ]
    sessions, others = [Session(served, seed) for seed in seeds], [Session(served, seed) for seed in seeds]
    found = list[bool]()
    for step in range(9):
        rows = gaussian(step, 2, 4)
        for policy, row in zip(simulated, rows, strict=True):
            policy.act(observed(row), row[None])
        if step % 3:
            continue
        options = {"executed": 3, "delay": delay, **({} if way is None else {"way": way})}
        replies = planned(served, sessions, list(rows.numpy()), options)
        alone = planned(served, others, list(rows.numpy()))
        for reply, other, policy in zip(replies, alone, simulated, strict=True):
            expected = policy.acting.course.plans[-1].chunk[0]
            torch.testing.assert_close(reply.chunk.actions, expected.actions, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(reply.chunk.states, expected.states, atol=1e-5, rtol=1e-5)
            # the plans of way-points differ in their states, those of actions in their actions
            parts = [(getattr(reply.chunk, name), getattr(other.chunk, name)) for name in ("actions", "states")]
            found.append(all(torch.allclose(a, b, atol=1e-4) for a, b in parts))
    # the first plan of an episode is one by itself, and the prefix counts in the others
    assert found == [True] * 2 + [False] * 4


def test_only_trained_numbers_of_steps_are_continued(make_planner):
    """With `executed` and a delay, and with a prefix of its own; weights below 1 hold no clean steps."""
    one = {"low": (-1.0,) * 3, "high": (1.0,) * 3}
    interface = PolicyInterface(
        observation=Coordinates(**one),
        state=Coordinates(**one),
        action=Coordinates(low=(-1.0,) * 2, high=(1.0,) * 2),
        n_robot=3,
        prefix_delays=(0, 2),
    )
    model = Flow(FilmMlp(widths=(16, 16), embedding=8), clean_prefix=True)
    planner = make_planner(Actions(), sizes=(3, 2, 3), model=model, n_obs_steps=1, interface=interface)
    served, known = Served.of(Policy(planner)), np.zeros((3, 2))
    assert served.metadata(0)["prefix_delays"] == [0, 2]
    message = {"observation.state": np.zeros(3)}
    for options in (
        {"executed": 3, "delay": 2},
        {"executed": 3},
        {"executed": 3, "delay": 2, "way": "guided"},
        {"prefix": {"actions": known}, "delay": 2},
        {"prefix": {"actions": known, "weights": [0.9, 0.5, 0.1]}},
    ):
        request_of({**message, "holdfast": options}, served)
    for options, count in (
        ({"executed": 3, "delay": 1}, 1),
        ({"executed": 3, "delay": 3, "way": "guided"}, 3),
        ({"prefix": {"actions": known}}, 3),
        ({"prefix": {"actions": known, "weights": [1.0, 0.5, 0.0]}}, 1),
    ):
        with pytest.raises(DataError, match=rf"continue 0 or 2 steps .*\(--prefix-delays\), got {count}\. Give one of"):
            request_of({**message, "holdfast": options}, served)


def test_a_rehearsal_plans_in_every_way_and_changes_nothing(make_planner, gaussian, monkeypatch):
    planner = make_planner(Actions(), sizes=(3, 2, 3), model=Flow(FilmMlp(widths=(16, 16), embedding=8)))
    served = Served.of(Policy(planner))
    session, executor, rows = Session(served, 5), alone(planner, 5), gaussian(0, 2, 3)
    (reply,) = planned(served, [session], rows[:1].numpy())
    plans, asked = type(session.executor.plans), []
    plan = plans.plan
    monkeypatch.setattr(plans, "plan", lambda *given, **more: asked.append(more.get("prefix")) or plan(*given, **more))
    rehearse(session, reply)
    assert served.continuing == ("guided", "guided-no-jacobian")
    assert [(one.jacobian, float(one.weights[0])) for one in asked] == [(True, 1.0), (False, 1.0)]
    (after,) = planned(served, [session], rows[1:].numpy())
    for row in rows:
        executor.observe(observed(row))
        expected = executor.plan()
    torch.testing.assert_close(after.chunk.actions, expected.actions[0], atol=1e-5, rtol=1e-5)


def test_nothing_is_continued_after_a_reset_or_beside_the_session(make_planner, gaussian):
    model, execution = FAMILIES["mixture"](FilmMlp(widths=(16, 16), embedding=8)), Execution(n_action_steps=2)
    planner = make_planner(Actions(), sizes=(3, 2, 3), model=model, n_obs_steps=1, execution=execution)
    served = Served.of(Policy(planner))
    session, row = Session(served, 0), [gaussian(0, 1, 3)[0].numpy()]
    (first,) = planned(served, [session], row)
    assert session.last is first.chunk
    planned(served, [session], row, {"aside": True, "executed": 2, "delay": 1})
    assert session.last is first.chunk
    (again,) = planned(served, [session], row, {"reset": True, "seed": 0, "executed": 2, "delay": 1})
    torch.testing.assert_close(again.actions, first.actions, rtol=0, atol=0)
    # beyond its end, nothing of the last plan is left
    assert Continues(99, 2, "conditioned").prefix(planner, first.chunk) is None
