"""The control loop: with a fake clock it takes the steps of the simulation; calls, plans and clocks that go wrong."""

import re
import threading
import time
import warnings
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from holdfast.data import Actions, Affine
from holdfast.errors import ActionError, DataError, RecipeError, ServerError, ShapeError, StoppedError, TimingWarning
from holdfast.models import Diffusion, Flow, Mixture, Regression, Streaming
from holdfast.nn import ResidualMlp
from holdfast.policy import Coordinates, Ensemble, Execution, Policy, PolicyInterface
from holdfast.policy.realtime import (
    Bid,
    Conditioned,
    Continued,
    Delay,
    Ensembled,
    Forward,
    Guided,
    Naive,
    RealTime,
    Trained,
    Wait,
)
from holdfast.seeding import stream
from holdfast.serve import Client, ControlLoop, Pace
from holdfast.serve.grid import Grid
from holdfast.types import Observation

DT, H, S, N = 0.5, 8, 4, 3
SMALL = ResidualMlp(width=16, blocks=1)


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Inline(Executor):
    """Makes each plan at once and hands it over when a stated number of steps has passed."""

    def __init__(self, clock, delays, dt=DT):
        self.clock, self.delays, self.dt = clock, delays, dt

    def submit(self, work):
        there = self.clock.now + (next(self.delays) - 0.5) * self.dt
        clock, future = self.clock, Later()
        future.there = lambda: clock.now >= there
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future


class Later(Future):
    def done(self):
        return self.there()


def always(*delays):
    """The first plan of an episode is waited for, whatever its delay."""
    yield 1000
    while True:
        yield from delays


def stepped(loop, clock, steps, states=None):
    """Actions at grid times, for given observations or for the time."""
    found = []
    for step in range(steps):
        loop.wait()
        now = torch.full((N,), float(step)).double() if states is None else states[step]
        found.append(loop.act(now))
    return torch.stack(found)


class Counting:
    """Foreign policy whose actions tell the step of the question: 100 t + i."""

    def __init__(self):
        self.seen = []

    def predict_action_chunk(self, observation):
        self.seen.append(float(observation[0]))
        return np.stack([np.full(2, 100 * self.seen[-1] + i) for i in range(H)])


def counting(delays, pace=None, way=None, policy=None):
    clock = Clock()
    loop = ControlLoop(
        policy or Counting(),
        dt=DT,
        way=way,
        n_action_steps=S,
        pace=pace,
        clock=clock,
        sleep=clock.sleep,
        planning=Inline(clock, delays),
    )
    return loop, clock


