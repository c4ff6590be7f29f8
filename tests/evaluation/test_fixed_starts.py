"""The same starts for every policy, what is padded, and what altered policies do there."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from holdfast.analysis import Setting, novelty, settings_of, sweep
from holdfast.analysis.perturbed_policies import NoisyObservation, PerturbedAction, with_gains
from holdfast.control import scalar
from holdfast.data import MinMax
from holdfast.envs import Delayed, PlainPolicy, SystemEnvironment, rollout
from holdfast.envs.gym import gym_environment
from holdfast.envs.obstacle import ObstacleEnvironment
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.evaluation import FixedStarts, fixed_starts
from holdfast.policy import Ensemble, Policy
from holdfast.policy.realtime import Delay, Guided, Naive, RealTime
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

STARTS = torch.linspace(-2, 2, 12, dtype=torch.float64)[:, None]


def law(gain: float) -> PlainPolicy:
    return PlainPolicy(lambda x: gain * x, batched=True)


def beside(gain: float = -0.3, steps: int = 30) -> FixedStarts:
    """The scalar system x' = 1.05 x + u beside a linear expert."""
    environment = SystemEnvironment(scalar(a=1.05), steps=steps)
    return FixedStarts(
        environment=environment, starts=STARTS, expert=rollout(law(gain), environment, starts=STARTS).trajectory
    )


def test_a_policy_flies_from_the_expert_s_starts():
    fixed = beside()
    assert (fixed.count, fixed.expert.steps, fixed.name) == (12, 30, "scalar")
    same, none = fixed.evaluate(law(-0.3)), fixed.evaluate(law(0.0))
    assert torch.equal(same.rollout.trajectory.states, fixed.expert.states)
    assert same.scores == pytest.approx(torch.ones(12).tolist())
    assert float(same.comparison.distance.max()) == 0
    assert torch.allclose(none.rollout.trajectory.states[:, -1], STARTS * 1.05**30)
    assert torch.equal(same.rollout.observed, same.rollout.trajectory.states[:, :-1])
    assert not bool(same.rollout.lost.any() | same.rollout.over.any())


def test_fixed_starts_by_name_are_those_of_evaluate():
    fixed = fixed_starts("scalar", 3, seed=4, steps=5)
    task = scalar()
    assert torch.equal(fixed.expert.states[:, 0], task.initial_states(3, rng=stream(4, "evaluate", "scalar")))
    assert fixed.expert.steps == 5
    with pytest.raises(RecipeError, match="at least 1 episode"):
        fixed_starts("scalar", 0)


def test_more_steps_than_the_task_s_own_hold_for_expert_and_policy():
    fixed = fixed_starts("double_integrator", 2, steps=120)
    actions = iter(fixed.expert.actions.unbind(1))
    replayed = fixed.evaluate(PlainPolicy(lambda x: next(actions), batched=True))
    assert replayed.scores.tolist() == [1, 1]
    assert float(replayed.comparison.distance.max()) == 0


def test_episodes_that_end_stand_still_and_are_marked():
    """Straight ahead into the disc: the episode is over there, and repeats its last state."""
    fixed = FixedStarts(environment=ObstacleEnvironment(3), starts=range(3), steps=40)
    flown = fixed.evaluate(PlainPolicy(lambda seen: np.zeros(2))).rollout
    length = (~flown.over).sum(dim=1)
    assert int(length.max()) < 40
    assert not bool(flown.lost.any() | flown.success.any())
    for row, steps in enumerate(length):
        states = flown.trajectory.states[row, steps:]
        assert torch.equal(states, states[:1].expand_as(states))
        assert float(states[0, :2].norm()) < 0.35
    assert flown.extra["collided"].tolist() == [1.0, 1.0, 1.0]


