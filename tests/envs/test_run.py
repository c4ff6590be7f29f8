"""Episodes flown in an environment: equal to a loop by hand, ragged, valid, and not spoiled by one that fails."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from holdfast.data import validate
from holdfast.envs import Environment, Step, rollout
from holdfast.errors import RecipeError, ShapeError
from holdfast.policy import PolicySpec
from holdfast.types import Observation


def run(environment, policy, *, seeds, **options):
    return rollout(policy, environment, starts=seeds, **options)


@dataclass
class Counting(Environment):
    """Episode of seed s counts x from s up by its action, is over once x >= 10, and solved where x == 10 exactly.

    One that is over goes on counting, which nobody must see.
    """

    bounded: bool = True
    nan_seed: int | None = None
    says: bool = True
    name: str = "counting"
    dt: float = 0.5
    steps: int = 8
    n_actions: int = 1
    stepped: list = field(default_factory=list)

    def reset(self, seeds):
        self.x, self.t = torch.tensor(list(seeds), dtype=torch.float64)[:, None], 0
        self.nan = torch.tensor([seed == self.nan_seed for seed in seeds])
        self.over, self.success = (torch.zeros(len(self.x), dtype=torch.bool) for _ in range(2))
        return self.seen()

    def seen(self):
        shown = torch.where((self.nan & (self.t >= 2))[:, None], torch.nan, self.x)
        return Step.first(Observation(state=shown, environment_state=-shown), 10 * shown)

    def step(self, actions):
        assert bool(actions.isfinite().all())
        self.stepped.append(actions.clone())
        self.x, self.t = self.x + actions, self.t + 1
        reward = self.x[:, 0]
        self.success = self.success | (~self.over & (self.x[:, 0] == 10))
        self.over = self.over | (self.x[:, 0] >= 10) | torch.tensor(self.t >= self.steps)
        return replace(
            self.seen(),
            reward=reward,
            terminated=self.over,
            success=self.success if self.says else None,
            extra={"twice": 2 * reward},
        )


class Fenced(Counting):
    action_bounds = (torch.tensor([-3.0]), torch.tensor([3.0]))


@dataclass
class Gives:
    """The same action always, NaN for one episode from one step on."""

    action: float = 1.0
    nan_episode: int | None = None
    nan_from: int = 2

    def reset(self, seed=None):
        self.seed, self.t, self.asked = seed, 0, []

    def act(self, observation, state):
        self.asked.append(observation)
        assert torch.equal(state, 10 * observation.state)
        action = torch.full((len(state), 1), self.action)
        if self.nan_episode is not None and self.t >= self.nan_from:
            action[self.nan_episode] = torch.nan
        self.t += 1
        return action


def test_episodes_end_each_where_it_was_over():
    """From 7 by ones: 8, 9, 10 solved in three steps. From 5: 6 … 10 in five. From 0: out of time at 8."""
    done, policy = [], Gives()
    assert isinstance(Counting(), Environment)
    found = run(Counting(), policy, seeds=[7, 5, 0], seed=3, on_step=done.append)
    assert policy.seed == 3
    assert done == list(range(1, 9))
    episodes = found.episodes
    validate(episodes, source="the run")
    assert episodes.lengths.tolist() == [3, 5, 8]
    assert episodes.observations.state[:, 0].tolist() == [7, 8, 9, *range(5, 10), *range(8)]
    assert torch.equal(episodes.observations.environment_state, -episodes.observations.state)
    assert episodes.states[:, 0].tolist() == [70, 80, 90, *range(50, 100, 10), *range(0, 80, 10)]
    assert episodes.final_states[:, 0].tolist() == [100, 100, 80]
    assert episodes.rewards.tolist() == [8, 9, 10, *range(6, 11), *range(1, 9)]
    assert (episodes.dt, episodes.system) == (0.5, "counting")
    assert found.returns.tolist() == [27, 40, 36]
    assert found.best_reward.tolist() == [10, 10, 8]
    assert found.success.tolist() == [True, True, False]
    assert (found.terminated | found.truncated).tolist() == [True] * 3
    # as it stood at each episode's end, though the environment counted on
    assert found.extra["twice"].tolist() == [20, 20, 16]
    assert not bool(found.escaped.any() or found.clipped.any())


def test_it_stops_when_all_are_over_or_time_is():
    done = []
    run(Counting(), Gives(), seeds=[9, 8], on_step=done.append)
    assert done == [1, 2]
    cut = run(Counting(), Gives(), seeds=[0, 9], steps=3)
    assert cut.episodes.lengths.tolist() == [3, 1]
    assert (cut.terminated | cut.truncated).tolist() == [False, True]


def test_bounds_hold_and_are_counted():
    """By 4 from 0 within ±3: 3, 6, 9, 12, four steps too large; from 8 one step."""
    fenced = Fenced()
    assert Counting().action_bounds is None
    found = run(fenced, Gives(action=4.0), seeds=[0, 8])
    assert found.episodes.actions[:, 0].tolist() == [3.0] * 5
    assert found.clipped.tolist() == [4, 1]
    assert found.success.tolist() == [False, False]
    assert run(fenced, Gives(action=3.0), seeds=[0]).clipped.tolist() == [0]
    # infinity is beyond every bound, and no number where there is none
    assert run(fenced, Gives(action=torch.inf), seeds=[0]).clipped.tolist() == [4]
    assert run(Counting(), Gives(action=torch.inf), seeds=[0]).escaped.tolist() == [1]


@pytest.mark.parametrize("nan_from", [0, 2])
def test_a_policy_without_a_number_ends_its_episode_only(nan_from):
    found = run(Counting(), Gives(nan_episode=1, nan_from=nan_from), seeds=[5, 5, 0])
    validate(found.episodes, source="the run")
    assert found.episodes.lengths.tolist() == [5, nan_from + 1, 8]
    assert found.success.tolist() == [True, False, False]
    assert found.escaped.tolist() == [0, 1, 0]
    # it stays where it was, and earns what it had earned
    assert float(found.episodes.final_states[1]) == 10 * (5 + nan_from)
    assert float(found.returns[1]) == sum(range(6, 6 + nan_from))
    alone = run(Counting(), Gives(), seeds=[5, 0])
    assert torch.equal(found.episodes.states[:5], alone.episodes.states[:5])
    assert torch.equal(found.episodes.actions[-8:], alone.episodes.actions[-8:])


def test_a_simulator_without_a_number_ends_its_episode_only():
    policy = Gives()
    found = run(Counting(nan_seed=4), policy, seeds=[4, 5])
    validate(found.episodes, source="the run")
    assert found.escaped.tolist() == [1, 0]
    assert found.episodes.lengths.tolist() == [2, 5]
    assert float(found.episodes.final_states[0]) == 50
    assert found.success.tolist() == [False, True]
    # nor does the policy ever see one
    assert all(bool(seen.vector.isfinite().all()) for seen in policy.asked)


def test_where_nothing_is_said_of_success_nothing_is_claimed():
    assert run(Counting(says=False), Gives(), seeds=[7]).success is None


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"n_observed": 3}, r"has observations \(state 1, environment_state 1\) of 2 numbers, .* trained on 3"),
        ({"n_states": 2}, r"counting has states for feedback of 1 numbers, .* trained on 2"),
        ({"n_actions": 2}, r"counting has actions of 1 numbers, .* trained on 2"),
    ],
)
def test_a_policy_made_for_something_else_is_refused_before_the_first_step(numbers, message):
    policy, environment = Gives(), Counting()
    policy.spec = PolicySpec(**({"n_states": 1, "n_actions": 1, "n_observed": 2} | numbers))
    with pytest.raises(ShapeError, match=message):
        run(environment, policy, seeds=[1])
    assert environment.stepped == []
    policy.spec = PolicySpec(n_states=1, n_actions=1, n_observed=2)
    assert len(run(environment, policy, seeds=[1]).episodes) == 1


def test_actions_of_another_shape_are_refused():
    class Wide(Gives):
        def act(self, observation, state):
            return torch.zeros(len(state), 2)

    with pytest.raises(ShapeError, match=r"takes actions of shape \(2, 1\).* returned \(2, 2\)"):
        run(Counting(), Wide(), seeds=[1, 2])
    with pytest.raises(RecipeError, match="got 0 starts"):
        run(Counting(), Gives(), seeds=[])
    with pytest.raises(RecipeError, match="0 steps"):
        run(Counting(), Gives(), seeds=[1], steps=0)