@pytest.fixture(scope="module")
def draws():
    return 0.3 * torch.randn(24, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def planners(make_planner):
    made = {}

    def of(family, codec):
        if (family, codec) not in made:
            execution = Execution(n_action_steps=S, sigma_deploy=0.1, action_low=(-0.4,) * 2, action_high=(0.4,) * 2)
            sizes = (N, 2, N)
            made[family, codec] = make_planner(codec, sizes=sizes, model=family, n_obs_steps=2, execution=execution)
        return made[family, codec]

    return of


class Still:
    def following(self, observation, state, action):
        return observation.with_vector(observation.vector + 0.1), state + 0.1


WAYS = [
    (Diffusion(SMALL), Naive()),
    (Diffusion(SMALL), Wait()),
    (Diffusion(SMALL), Guided()),
    (Flow(SMALL), Guided(jacobian=False)),
    (Mixture(SMALL), Conditioned()),
    (Flow(SMALL), Ensembled(Ensemble(decay=0.1))),
    (Regression(SMALL), Forward(Still())),
    (Streaming(SMALL, blocks=2), Continued()),
    (Flow(SMALL), "bid"),
]


@pytest.mark.parametrize(
    ("delay", "codec"),
    [(Delay(0), Affine()), (Delay(3), Actions()), (Delay(0, 4), Affine())],
    ids=["0", "3-actions", "0-4"],
)
@pytest.mark.parametrize(("family", "way"), WAYS, ids=lambda part: type(part).__name__)
def test_the_clock_takes_the_steps_of_the_simulation(planners, draws, family, way, codec, delay):
    planner = planners(family, codec)
    way = Bid(planner, samples=3) if way == "bid" else way
    policy = Policy(planner, realtime=RealTime(delay, way))
    policy.reset(5)
    simulated = [policy.act(Observation(state=now[None]), now[None])[0] for now in draws]
    rng = stream(5, "inference delay")
    drawn = (1000 if first else int(delay.draw(1, rng=rng)) for first in [True, *[False] * 20])
    clock = Clock()
    loop = ControlLoop(policy, dt=DT, clock=clock, sleep=clock.sleep, planning=Inline(clock, drawn))
    loop.reset(5)
    found = stepped(loop, clock, len(draws), draws)
    assert torch.equal(found, torch.stack(simulated))
    # every four steps in 24; a robot that waits asks only when it has executed what it had
    assert loop.counts.plans == (6 if not isinstance(way, Wait) else loop.counts.plans)
    assert loop.counts.misses == loop.counts.late_plans == loop.counts.jumps == 0


def test_forecasts_shrink_with_a_clock_as_in_the_simulation(planners):
    delay = Delay(0, 4)
    policy = Policy(planners(Regression(SMALL), Actions()), realtime=RealTime(delay, Forward(Still())))
    policy.reset(6)
    steps = 30 * S
    seen = 0.3 * torch.randn(steps, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    simulated = [policy.act(Observation(state=now[None]), now[None])[0] for now in seen]
    rng = stream(6, "inference delay")
    drawn = (1000 if first else int(delay.draw(1, rng=rng)) for first in [True, *[False] * 30])
    clock = Clock()
    loop = ControlLoop(policy, dt=DT, clock=clock, sleep=clock.sleep, planning=Inline(clock, drawn))
    loop.reset(6)
    assert torch.equal(stepped(loop, clock, steps, seen), torch.stack(simulated))
    # a plan is late only where the forecast has shrunk below the largest delay
    assert loop.counts.late_plans > 0


def test_a_plan_runs_from_its_arrival_at_the_index_of_its_observation():
    loop, clock = counting(always(2))
    with loop:
        assert stepped(loop, clock, 10)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 402, 403, 404, 405]
    assert loop.counts.delays == (2,)


def test_a_late_plan_is_counted_and_the_forecast_follows():
    loop, clock = counting(always(2, 2, 1))
    stepped(loop, clock, 16)
    # forecast 1 before anything was measured, 2 afterwards
    assert (loop.counts.late_plans, loop.counts.delays, loop.counts.plans) == (1, (2, 2, 1), 4)


def test_when_a_plan_ends_its_last_controller_goes_on():
    loop, clock = counting(always(6), Pace(most_unplanned=3))
    with pytest.warns(TimingWarning, match="its last controller goes on") as said:
        found = stepped(loop, clock, 14)
    # asked at 4, there at 10: actions 0 to 7, twice the last one, then 406
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 406, 407, 407, 407]
    assert (loop.counts.unplanned, loop.counts.late_plans, len(said)) == (4, 1, 1)


def test_the_feedback_goes_on_when_a_plan_ends(planners):
    policy = Policy(planners(Regression(SMALL), Affine()))
    clock = Clock()
    loop = ControlLoop(policy, dt=DT, clock=clock, sleep=clock.sleep, planning=Inline(clock, always(100)))
    loop.reset(0)
    with pytest.warns(TimingWarning):
        stepped(loop, clock, 10, torch.zeros(10, N).double())
    controller = loop.clocked.course.plans[0].chunk.at(H - 1)
    here = torch.tensor([0.01, -0.02, 0.005]).double()
    loop.wait()
    expected = controller.actions[0] + controller.gains[0] @ (here - controller.states[0])
    torch.testing.assert_close(loop.act(here), expected.clamp(-0.4, 0.4))
    assert float(controller.gains.abs().max()) > 0


def test_a_loop_without_plans_stops():
    loop, clock = counting(always(100), Pace(most_unplanned=2))
    with pytest.warns(TimingWarning), pytest.raises(StoppedError, match=r"2 consecutive steps had no plan at 0\.5 s"):
        stepped(loop, clock, 20)
    assert loop.counts.steps == 10
    with pytest.raises(StoppedError, match="reset"):
        loop.act(torch.zeros(N))
    loop.reset()
    assert loop.act(torch.zeros(N))[0] == 0


def test_a_stopped_loop_may_hold_a_stated_action():
    loop, clock = counting(always(100), Pace(most_unplanned=2, hold=(-1.0, -2.0)))
    with pytest.warns(TimingWarning) as said:
        found = stepped(loop, clock, 12)
    assert found[8, 0] == 7
    assert found[9:].tolist() == [[-1, -2]] * 3
    assert [("stopped" in str(one.message)) for one in said] == [False, True]