def test_a_gymnasium_environment_and_a_plain_function():
    fixed = FixedStarts(environment=gym_environment("Pendulum-v1", 2), starts=range(2), steps=20)
    flown = fixed.evaluate(PlainPolicy(lambda observation: np.clip(-observation[1:2], -2, 2)))
    bare = gymnasium.make("Pendulum-v1")
    observation, _ = bare.reset(seed=0)
    total = 0.0
    for _ in range(20):
        observation, reward, *_ = bare.step(np.clip(-observation[1:2], -2, 2))
        total += float(reward)
    assert float(flown.scores[0]) == pytest.approx(total, rel=1e-5)


def test_a_plain_function_must_give_an_action_an_episode():
    seen = Observation(state=torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"one action \[m\] for each of 3 observations"):
        PlainPolicy(lambda observation: 0.5).act(seen, seen.state)
    told = []
    policy = PlainPolicy(lambda observation: observation[:, :1], batched=True, on_reset=told.append)
    policy.reset(7)
    assert policy.act(seen, seen.state).shape == (3, 1)
    assert told == [7]


def numbered() -> PlainPolicy:
    """Acts 0, 1, 2, …"""
    count = []

    def act(seen):
        count.append(len(count))
        return np.full((len(seen), 1), float(count[-1]))

    return PlainPolicy(act, batched=True, on_reset=lambda seed: count.clear())


@pytest.mark.parametrize(("steps", "expected"), [(0, [0, 1, 2, 3]), (1, [0, 0, 1, 2]), (3, [0, 0, 0, 0])])
def test_delayed_actions(steps, expected):
    policy, seen = Delayed(numbered(), steps), Observation(state=torch.zeros(1, 1))
    for _ in range(2):
        policy.reset(0)
        assert [float(policy.act(seen, seen.state)) for _ in range(4)] == expected


def test_one_perturbed_action():
    policy, seen = PerturbedAction(numbered(), 2, torch.tensor([10.0])), Observation(state=torch.zeros(1, 1))
    for _ in range(2):
        policy.reset(0)
        assert [float(policy.act(seen, seen.state)) for _ in range(4)] == [0, 1, 12, 3]


def test_sensor_noise_has_its_size_and_repeats():
    """u = −x shows the noise; feedback hears the same noise where the state is what is observed."""
    seen = Observation(state=torch.zeros(20_000, 2, dtype=torch.float64))
    policy = NoisyObservation(PlainPolicy(lambda x: -x, batched=True), torch.tensor([0.1, 3.0]).double())
    policy.reset(3)
    said = policy.act(seen, seen.state)
    assert said.std(dim=0).tolist() == pytest.approx([0.1, 3.0], rel=0.03)
    policy.reset(3)
    assert torch.equal(policy.act(seen, seen.state), said)

    class Echo:
        def reset(self, seed=None): ...

        def act(self, observation, state):
            return observation.state - state

    heard = NoisyObservation(Echo(), torch.tensor([0.1, 3.0]).double())
    heard.reset(0)
    assert float(heard.act(seen, seen.state).abs().max()) == 0
    heard.reset(0)
    assert float(heard.act(seen, seen.state + 1).abs().max()) > 1


def test_gains_are_scaled_and_nothing_else(tiny_planner, drone):
    policy = Policy(tiny_planner)
    state = drone.initial_states(4, rng=stream(0, "tests"))
    none, twice = (with_gains(policy, factor).predict_controllers(state) for factor in (0.0, 2.0))
    plain = policy.predict_controllers(state)
    assert float(none.gains.abs().max()) == 0
    torch.testing.assert_close(twice.gains, 2 * plain.gains)
    assert torch.equal(twice.actions, plain.actions)
    with pytest.raises(RecipeError, match="finite factor"):
        with_gains(policy, float("nan"))


