"""A trained policy in its environment."""

import math
from dataclasses import dataclass, replace

import gymnasium
import numpy as np
import pytest
import torch

from holdfast.control import MpcExpert, scalar
from holdfast.data import validate
from holdfast.envs import ENVIRONMENTS, Environment, Step, SystemEnvironment, make_environment, rollout
from holdfast.errors import RecipeError, ShapeError, UnknownNameError
from holdfast.evaluation import evaluate, mode_entropy, rate
from holdfast.learn import default_recipe, planner_of, prepare, train_to_end
from holdfast.policy import Policy
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Clones the expert of the scalar system, which is stable whatever the policy does not do."""
    task = scalar()
    starts = task.initial_states(6, rng=stream(0, "tests", "scalar"))
    flights = MpcExpert(task, horizon=8).rollout(starts, 20)
    demos = Episodes.of(flights, dt=task.dt, system=task.name)
    recipe = replace(default_recipe(demos), training=Training(steps=150, batch_size=32, warmup_steps=10))
    data = prepare(recipe, demos)
    return Policy(planner_of(recipe, data, train_to_end(recipe, data)))


def test_fresh_starts_beside_the_expert(policy):
    done = []
    found = evaluate(policy, "scalar", episodes=4, on_step=done.append)
    assert set(found.estimates) == {"score", "distance", "diverged"}
    flown, expert = found.rollout.trajectory, found.expert
    assert flown.states.shape == expert.states.shape == (4, 101, 1)
    assert torch.equal(flown.states[:, 0], expert.states[:, 0])
    assert done == list(range(1, 101))
    score = found.estimates["score"]
    assert score.low <= score.mean <= score.high
    assert score.mean == pytest.approx(1, abs=0.2)
    assert found.estimates["diverged"].mean == 0
    validate(found.episodes, source="the flights")
    assert found.episodes.system == "scalar"
    assert torch.equal(found.episodes.trajectory(1).states, flown.states[1])


@pytest.fixture
def quick_expert(monkeypatch):
    """An expert that does nothing, where it is not the subject: the real one takes seconds."""

    class Nothing(MpcExpert):
        def rollout(self, starts, steps, progress):
            return rollout(
                Zero(), SystemEnvironment(self.task, steps=steps), starts=starts, on_step=progress
            ).trajectory

    monkeypatch.setattr("holdfast.envs.system.MpcExpert", Nothing)


def test_equal_seeds_repeat_and_others_fly_from_elsewhere(policy, quick_expert):
    first, again, other = (evaluate(policy, "scalar", episodes=3, seed=seed) for seed in (0, 0, 1))
    assert first.estimates == again.estimates
    assert torch.equal(first.rollout.trajectory.states, again.rollout.trajectory.states)
    assert not torch.equal(first.rollout.trajectory.states[:, 0], other.rollout.trajectory.states[:, 0])


def test_lost_flights_are_cut(quick_expert):
    """A policy that says NaN from the fifth step on: four steps are followed."""

    class Breaks:
        def reset(self, seed=None):
            self.t = 0

        def act(self, observation, state):
            self.t += 1
            return torch.full_like(state, torch.nan if self.t > 4 else 0.0)

    found = evaluate(Breaks(), "scalar", episodes=2)
    assert found.episodes.lengths.tolist() == [4, 4]
    assert torch.equal(found.episodes.final_states, found.rollout.trajectory.states[:, 4])
    assert found.estimates["diverged"].mean == 1


def test_an_unknown_environment_lists_the_known(policy):
    known = (
        "avoid, avoid-m1, avoid-m2, avoid-m3, courier, double_integrator, fork, gym:<id>, maze, mujoco:<id>, obstacle, "
        "particle, particle:<dims>, pusht, pusht-pixels, pusht-state, pusht:<x>,<y>,<angle>, quadrotor2d, "
        "robosuite:<task>, scalar"
    )
    for name in ("moon", "pusht-", "pushtt", "gym", "avoid:x"):
        with pytest.raises(UnknownNameError, match=rf"'{name}'\. Known: {known}\."):
            evaluate(policy, name, episodes=1)
    with pytest.raises(UnknownNameError, match="moon"):
        make_environment("moon", 1)
    with pytest.raises(UnknownNameError, match="Hopper-v5"):
        evaluate(policy, "gym:Hoper-v5", episodes=1)
    assert {"quadrotor2d", "pusht", "avoid"} < set(ENVIRONMENTS)
    names = ["quadrotor2d", "pusht", "avoid", "gym:Pendulum-v1"]
    assert [make_environment(name, 1).steps for name in names] == [100, 300, 250, 200]


def test_contradictions_are_refused(policy):
    with pytest.raises(RecipeError, match="are drawn by seed"):
        evaluate(policy, "scalar", episodes=1, first_seed=3)
    with pytest.raises(RecipeError, match="at least 1 episode"):
        evaluate(policy, "gym:Pendulum-v1", episodes=0)
    assert make_environment("scalar", 1).reset([3]).state.shape == (1, 1)
    with pytest.raises(ShapeError, match=r"gym:Pendulum-v1 has observations .* of 3 numbers, .* trained on 1"):
        evaluate(policy, "gym:Pendulum-v1", episodes=2)


class Pulls:
    """Swings the pendulum by its speed."""

    def reset(self, seed=None):
        self.seed, self.first = seed, None

    def act(self, observation, state):
        self.first = observation.state if self.first is None else self.first
        return 5 * observation.state[:, 2:].sign()


def test_a_gymnasium_environment_scores_its_return():
    """Beside a loop by hand over the same seeds; torques of 5 are brought to 2, and counted."""
    done = []
    found = evaluate(Pulls(), "gym:Pendulum-v1", episodes=2, first_seed=40, on_step=done.append)
    assert done == list(range(1, 201))
    assert set(found.estimates) == {"score", "return", "clipped"}
    pendulum, returns = gymnasium.make("Pendulum-v1"), []
    for seed in (40, 41):
        seen, _ = pendulum.reset(seed=seed)
        rewards = []
        for _ in range(200):
            seen, reward, *_ = pendulum.step(2 * np.sign(seen[2:]))
            rewards.append(reward)
        returns.append(sum(rewards))
    assert found.estimates["score"].mean == pytest.approx(np.mean(returns), rel=1e-6)
    assert found.scores.tolist() == pytest.approx(returns, rel=1e-6)
    assert found.estimates["clipped"].mean == 200
    assert (found.first_seed, found.environment.name, found.episodes.system) == (40, *["gym:Pendulum-v1"] * 2)


def test_test_seeds_are_those_from_100_000():
    policy = Pulls()
    found = evaluate(policy, "gym:Pendulum-v1", episodes=2)
    assert found.first_seed == 100_000
    seen, _ = gymnasium.make("Pendulum-v1").reset(seed=100_001)
    assert policy.first[1].tolist() == pytest.approx(seen.tolist())


@dataclass
class Forks(Environment):
    """Episode of seed s is solved at once in way s; from seed 6 on it is not."""

    n_modes: int = 4
    name: str = "forks"
    dt: float = 1.0
    steps: int = 2
    n_actions: int = 1
    closed: bool = False

    def reset(self, seeds):
        self.seeds = torch.tensor(list(seeds))
        return Step.first(Observation(state=self.seeds[:, None].double()), self.seeds[:, None].double())

    def step(self, actions):
        solved = self.seeds < 6
        # the failed tell a mode too, which must not count
        extra = {"mode": (self.seeds % 4).double(), "bumps": self.seeds.double()}
        return replace(self.reset(self.seeds), reward=solved.double(), terminated=solved, success=solved, extra=extra)

    def close(self):
        self.closed = True


class Zero:
    def reset(self, seed=None):
        pass

    def act(self, observation, state):
        return torch.zeros(len(state), 1)


def test_an_environment_of_ones_own_with_several_ways():
    """Of seeds 0 … 7 six are solved, in ways 0, 1, 2, 3, 0, 1: shares 2, 2, 1, 1 of 6."""
    forks = Forks()
    found = evaluate(Zero(), forks, episodes=8, first_seed=0).estimates
    assert found["score"] == found["success"] == rate(torch.arange(8) < 6)
    expected = -(2 * (1 / 3) * math.log(1 / 3, 4) + 2 * (1 / 6) * math.log(1 / 6, 4))
    assert found["entropy"].mean == pytest.approx(expected)
    assert found["bumps"].mean == pytest.approx(3.5)
    assert set(found) == {"score", "success", "return", "entropy", "bumps"}
    assert not forks.closed


def test_avoidance_by_name():
    """Who stands still finds no way."""

    class Stands(Zero):
        def act(self, observation, state):
            return torch.zeros(len(state), 2)

    found = evaluate(Stands(), "avoid", episodes=3)
    assert found.estimates["success"].mean == 0
    assert {"score", "success", "entropy"} <= set(found.estimates)
    assert found.estimates["entropy"].mean == 0


@pytest.mark.parametrize(
    ("modes", "n", "expected"),
    [([0, 1, 2, 3], 4, 1.0), ([2, 2, 2], 4, 0.0), ([float("nan")] * 3, 4, 0.0), ([0, 1, float("nan")], 4, 0.5)],
)
def test_entropy(modes, n, expected):
    found = mode_entropy(torch.tensor(modes, dtype=torch.float64), n)
    assert found.mean == pytest.approx(expected)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_the_entropys_interval_covers_the_truth():
    """Sixty episodes of a law over four modes, eighty times: at least four of five intervals hold its entropy."""
    law = torch.tensor([0.55, 0.25, 0.15, 0.05], dtype=torch.float64)
    truth = -float((law * law.log()).sum()) / math.log(4)
    drawn = torch.multinomial(law.expand(80, 4), 60, replacement=True, generator=stream(0, "tests", "entropy"))
    found = [mode_entropy(modes.double(), 4, seed=index) for index, modes in enumerate(drawn)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.8
    assert np.mean([one.high - one.low for one in found]) < 0.3


def test_modes_that_are_none_are_refused():
    for modes in ([4.0], [-1.0], [0.5]):
        with pytest.raises(RecipeError, match="numbered from 0 to 3"):
            mode_entropy(torch.tensor(modes), 4)


def test_push_t_has_the_published_score():
    """Beside the simulator stepped by hand: the largest of its rewards."""
    pytest.importorskip("gym_pusht")
    from gym_pusht.envs.pusht import PushTEnv

    class Rams(Zero):
        def act(self, observation, state):
            return torch.tensor([[256.0, 256.0]]).expand(len(state), 2)

    found = evaluate(Rams(), "pusht-state", episodes=2, first_seed=100_000)
    best = []
    for seed in (100_000, 100_001):
        table = PushTEnv(obs_type="state")
        table.reset(seed=seed)
        best.append(max(table.step(np.array([256.0, 256.0]))[1] for _ in range(300)))
    assert found.scores.tolist() == pytest.approx(best, abs=1e-9)
    assert found.estimates["score"].mean == pytest.approx(np.mean(best))
    assert {"score", "success", "return", "coverage"} == set(found.estimates)
    assert found.simulator_state.shape == (2, 7)
    assert found.episodes.lengths.tolist() == [300, 300]


class TurnsNan(Zero):
    """Stands still, and returns NaN from a step on, in some of the episodes."""

    def __init__(self, step, episodes=slice(None)):
        self.step, self.episodes = step, episodes

    def reset(self, seed=None):
        self.now = 0

    def act(self, observation, state):
        action = torch.zeros(len(state), 1)
        if self.now >= self.step:
            action[self.episodes] = torch.nan
        self.now += 1
        return action


@pytest.mark.parametrize("step", [0, 7, 199])
def test_a_policy_that_turns_nan_ranks_last_where_rewards_are_negative(step):
    """Also if it is lost in the last of the 200 steps."""
    still = evaluate(Zero(), "gym:Pendulum-v1", episodes=3)
    lost = evaluate(TurnsNan(step), "gym:Pendulum-v1", episodes=3)
    assert lost.estimates["score"].mean < still.estimates["score"].mean < 0
    assert lost.estimates["return"].mean == -math.inf
    assert lost.scores.tolist() == [-math.inf] * 3
    assert lost.estimates["lost"] == rate(torch.ones(3, dtype=torch.bool))
    assert "lost" not in still.estimates


def test_one_lost_episode_of_several_is_enough_to_rank_last():
    found = evaluate(TurnsNan(50, slice(1)), "gym:Pendulum-v1", episodes=3)
    assert found.scores.isfinite().tolist() == [False, True, True]
    assert found.estimates["score"].mean == -math.inf
    assert found.estimates["lost"].mean == pytest.approx(1 / 3)


def test_an_episode_lost_after_it_was_solved_is_not_solved():
    class Solves(Forks):
        def step(self, actions):
            return replace(super().step(actions), terminated=self.seeds < 0)

    found = evaluate(TurnsNan(1, slice(1)), Solves(), episodes=2, first_seed=0)
    assert found.rollout.success.tolist() == [False, True]
    assert found.scores.tolist() == [0, 1]


def test_a_flight_lost_beside_an_expert_scores_nothing(quick_expert):
    class Breaks(Zero):
        def reset(self, seed=None):
            self.now = 0

        def act(self, observation, state):
            self.now += 1
            return torch.full((len(state), 1), torch.nan if self.now == 100 else 0.0)

    found = evaluate(Breaks(), "scalar", episodes=2)
    assert found.scores.tolist() == [0, 0]
    assert found.estimates["diverged"].mean == 1


def test_push_t_scores_nothing_for_a_lost_episode():
    pytest.importorskip("gym_pusht")

    class Rams(TurnsNan):
        def act(self, observation, state):
            return super().act(observation, state) + torch.tensor([[256.0, 256.0]])

    found = evaluate(Rams(290, slice(1)), "pusht-state", episodes=2, first_seed=100_000)
    assert found.scores.tolist()[0] == 0
    assert found.estimates["score"].mean == pytest.approx(float(found.scores[1]) / 2)