def test_misses_are_counted_and_the_next_step_is_on_the_grid():
    loop, clock = counting(always(1))
    loop.act(torch.zeros(N))
    clock.now += 1.3 * DT  # 0.3 late
    assert loop.act(torch.zeros(N))[0] == 1
    assert loop.counts.misses == 1
    loop.wait()
    assert clock.now == pytest.approx(100 + 2 * DT)
    clock.now += 1.1 * DT  # within the tolerance of a quarter before the next grid time
    loop.act(torch.zeros(N))
    assert loop.counts.misses == 2
    clock.now = 100 + 4 * DT
    loop.act(torch.zeros(N))
    clock.now += 0.1 * DT
    loop.act(torch.zeros(N))
    assert (loop.counts.misses, loop.counts.early) == (2, 1)


def test_consecutive_misses_stop_the_loop_and_others_do_not():
    loop, clock = counting(always(1), Pace(most_misses=3))
    loop.act(torch.zeros(N))
    for late in (0.4, 0.4, 0.0, 0.4, 0.4):
        loop.wait()
        clock.now += late * DT
        loop.act(torch.zeros(N))
    loop.wait()
    clock.now += 0.4 * DT
    with pytest.raises(StoppedError, match="3 consecutive calls came too late"):
        loop.act(torch.zeros(N))


def test_a_call_that_is_periods_late_skips_grid_times_and_no_action():
    loop, clock = counting(always(1))
    loop.act(torch.zeros(N))
    clock.now += 3.6 * DT
    assert loop.act(torch.zeros(N))[0] == 1
    loop.wait()
    # t₀ + 4 dt is the first grid time after the call
    assert clock.now == pytest.approx(100 + 4 * DT)


@pytest.mark.parametrize(("jump", "said"), [(-3600.0, "went back by 3.6e"), (1000.0, "999 s late|1e.03 s late")])
def test_jumps_of_the_clock_are_said_and_the_grid_begins_anew(jump, said):
    loop, clock = counting(always(1))
    stepped(loop, clock, 3)
    clock.now += jump
    loop.planning.delays = always(0)
    with pytest.warns(TimingWarning, match=said):
        loop.act(torch.full((N,), 3.0))
    assert loop.counts.jumps == 1
    assert loop.grid.due == pytest.approx(clock.now + DT)
    loop.wait()
    assert clock.slept[-1] == pytest.approx(DT)
    assert loop.counts.misses == 0


def test_a_wait_lasts_one_step_at_most():
    loop, clock = counting(always(1))
    loop.act(torch.zeros(N))
    clock.now -= 3600
    loop.wait()
    assert clock.slept == [DT]


def test_the_grid_does_not_drift():
    grid = Grid.begun(0.0, dt=0.02, tolerance=0.005, leap=1.0)
    for step in range(1, 5_000):
        grid, meeting = grid.met(step * 0.02)
        assert meeting == "on time"
    assert grid.due == 100.0


class Failing(Counting):
    def predict_action_chunk(self, observation):
        if len(self.seen) == 1:
            self.seen.append(-1.0)
            raise ServerError("the cable is loose.")
        return super().predict_action_chunk(observation)


def test_errors_of_the_planning_thread_reach_the_caller_and_the_next_call_asks_again():
    loop, clock = counting(always(1), policy=Failing())
    stepped(loop, clock, 5)
    loop.wait()
    with pytest.raises(ServerError, match="the cable is loose"):
        loop.act(torch.full((N,), 5.0))
    loop.wait()
    assert loop.act(torch.full((N,), 5.0))[0] == 5
    loop.wait()
    assert loop.act(torch.full((N,), 6.0))[0] == 501
    assert loop.counts.plans == 2


def test_plans_of_a_foreign_policy_are_checked():
    class Short:
        def predict_action_chunk(self, observation):
            return np.zeros((3, 2))

    loop, _ = counting(always(1), policy=Short())
    with pytest.raises(ShapeError, match=r"at least n_action_steps = 4 steps, got an array of shape \[3, 2\]"):
        loop.act(torch.zeros(N))

    class Broken:
        def predict_action_chunk(self, observation):
            return torch.full((1, H, 2), torch.nan)

    loop, _ = counting(always(1), policy=Broken())
    with pytest.raises(ActionError, match="nan"):
        loop.act(torch.zeros(N))


