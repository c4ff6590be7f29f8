"""Execution under delay: what runs when, what is held, and the equalities that must hold without delay."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Actions, Affine, MinMax, Waypoints, width
from holdfast.errors import RecipeError, UnknownNameError
from holdfast.models import Diffusion, Energy, Flow, Mixture, Regression, Streaming
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
from holdfast.policy.realtime import (
    Bid,
    Conditioned,
    Continued,
    Course,
    Delay,
    DelayedExecutor,
    Ensembled,
    Forward,
    Guided,
    Held,
    Means,
    Naive,
    RealTime,
    Residual,
    Trained,
    Wait,
    soft_mask,
    way_named,
)
from holdfast.policy.realtime.bid import backward_loss, contrast, nearest
from holdfast.policy.realtime.delays import forecast, remembered
from holdfast.policy.realtime.way import Question
from holdfast.seeding import stream
from holdfast.types import Observation, PrimitiveControllers

N, M, H, S = 4, 2, 8, 4
SMALL = ResidualMlp(width=16, blocks=1)
POINTS = Waypoints(positions=(0, 1), velocities=(2, 3), stiffness=(4.0, 1.0), damping=(2.0, 1.0), stiffness_range=2.0)
FAMILIES = [Diffusion(SMALL), Flow(SMALL), Mixture(SMALL), Energy(SMALL), Streaming(SMALL)]


class Counting:
    """Planner whose chunks tell the step at which they were asked for: ū_i = 100 t + i, for observations o = t."""

    def __init__(self, horizon=H):
        self.horizon, self.windows, self.prefixes = horizon, [], []

    def plan(self, window, *, rng, prefix=None):
        self.windows.append(window.vector[:, -1, 0].clone())
        self.prefixes.append(prefix)
        actions = (100 * window.vector[:, -1, :1] + torch.arange(self.horizon))[..., None].expand(-1, -1, M)
        return PrimitiveControllers.open_loop(actions.double(), torch.zeros(len(actions), self.horizon, N).double())


def planner_of(family=None, codec=None, horizon=H, n_action_steps=S, sigma=0.1):
    codec = codec or Actions()
    spec = PolicySpec(
        n_states=N,
        n_actions=M,
        n_observed=N,
        codec=codec,
        model=family or Regression(SMALL),
        horizon=horizon,
        execution=Execution(n_action_steps=n_action_steps, sigma_deploy=sigma),
    )
    size = width(codec, N, M)
    one = torch.ones(N).double()
    wide = torch.ones(size).double()
    return Planner(spec, build_model(spec, seed=1).eval(), MinMax(low=-one, high=one), MinMax(low=-wide, high=wide))


def counted(way, delay, steps, *, n_action_steps=S, horizon=H, episodes=1, family=None):
    """Actions `[t, b]` of the counting planner, whose observation at step t is t."""
    policy = Policy(planner_of(family or Regression(SMALL), horizon=horizon, n_action_steps=n_action_steps))
    policy.executor.plans = plans = Counting(horizon)
    executor = DelayedExecutor(policy.executor, replace(policy.planner, spec=policy.spec), RealTime(delay, way))
    executor.reset(0)
    actions = []
    for step in range(steps):
        now = torch.full((episodes, N), float(step), dtype=torch.float64)
        actions.append(executor.act(Observation(state=now), now)[:, 0])
    return torch.stack(actions), plans


def flown(policy, steps=20, episodes=3):
    """Actions along a fixed sequence of observations."""
    policy.reset(5)
    draws = torch.randn(steps, episodes, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.stack([policy.act(Observation(state=now), now) for now in 0.3 * draws])


def test_naive_switches_to_the_index_of_the_observation():
    found, _ = counted(Naive(), Delay(2), 10)
    # asked at 0, 4 and 8; the plan of step 4 arrives at 6, where its own third action is due
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 402, 403, 404, 405]


def test_without_delay_every_plan_runs_from_its_first_action():
    found, _ = counted(Naive(), Delay(0), 9)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 400, 401, 402, 403, 800]


def test_waiting_holds_the_last_action_and_executes_all_of_the_next_plan():
    found, _ = counted(Wait(), Delay(2), 12)
    # asked at 4 and, after four steps of it from step 6 on, at 10
    assert found[:, 0].tolist() == [0, 1, 2, 3, 3, 3, 400, 401, 402, 403, 403, 403]


def test_a_forward_plan_begins_at_its_arrival():
    class Still:
        def following(self, observation, state, action):
            # the observation is the time, which the robot knows how to count
            return observation.with_vector(observation.vector + 1), state

    found, plans = counted(Forward(Still()), Delay(2), 10)
    # the plan asked for at step 4 is made for step 6
    assert [float(seen[0]) for seen in plans.windows] == [0, 6, 10]
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 600, 601, 602, 603]


def test_the_forward_state_is_moved_by_the_actions_of_the_running_plan():
    class Adds:
        def following(self, observation, state, action):
            moved = state + action[:, :1]
            return observation.with_vector(moved), moved

    _, plans = counted(Forward(Adds()), Delay(2), 5)
    # at step 4 the state is 4, and actions 4 and 5 of the first plan follow
    assert [float(seen[0]) for seen in plans.windows] == [0, 4 + 4 + 5]


@pytest.mark.parametrize(
    ("low", "high", "reached"), [(None, 4.5, 4 + 4 + 4.5), (4.25, None, 4 + 4.25 + 5), (4.25, 4.5, 4 + 4.25 + 4.5)]
)
def test_the_forward_state_is_moved_by_actions_within_their_limits(low, high, reached):
    class Adds:
        def following(self, observation, state, action):
            moved = state + action[:, :1]
            return observation.with_vector(moved), moved

    limits = (None if end is None else torch.full((M,), end) for end in (low, high))
    _, plans = counted(Forward(Adds(), *limits), Delay(2), 5)
    assert [float(seen[0]) for seen in plans.windows] == [0, reached]


def test_the_forecast_of_a_forward_plan_shrinks_when_the_delays_did():
    class Counts:
        def following(self, observation, state, action):
            return observation.with_vector(observation.vector + 1), state

    episodes, plans = 20, 30
    _, seen = counted(Forward(Counts()), Delay(0, 3), S * plans, episodes=episodes)
    rng, recent = stream(0, "inference delay"), [torch.full((episodes,), 3)]
    for number, made_for in enumerate(seen.windows[1:], start=1):
        largest = torch.stack(recent[-10:]).amax(0)
        assert torch.equal(made_for, (S * number + largest).double())
        recent.append(Delay(0, 3).draw(episodes, rng=rng))
    assert bool((torch.stack(seen.windows)[-10:] < S * torch.arange(plans - 10, plans)[:, None] + 3).any())


def test_delays_are_those_of_each_episode_and_plan():
    found, _ = counted(Naive(), Delay(0, 3), 40, episodes=50)
    # an action 100 t + i executed at step t + i: the observation it answers is i steps old, at least the delay
    ages = found.remainder(100)
    first_of_new = (found[1:].div(100, rounding_mode="floor") != found[:-1].div(100, rounding_mode="floor")).nonzero()
    arrivals = ages[1:][tuple(first_of_new.T)]
    assert set(arrivals.tolist()) == {0.0, 1.0, 2.0, 3.0}
    shares = torch.bincount(arrivals.long(), minlength=4) / len(arrivals)
    assert bool((shares - 0.25).abs().max() < 0.08)
    assert bool((found.div(100, rounding_mode="floor") * 1 + ages == torch.arange(40)[:, None]).all())


def test_an_ensemble_averages_the_plans_that_have_arrived():
    found, _ = counted(Ensembled(Ensemble(decay=0.0)), Delay(2), 9)
    # steps 6 and 7 are reached by the plans of steps 0 and 4; step 8 by that of 4 alone, as that of 8 is on its way
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, (6 + 402) / 2, (7 + 403) / 2, 404]


def test_what_is_held_is_the_rest_of_the_running_plan():
    _, plans = counted(Conditioned(), Delay(2), 5, family=Mixture(SMALL))
    prefix = plans.prefixes[1]
    assert plans.prefixes[0] is None
    assert prefix.chunk[0, :4, 0].tolist() == [4, 5, 6, 7]
    assert prefix.weights.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]]
    soft = counted(Guided(), Delay(2), 5, family=Flow(SMALL))[1].prefixes[1]
    assert torch.equal(soft.weights[0], soft_mask(H, 4, 2))


def test_steps_beyond_the_running_plan_are_not_held():
    """A plan that comes later than forecast: of four steps until the next one the running plan has two, or all."""
    held = Held(codes=torch.zeros(2, 6, 1), left=torch.tensor([2, 6]), delay=torch.tensor([4, 4]))
    assert held.firm().weights.tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]


def test_delays_are_those_of_the_seed():
    """Two plans after the first one: each draws one number an episode from the stream of the seed."""
    policy = Policy(planner_of(), realtime=RealTime(Delay(0, 3), Naive()))
    for seed in (0, 5):
        policy.reset(seed)
        for _ in range(2 * S + 1):
            policy.act(Observation(state=torch.zeros(6, N).double()), torch.zeros(6, N).double())
        rng = stream(seed, "inference delay")
        drawn = [torch.randint(0, 4, (6,), generator=rng) for _ in range(2)]
        # the forecast before any delay was measured comes first
        assert torch.equal(policy.acting.course.recent[:, 1:], torch.stack(drawn, dim=1))


@pytest.mark.parametrize(
    ("index", "expected"),
    # H = 8, s = 3, d = 2: c = (5 − i)/4 → c (e^c − 1)/(e − 1), by a pocket calculator
    [(0, 1.0), (1, 1.0), (2, 0.75 * 1.1170000166126748 / 1.718281828459045), (3, 0.18877), (4, 0.041324), (5, 0.0)],
)
def test_the_soft_mask_of_real_time_chunking(index, expected):
    assert float(soft_mask(8, 5, 2)[index]) == pytest.approx(expected, abs=1e-6)


def test_the_weight_of_guidance_is_that_of_the_paper():
    """Guided velocity on a linear denoiser whose Jacobian is known: v = −x, x̂ = x + (1 − τ) v = τ x."""
    from holdfast.models.flow import guided
    from holdfast.types import Prefix

    noisy, target = torch.tensor([[[0.5]]]).double(), torch.tensor([[[1.0]]]).double()
    prefix = Prefix(chunk=target, weights=torch.tensor([0.25]).double())
    for time in (0.1, 0.4, 0.8):
        spread = (1 - time) ** 2 / (time**2 + (1 - time) ** 2)
        weight = min(5.0, (1 - time) / (time * spread))
        error = 0.25 * (1.0 - time * 0.5)
        with_jacobian = -0.5 + weight * error * time
        found = guided(lambda chunk, _: -chunk, noisy, time, prefix, 5.0)
        assert float(found) == pytest.approx(with_jacobian, rel=1e-9)
        ablated = guided(lambda chunk, _: -chunk, noisy, time, replace(prefix, jacobian=False), 5.0)
        assert float(ablated) == pytest.approx(-0.5 + weight * error, rel=1e-9)


class Still:
    """The observation stays."""

    def following(self, observation, state, action):
        return observation, state


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
@pytest.mark.parametrize("codec", [Actions(), Affine(), POINTS], ids=["actions", "affine", "way-points"])
def test_without_delay_ways_equal_the_receding_horizon_bit_for_bit(family, codec):
    planner = planner_of(family, codec)
    plain = flown(Policy(planner))
    ways = [Wait(), Naive(), Forward(Still())]
    ways += [Conditioned()] if planner.model.conditioning == "exact" else []
    ways += [Trained()] if planner.model.takes_clean_prefix else []
    for way in ways:
        assert torch.equal(flown(Policy(planner, realtime=RealTime(Delay(0), way))), plain), way


@pytest.mark.parametrize("family", [Diffusion(SMALL), Flow(SMALL)], ids=["diffusion", "flow"])
def test_guidance_with_an_empty_mask_is_none(family):
    # all steps of a plan are executed, so that nothing of it is left to hold
    planner = planner_of(family, n_action_steps=H)
    found = flown(Policy(planner, realtime=RealTime(Delay(0), Guided())))
    assert torch.equal(found, flown(Policy(planner)))
    soft = planner_of(family)
    assert not torch.equal(flown(Policy(soft, realtime=RealTime(Delay(0), Guided()))), flown(Policy(soft)))


def test_streaming_without_delay_equals_the_streamed_policy():
    planner = planner_of(Streaming(SMALL))
    streamed = Policy(planner, execution=replace(planner.spec.execution, stream=True))
    assert torch.equal(flown(Policy(planner, realtime=RealTime(Delay(0), Continued()))), flown(streamed))


def test_a_streamed_plan_holds_what_is_executed_meanwhile():
    planner = planner_of(Streaming(SMALL))
    policy = Policy(planner, realtime=RealTime(Delay(3), Continued()))
    executor = policy.acting
    policy.reset(0)
    for step in range(12):
        now = torch.full((2, N), 0.1 * step, dtype=torch.float64)
        before = None if executor.course is None or step % S else executor.course.rest()[0].actions[:, :3]
        policy.act(Observation(state=now), now)
        if before is not None:
            torch.testing.assert_close(executor.course.plans[-1].chunk.actions[:, :3], before)


def test_bid_takes_the_plan_that_fits_best():
    held = Held(codes=torch.zeros(1, 4, 1), left=torch.tensor([3]), delay=torch.tensor([1]))
    codes = torch.tensor([[1.0, 0.0, 0.0, 9.0], [0.0, 0.0, 2.0, 9.0], [0.0, 1.0, 1.0, 9.0]])[:, None, :, None]
    # distances 1·1, 2·ρ², ρ + ρ² for ρ = ½; the fourth step of the running plan does not exist
    assert backward_loss(codes, held, 0.5)[:, 0].tolist() == [1.0, 0.5, 0.75]
    assert nearest(codes, backward_loss(codes, held, 0.5), 2)[:, 0, :3, 0].tolist() == [[0, 0, 2], [0, 1, 1]]
    # summed over two others: |1-0|+|0-0|+… of the first three plans by hand
    assert contrast(codes, codes[:2])[:, 0].tolist() == [3.0, 3.0, 3.0 + 2.0]


def test_bid_prefers_the_running_plan_and_avoids_the_weak_policy():
    class Two:
        """Plans +1 for even and −1 for odd samples."""

        def plan(self, window, *, rng, prefix=None):
            sign = 1.0 - 2.0 * (torch.arange(len(window.state)) % 2)
            actions = sign[:, None, None].expand(-1, H, M).double()
            return PrimitiveControllers.open_loop(actions, torch.zeros(len(actions), H, N).double())

    planner = planner_of()
    policy = Policy(planner, realtime=RealTime(Delay(2), Bid(planner)))
    policy.executor.plans = Two()
    found = flown(policy, episodes=1)
    assert bool((found == found[0]).all())


def test_bid_reduces_each_set_by_its_own_distance_to_the_running_plan():
    """Plans that are constant along the chunk, beside a running plan of zeros: all distances are numbers by hand."""

    class Constant:
        def __init__(self, values):
            self.values = values

        def plan(self, window, *, rng, prefix=None):
            actions = torch.tensor(self.values, dtype=torch.float64)[:, None, None].expand(-1, H, M)
            return PrimitiveControllers.open_loop(actions, torch.zeros(len(actions), H, N).double())

    good, weak = [-0.4, 0.6, 0.0, 0.7], [-0.7, 0.0, 0.6, -0.8]
    # the two nearest to zero of each; a distance is √2 |a − b| at each of 8 steps, weighted by ½^i in the backward loss
    near, far = [0.0, -0.4], [0.0, 0.6]
    loss = [
        (2 - 0.5**7) * abs(a) + 8 * (sum(abs(a - one) for one in near) - sum(abs(a - one) for one in far)) for a in good
    ]
    held = Held(codes=torch.zeros(1, H, M).double(), left=torch.tensor([H]), delay=torch.tensor([0]))
    question = Question(
        plans=Constant(good),
        window=Observation(state=torch.zeros(1, 1, N).double()),
        state=torch.zeros(1, N).double(),
        held=held,
        running=None,
        rng=stream(0),
    )
    chosen = Bid(planner_of(), samples=4, mode=2, weaker=Constant(weak)).plan(question)
    assert chosen.actions.shape == (1, H, M)
    assert chosen.actions.unique().tolist() == [good[loss.index(min(loss))]] == [-0.4]


def test_a_forecast_is_the_largest_of_the_last_ten_delays():
    recent = torch.tensor([[7]])
    for delay in [9, *[1] * 9]:
        recent = remembered(recent, torch.tensor([delay]))
    assert forecast(recent).tolist() == [9]
    assert forecast(remembered(recent, torch.tensor([2]))).tolist() == [2]


def test_a_correction_is_added_to_every_action():
    class Phase:
        def correction(self, observation, action, phase):
            return 1000 * phase[:, None].expand_as(action)

    found, _ = counted(Residual(Phase()), Delay(2), 8)
    assert found[:, 0].tolist() == [i + 1000 * i / H for i in range(6)] + [402 + 1000 * 2 / H, 403 + 1000 * 3 / H]


@pytest.mark.parametrize(
    ("delay", "steps", "message"),
    [
        (6, 4, "a delay of 6 steps is too long for chunks of 8.*at most 4, or train with horizon >= 12"),
        (3, 2, "n_action_steps from 3 to 5, got 2"),
        (
            3,
            6,
            r"n_action_steps from 3 to 5, got 6\. Give a delay of at most 2 \(at most 4 with n_action_steps = 4\)",
        ),
        (
            6,
            6,
            r"Give a delay of at most 2 \(at most 4 with n_action_steps = 4\), or train with horizon >= 12",
        ),
    ],
)
def test_delays_that_do_not_fit_are_refused(delay, steps, message):
    with pytest.raises(RecipeError, match=message):
        Policy(planner_of(n_action_steps=steps), realtime=RealTime(Delay(delay), Naive()))


def test_a_plan_for_a_forecast_state_lasts_until_the_next_one_as_well():
    # the first plan of an episode begins at its observation: the second one arrives at step 7 + 2
    with pytest.raises(RecipeError, match="n_action_steps from 2 to 6, got 7"):
        Policy(planner_of(n_action_steps=7), realtime=RealTime(Delay(2), Forward(Still())))


def test_a_robot_that_waits_may_wait_long():
    assert flown(Policy(planner_of(), realtime=RealTime(Delay(50), Wait()))).shape == (20, 3, M)


def test_families_that_cannot_are_refused_with_those_that_can():
    for way, message in (
        (Conditioned(), "does not condition exactly.*Use another --realtime: naive or bid.*streaming, forcing or bet"),
        (Trained(), "was not trained with clean first steps.*or streaming or forcing"),
        (Guided(), "cannot be guided: only diffusion.*streaming and forcing can"),
        (Continued(), "only policies of the family streaming"),
    ):
        with pytest.raises(RecipeError, match=message):
            Policy(planner_of(Regression(SMALL)), realtime=RealTime(Delay(2), way))


@pytest.mark.parametrize(
    ("text", "way", "message"),
    [
        ("0-99999999999", Naive(), r"99999999999 steps is too long for chunks of 8: .*Give a delay of at most 4\."),
        ("99999999999", Guided(), r"99999999999 steps is too long for chunks of 8: .*Give a delay of at most 4\."),
        ("0-99999999999", Wait(), r"a delay of at most 65536 steps, for which a robot waits, got 99999999999\."),
        ("65537", Wait(), r"a delay of at most 65536 steps"),
    ],
)
def test_delays_of_any_size_are_refused_with_those_that_would_do(text, way, message):
    with pytest.raises(RecipeError, match=message):
        Policy(planner_of(Flow(SMALL)), realtime=RealTime(Delay.parse(text), way))


@pytest.mark.parametrize("learned", [(0, 1, 3), (1, 3)])
def test_only_trained_delays_are_simulated(learned):
    planner = planner_of(Flow(SMALL, clean_prefix=True))
    one = {"low": (-1.0,) * N, "high": (1.0,) * N}
    interface = PolicyInterface(
        observation=Coordinates(**one),
        state=Coordinates(**one),
        action=Coordinates(low=(-1.0,) * M, high=(1.0,) * M),
        n_robot=N,
        prefix_delays=learned,
    )
    planner = replace(planner, interface=interface)
    for way in (Trained(), Guided(), Conditioned()):
        for delay in (Delay(0), Delay(1), Delay(0, 1), Delay(3)):
            Policy(planner, realtime=RealTime(delay, way))
        with pytest.raises(RecipeError, match=r"1 or 3 steps of a running plan .*, not 2\. Give a delay among"):
            Policy(planner, realtime=RealTime(Delay(0, 3), way))
    Policy(planner, realtime=RealTime(Delay(2), Naive()))


@pytest.mark.parametrize("text", ["", "-1", "4-2", "1.5", "a", "0-", "1-2-3", "9" * 31, "\u0664", "1" * 10**5, "0 - 4"])
def test_delays_are_read_or_refused(text):
    with pytest.raises(RecipeError, match="expected a delay"):
        Delay.parse(text)


def test_ways_are_named():
    planner = planner_of()
    means = Means(planner=planner, execution=planner.spec.execution)
    assert way_named("guided-no-jacobian", means) == Guided(jacobian=False)
    with pytest.raises(UnknownNameError, match="naive"):
        way_named("naiv", means)
    with pytest.raises(RecipeError, match="needs a model of the dynamics"):
        way_named("forward", means)
    with pytest.raises(RecipeError, match="needs a learned correction"):
        way_named("residual", means)


def test_a_course_forgets_the_plans_that_nobody_needs():
    found = Course.start(2, 3)
    chunk = PrimitiveControllers.open_loop(torch.zeros(2, H, M), torch.zeros(2, H, N))
    every = torch.ones(2, dtype=torch.bool)
    for step in range(0, 200, S):
        begins, delay = torch.full((2,), step), torch.full((2,), min(step, 3))
        found = found.asks(every, chunk, begins=begins, arrives=begins + delay, delay=delay)
        for _ in range(S):
            found = found.advanced()
    assert len(found.plans) <= 3
    assert found.step == 200