def test_a_sweep_is_paired_and_knows_the_best():
    """u = g x: the score is best at the expert's own gain."""
    fixed = beside(-0.3)
    setting = Setting("gain", (0.0, -0.3, -0.9), -0.3, law)
    found = sweep(fixed, setting)
    assert found.values == (-0.9, -0.3, 0.0)
    assert [float(found.scores[1, row]) for row in range(12)] == pytest.approx([1.0] * 12)
    assert found.differences[1].mean == found.differences[1].low == found.differences[1].high == 0
    assert found.differences[2].high < 0
    expected = fixed.evaluate(law(0.0)).scores.mean() - 1
    assert found.differences[2].mean == pytest.approx(float(expected))
    with pytest.raises(RecipeError, match="at least two values"):
        sweep(fixed, Setting("gain", (-0.3,), -0.3, law))


def test_the_baseline_is_not_evaluated_again():
    fixed, made = beside(), []
    sweep(
        fixed,
        Setting("gain", (-0.3, 0.0), -0.3, lambda g: made.append(g) or law(g)),
        baseline=fixed.evaluate(law(-0.3)),
    )
    assert made == [0.0]


def test_the_settings_of_a_policy(tiny_planner):
    names = {setting.name: setting for setting in settings_of(Policy(tiny_planner))}
    delays = {"delay", "inference_delay", "inference_delay_guided"}
    assert set(names) == {"sigma_deploy", "n_action_steps", "gains", "sensor_noise", *delays}
    horizon = tiny_planner.spec.horizon
    assert max(names["n_action_steps"].values) == horizon
    assert names["n_action_steps"].apply(1.0).spec.execution.n_action_steps == 1
    assert names["sigma_deploy"].apply(0.25).spec.execution.sigma_deploy == 0.25
    assert [setting.name for setting in settings_of(law(0.0))] == ["delay"]
    assert [setting.name for setting in settings_of(law(0.0), half_range=torch.ones(1))] == ["delay", "sensor_noise"]


def test_inference_delays_fit_the_chunk_and_the_family(tiny_planner):
    """d ≤ s ≤ H − d; ways that the family cannot plan in are no settings."""
    horizon = tiny_planner.spec.horizon
    halves = replace(tiny_planner.spec.execution, n_action_steps=horizon // 2)
    settings = {one.name: one for one in settings_of(Policy(tiny_planner, execution=halves))}
    values = settings["inference_delay"].values
    assert values[0] == 0
    assert max(values) == horizon // 2
    delayed = settings["inference_delay"].apply(2.0).realtime, settings["inference_delay_guided"].apply(2.0).realtime
    assert delayed == (RealTime(Delay(2), Naive()), RealTime(Delay(2), Guided()))
    whole = replace(halves, n_action_steps=horizon)
    averaged = replace(halves, ensemble=Ensemble())
    for execution in (whole, averaged):
        names = {one.name for one in settings_of(Policy(tiny_planner, execution=execution))}
        assert "delay" in names
        assert not any(name.startswith("inference_delay") for name in names)


def episodes(*parts: list[float]) -> Episodes:
    rows = torch.tensor([value for part in parts for value in part], dtype=torch.float64)[:, None]
    return Episodes(actions=rows, states=rows, lengths=torch.tensor([len(part) for part in parts]))


def test_novelty_by_hand():
    """Half range 1 about 0: normalised numbers are the numbers."""
    demonstrations = episodes([-1.0, 0.0], [0.2, 1.0])
    scale = MinMax(low=torch.tensor([-1.0]).double(), high=torch.tensor([1.0]).double())
    found = novelty(torch.tensor([[[0.1], [3.0]]]).double(), demonstrations, scale=scale)
    assert found.distances[0].tolist() == pytest.approx([0.1, 2.0])
    # to the other episode: 1.2, 0.2, 0.2 and 1.0
    assert found.demonstrated_median == pytest.approx(0.6)
    assert found.outside.tolist() == [0.0, 1.0]


def test_novelty_refuses_what_it_cannot_say():
    with pytest.raises(DataError, match="at least two"):
        novelty(torch.zeros(1, 1, 1).double(), episodes([0.0, 1.0]))
    with pytest.raises(DataError, match="observations of dimension 1, as in the data, got 2"):
        novelty(torch.zeros(1, 1, 2).double(), episodes([0.0, 1.0], [1.0]))