class Returning:
    def __init__(self, *plans):
        self.plans = iter(plans)

    def predict_action_chunk(self, observation):
        return next(self.plans)


@pytest.mark.parametrize(
    ("plan", "got"),
    [
        (None, "got None"),
        ("abc", "got 'abc'"),
        (np.zeros((H, 2), complex), "complex128"),
        ([[0.0], [0.0, 1.0]], "got "),
    ],
    ids=["none", "text", "complex", "ragged"],
)
def test_plans_that_are_no_real_numbers_are_refused_in_words(plan, got):
    loop, _ = counting(always(1), policy=Returning(plan))
    with pytest.raises(DataError, match=f"(?s)expected the plan of predict_action_chunk as an array of real .*{got}"):
        loop.act(torch.zeros(N))


@pytest.mark.parametrize("shape", [(H, 3), (H - 1, 2)])
def test_plans_of_another_shape_than_the_first_are_refused_and_the_next_call_asks_again(shape):
    loop, clock = counting(always(1), policy=Returning(np.zeros((H, 2)), np.ones(shape), np.ones((H, 2))))
    stepped(loop, clock, S + 1)
    loop.wait()
    with pytest.raises(ShapeError, match=rf"the shape \[8, 2\] of the first one, got \[{shape[0]}, {shape[1]}\]"):
        loop.act(torch.zeros(N))
    assert stepped(loop, clock, 2).tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_an_action_to_hold_of_another_size_is_refused_before_the_robot_moves():
    loop, _ = counting(always(1), Pace(hold=(0.0, 0.0, 0.0)))
    for _ in range(2):
        with pytest.raises(RecipeError, match=r"expected 2 numbers in Pace\.hold, .* got 3\."):
            loop.act(torch.zeros(N))


@pytest.mark.parametrize("step", [0, 2])
def test_a_time_that_is_not_finite_is_refused(step):
    loop, clock = counting(always(1))
    for _ in range(step):
        loop.wait()
        loop.act(torch.zeros(N))
    clock.now = float("nan")
    with pytest.raises(RecipeError, match=r"a finite time \[s\], got nan. Use time.monotonic"):
        loop.act(torch.zeros(N))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"way": Guided()}, "the way Guided needs a Holdfast policy in this process"),
        ({"n_action_steps": None}, "expected n_action_steps.*does not state it"),
        ({"n_action_steps": 0}, "a whole number of at least 1, got 0. Omit it"),
        ({"n_action_steps": 2.5}, "a whole number of at least 1, got 2.5"),
        ({"delay": 1.5}, "whole control steps, got 1.5"),
        ({"dt": None}, "Give dt=0.02 for 50 Hz"),
        ({"dt": -1.0}, "above 0 s, got -1.0"),
        ({"delay": -1}, "delay"),
        ({"policy": object()}, "expected a policy with predict_action_chunk"),
    ],
)
def test_what_a_loop_cannot_do_is_refused(options, message):
    given = {"policy": Counting(), "dt": DT, "n_action_steps": S, **options}
    with pytest.raises(RecipeError, match=message):
        ControlLoop(given.pop("policy"), **given)


def test_what_a_servers_policy_cannot_do_is_refused_with_what_it_can(serving, actions_policy):
    with Client(serving(actions_policy).url) as client:
        assert client.metadata["continuing"] == ["guided", "guided-no-jacobian"]
        with pytest.raises(RecipeError, match="Use Naive, Wait or Ensembled, or on this server guided, guided-no-jac"):
            ControlLoop(client, dt=DT, way=Conditioned())


def test_what_a_policy_cannot_do_is_refused(actions_policy):
    with pytest.raises(RecipeError, match="does not condition exactly"):
        ControlLoop(actions_policy, dt=DT, way=Conditioned())
    with pytest.raises(RecipeError, match="n_action_steps"):
        ControlLoop(actions_policy, dt=DT, delay=5)
    with pytest.raises(RecipeError, match="a whole number of at least 1, got 0"):
        ControlLoop(actions_policy, dt=DT, n_action_steps=0)
    with pytest.raises(RecipeError, match="most_misses"):
        Pace(most_misses=0)
    with pytest.raises(RecipeError, match="finite action"):
        Pace(hold=(float("nan"),))


def test_observations_are_checked(actions_policy):
    with ControlLoop(actions_policy, dt=DT) as loop:
        with pytest.raises(DataError, match="nan"):
            loop.act([0.0, float("nan"), 0.0])
        with pytest.raises(ShapeError, match="of one robot"):
            loop.act(np.zeros((2, 3)))


def test_an_action_that_is_not_finite_is_held_where_the_policy_holds(actions_planner):
    execution = replace(actions_planner.spec.execution, on_nonfinite="hold")
    with ControlLoop(Policy(actions_planner, execution=execution), dt=DT) as loop:
        first = loop.act([0.1, 0.2, 0.3])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert torch.equal(loop.act([0.1, float("inf"), 0.3]), first)
    assert len(said) == 1


class Slow(Counting):
    """Plans when the test says so."""

    def __init__(self):
        super().__init__()
        self.goes = threading.Event()
        self.thread = None

    def predict_action_chunk(self, observation):
        if self.seen:
            assert self.goes.wait(20)
        self.thread = threading.current_thread()
        return super().predict_action_chunk(observation)


def test_the_thread_plans_while_the_robot_acts_and_ends_with_the_loop():
    policy, clock = Slow(), Clock()
    with ControlLoop(policy, dt=DT, n_action_steps=S, clock=clock, sleep=clock.sleep) as loop:
        found = stepped(loop, clock, 6)
        # the second plan waits for the event, the loop does not wait for it
        assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
        policy.goes.set()
        loop.clocked.pending.future.result(20)
        loop.wait()
        assert loop.act(torch.full((N,), 6.0))[0] == 402
        thread = policy.thread
        assert thread.is_alive()
        assert thread is not threading.current_thread()
    assert not thread.is_alive()
    with pytest.raises(StoppedError, match="was closed"):
        loop.act(torch.zeros(N))
    loop.close()


def test_a_reset_waits_for_the_plan_that_is_being_made_and_drops_it():
    policy, clock = Slow(), Clock()
    with ControlLoop(policy, dt=DT, n_action_steps=S, clock=clock, sleep=clock.sleep) as loop:
        stepped(loop, clock, 5)
        threading.Timer(0.05, policy.goes.set).start()
        loop.reset()
        assert policy.seen == [0, 4]
        assert loop.act(torch.full((N,), 9.0))[0] == 900
        assert (loop.counts.steps, loop.counts.plans) == (1, 1)


@pytest.mark.parametrize("way", [None, Guided(), Guided(jacobian=False)], ids=["naive", "guided", "no jacobian"])
def test_a_client_of_a_server_plans_with_its_window_and_gains(serving, gains_policy, way):
    names = ("x", "y", "z")
    draws = 0.3 * torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    clocks = Clock(), Clock()
    with Client(serving(gains_policy, seed=3).url) as client:
        remote, local = (
            ControlLoop(
                policy, way=way, delay=2, clock=clock, sleep=clock.sleep, planning=Inline(clock, always(2), 0.05)
            )
            for policy, clock in zip((client, gains_policy), clocks, strict=True)
        )
        assert remote.dt == local.dt == 0.05
        remote.reset(7)
        local.reset(7)
        for seen in draws:
            named = {**dict(zip(names, seen[:3].tolist(), strict=True)), "goal": float(seen[3])}
            remote.wait()
            local.wait()
            found, expected = remote.act(named), local.act(named)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert remote.counts == local.counts


@pytest.fixture(scope="module")
def continuing(make_planner):
    """A planner that has learned to continue 0, 1 or 3 steps of a running plan."""
    one = {"low": (-1.0,) * N, "high": (1.0,) * N}
    interface = PolicyInterface(
        observation=Coordinates(**one),
        state=Coordinates(**one),
        action=Coordinates(low=(-1.0,) * 2, high=(1.0,) * 2),
        n_robot=N,
        dt=DT,
        prefix_delays=(0, 1, 3),
    )
    model, execution = Flow(SMALL, clean_prefix=True), Execution(n_action_steps=S)
    return make_planner(
        Actions(), sizes=(N, 2, N), model=model, n_obs_steps=1, execution=execution, interface=interface
    )


def held_of(policy, monkeypatch, way, delays, steps=4 * S):
    """Numbers of steps that each plan after the first was given, without the rehearsal's, and the loop."""
    found, plan = list[int](), type(way).plan

    def noted(self, question):
        if question.held is not None:
            found.append(int(question.held.delay))
        return plan(self, question)

    monkeypatch.setattr(type(way), "plan", noted)
    clock = Clock()
    loop = ControlLoop(policy, way=way, clock=clock, sleep=clock.sleep, planning=Inline(clock, delays))
    stepped(loop, clock, steps)
    return found[1:] if way.continues else found, loop


@pytest.mark.parametrize(
    ("way", "plans"), [(Guided(), [None, 1, 1]), (Conditioned(), [None, 1, 1]), (Naive(), [None, 1])]
)
def test_a_plan_that_continues_the_first_is_rehearsed_before_the_robot_moves(continuing, monkeypatch, way, plans):
    """Once in the life of a loop, and without drawing from the policy's randomness, as equal actions show."""
    asked, plan = [], type(way).plan

    def noted(self, question):
        asked.append(None if question.held is None else int(question.held.delay))
        return plan(self, question)

    monkeypatch.setattr(type(way), "plan", noted)
    clock = Clock()
    loop = ControlLoop(Policy(continuing), way=way, clock=clock, sleep=clock.sleep, planning=Inline(clock, always(1)))
    loop.reset(3)
    first = stepped(loop, clock, S + 1)
    assert asked == plans
    loop.reset(3)
    assert torch.equal(stepped(loop, clock, S + 1), first)
    assert asked == [*plans, None, 1]


@pytest.mark.parametrize("way", [Trained(), Conditioned(), Guided()], ids=lambda way: type(way).__name__)
@pytest.mark.parametrize(("delay", "held"), [(0, [1, 1, 1]), (1, [1, 1, 1]), (2, [1, 3, 3]), (3, [1, 3, 3])])
def test_a_delay_between_trained_ones_is_continued_by_the_next_trained_one(continuing, monkeypatch, way, delay, held):
    """The first forecast is 1 step; a measured delay of 0 counts beside it."""
    found, loop = held_of(Policy(continuing), monkeypatch, way, always(delay))
    assert found == held
    assert loop.counts.untrained == 0


def test_a_delay_above_all_trained_ones_is_said_once_and_counted(continuing, monkeypatch):
    with pytest.warns(TimingWarning) as told:
        found, loop = held_of(Policy(continuing), monkeypatch, Trained(), always(4))
    assert found == [1, 3, 3]
    assert loop.counts.untrained == 2
    said = [str(one.message) for one in told if "--prefix-delays" in str(one.message)]
    assert len(said) == 1
    assert said[0].startswith("the policy was trained to continue 0, 1 or 3 steps of a running plan (--prefix-delays),")
    assert "it continues 3," in said[0]


def test_ways_that_continue_nothing_know_no_trained_delays(continuing, monkeypatch):
    found, loop = held_of(Policy(continuing), monkeypatch, Naive(), always(2))
    assert found == [1, 2, 2]
    assert loop.counts.untrained == 0


def test_a_first_forecast_above_all_trained_delays_is_refused(continuing, serving):
    with pytest.raises(RecipeError, match=r"continue 0, 1 or 3 steps of a running plan .*, not 4\. Give a delay among"):
        ControlLoop(Policy(continuing), way=Trained(), delay=4)
    with Client(serving(Policy(continuing)).url) as client:
        with pytest.raises(RecipeError, match="continue 0, 1 or 3 steps of a running plan"):
            ControlLoop(client, way=Trained(), delay=4)
        for steps, delay in ((9, 1), (6, 3), (2, 3)):
            with pytest.raises(RecipeError, match="Give a delay of at most"):
                ControlLoop(client, n_action_steps=steps, delay=delay)
    with pytest.raises(RecipeError, match="expected a delay of 0 to 65536 whole control steps, got 100000000000"):
        ControlLoop(Counting(), dt=DT, n_action_steps=S, delay=10**11)


@pytest.mark.parametrize("delay", [2, 3])
def test_a_client_continues_trained_numbers_of_steps(continuing, serving, delay):
    """As the policy in this process does."""
    clocks, policy = (Clock(), Clock()), Policy(continuing)
    with Client(serving(policy, seed=3).url) as client:
        remote, local = (
            ControlLoop(one, way=Trained(), clock=clock, sleep=clock.sleep, planning=Inline(clock, always(delay)))
            for one, clock in zip((client, policy), clocks, strict=True)
        )
        remote.reset(7)
        local.reset(7)
        seen = torch.linspace(-0.5, 0.5, 4 * S * N).double().reshape(-1, N)
        torch.testing.assert_close(
            stepped(remote, clocks[0], 4 * S, seen), stepped(local, clocks[1], 4 * S, seen), rtol=1e-5, atol=1e-6
        )
        assert remote.counts == local.counts


@pytest.mark.filterwarnings("ignore::holdfast.errors.TimingWarning")
@pytest.mark.parametrize("delay", [5, 7, 8, 11])
def test_a_client_whose_plan_has_ended_asks_for_one_by_itself(gains_policy, serving, delay):
    """Of a plan of 8 steps that arrives after it has ended, nothing is left to continue; the loop goes on."""
    clock = Clock()
    with Client(serving(gains_policy).url) as client:
        loop = ControlLoop(
            client,
            way=Guided(),
            clock=clock,
            sleep=clock.sleep,
            planning=Inline(clock, always(delay), 0.05),
            pace=Pace(most_misses=10**6, most_unplanned=10**6),
        )
        for step in range(40):
            loop.wait()
            assert (
                loop.act({"observation.state": np.full(3, 0.01 * step), "observation.environment_state": [0.0]})
                .isfinite()
                .all()
            )
        assert loop.counts.plans >= 3


@pytest.mark.filterwarnings("ignore::holdfast.errors.TimingWarning")
@pytest.mark.parametrize("way", [Naive(), Guided()], ids=["naive", "guided"])
def test_a_loop_goes_on_after_its_server_was_restarted(actions_policy, serving, way):
    """Meanwhile the last controller goes on; then plans come from the new server, by themselves at first."""
    first, pace = serving(actions_policy), Pace(most_misses=10**6, most_unplanned=10**6, leap=60.0)
    with Client(first.url, timeout=2.0, patience=30.0) as client:
        loop = ControlLoop(client, dt=0.01, way=way, pace=pace)
        stages = iter(("before", "gone", "back"))
        stage, plans, deadline = next(stages), 0, time.monotonic() + 60.0
        while stage != "back" or loop.counts.plans < plans + 3:
            assert time.monotonic() < deadline
            loop.wait()
            assert loop.act({"observation.state": np.zeros(3)}).isfinite().all()
            if stage == "before" and loop.counts.plans >= 3:
                first.stop()
                stage = next(stages)
            elif stage == "gone" and loop.counts.unplanned > 0:
                serving(actions_policy, port=first.server.port)
                stage, plans = next(stages), loop.counts.plans
        loop.close()


@pytest.mark.filterwarnings("ignore::holdfast.errors.TimingWarning")
def test_a_real_clock_and_a_real_thread(actions_policy):
    """No time is asserted: only that the loop keeps its grid's order and the counts fit together."""
    with ControlLoop(actions_policy, dt=0.002, pace=Pace(most_misses=10**6, most_unplanned=10**6, leap=60.0)) as loop:
        began = time.monotonic()
        for _ in range(60):
            loop.wait()
            assert loop.act(np.zeros(3)).isfinite().all()
        assert time.monotonic() - began >= 59 * 0.002 - 0.002
    assert loop.counts.steps == 60
    assert 2 <= loop.counts.plans <= 16


def test_the_example_of_the_documentation_runs(monkeypatch, make_planner):
    """With a policy in place of the run folder, and a robot that counts what it is sent."""
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text.split("## At the edge")[1].split("\n## ")[0], re.DOTALL)
    assert len(code.splitlines()) <= 15
    execution = Execution(n_action_steps=4)
    planner = make_planner(Actions(), sizes=(3, 2, 3), model=Flow(SMALL), n_obs_steps=1, execution=execution)
    monkeypatch.setattr("holdfast.load", lambda path: Policy(planner))

    sent = []
    robot = SimpleNamespace(read=lambda: np.zeros(3), send=lambda action: sent.append(action.shape))
    # a period of 0.1 ms instead of 20 ms; a busy machine may miss any of them
    quick = code.replace("dt=0.02", "dt=1e-4").replace(
        "pace=Pace(", "pace=Pace(most_misses=1000, most_unplanned=1000, "
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TimingWarning)
        exec(quick, {"robot": robot})
    assert sent == [torch.Size([2])] * 500
