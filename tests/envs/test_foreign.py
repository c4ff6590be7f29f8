"""Policies and environments of other libraries, by small classes with the libraries' own signatures."""

import random
from collections import deque

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from holdfast.envs import PerEpisode, PlainPolicy, make_environment, rollout
from holdfast.errors import RecipeError
from holdfast.evaluation import evaluate

PENDULUM = "gym:Pendulum-v1"
SEEDS = [3, 4, 5]


def law(observation):
    """Torque from cosine, sine and speed, of one episode or of all."""
    return -4 * observation[..., 1:2] - observation[..., 2:3]


def by_hand(make, seeds=SEEDS, steps=200):
    """Returns of a loop over gymnasium's own environment, with a fresh policy for each episode."""
    found = []
    for seed in seeds:
        pendulum, act, total = gymnasium.make("Pendulum-v1"), make(), 0.0
        seen, _ = pendulum.reset(seed=seed)
        for _ in range(steps):
            seen, reward, *_ = pendulum.step(np.clip(act(seen.astype(np.float64)), -2, 2).astype(np.float32))
            total += reward
        found.append(total)
    return found


def returns(policy, environment=PENDULUM, seeds=SEEDS):
    made = make_environment(environment, len(seeds)) if isinstance(environment, str) else environment
    return rollout(policy, made, starts=seeds).returns.tolist()


class Ppo:
    """Stable-Baselines3's `BaseAlgorithm.predict`; a stochastic policy has noise unless `deterministic`."""

    observation_space = gymnasium.spaces.Box(-8, 8, (3,), np.float32)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert observation.dtype == np.float32
        noise = 0 if deterministic else np.random.normal(size=(len(observation), 1))
        return law(observation) + noise, state


class RecurrentPpo:
    """sb3-contrib's `RecurrentPPO.predict`: the hidden state of each episode is 0 where `episode_start` says so."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        hidden = np.zeros((len(observation), 1)) if state is None else state[0]
        hidden = np.where(episode_start[:, None], 0.0, hidden)
        hidden = 0.5 * hidden + observation[:, 2:3]
        return law(observation) - hidden, (hidden,)


class Recurrence:
    """The same for one episode."""

    def __init__(self):
        self.hidden = 0.0

    def __call__(self, observation):
        self.hidden = 0.5 * self.hidden + observation[2:3]
        return law(observation) - self.hidden


class Regressor:
    """scikit-learn: `predict` of a matrix; one target is a vector `[b]`."""

    def __init__(self, *, flat):
        self.flat = flat

    def predict(self, X):
        if X.ndim != 2:
            raise ValueError("Expected 2D array, got 1D array instead")
        return law(X)[:, 0] if self.flat else law(X)


class Queued:
    """Plans three actions, and executes them one after the other."""

    def __init__(self):
        self.queue = deque()

    def reset(self):
        self.queue.clear()

    def __call__(self, observation):
        if not self.queue:
            self.queue.extend(law(observation) * factor for factor in (1.0, 0.9, 0.8))
        return self.queue.popleft()


class LeRobotLike(nn.Module):
    """LeRobot's `select_action`: a batch of tensors by key, a queue of actions of all episodes; dropout in training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1, bias=False)
        self.linear.weight.data = torch.tensor([[0.0, -4.0, -1.0]])
        self.dropout = nn.Dropout(0.9)
        self.reset()

    def reset(self):
        self.queue = deque(maxlen=3)

    def select_action(self, batch):
        if not self.queue:
            planned = self.dropout(self.linear(batch["observation.state"]))
            self.queue.extend(planned * factor for factor in (1.0, 0.9, 0.8))
        return self.queue.popleft()


class RobomimicLike:
    """robomimic's `RolloutPolicy`: the dictionary of one episode, a hidden state that `start_episode` clears."""

    def start_episode(self):
        self.inner = Recurrence()

    def __call__(self, ob, goal=None):
        return self.inner(ob["flat"])


class OneAtATime:
    """`act` of one observation, with an option, which is not an `Actor`'s `act(observation, state)`."""

    def reset(self):
        pass

    def act(self, observation, deterministic=False):
        return law(observation)


GOOD = {
    "stable-baselines": (Ppo, lambda: law),
    "recurrent": (RecurrentPpo, Recurrence),
    "regressor": (lambda: Regressor(flat=False), lambda: law),
    "regressor of one target": (lambda: Regressor(flat=True), lambda: law),
    "lerobot": (LeRobotLike, Queued),
    "robomimic": (lambda: PerEpisode(RobomimicLike), Recurrence),
    "queued": (lambda: PerEpisode(Queued), Queued),
    "function": (lambda: law, lambda: law),
    "function of one number": (lambda: lambda observation: law(observation)[0], lambda: law),
    "act with an option": (OneAtATime, lambda: law),
    "module": (lambda: nn.Sequential(LeRobotLike().linear, nn.Flatten(0), nn.Dropout(0.9)), lambda: law),
    "plain function per episode": (lambda: PerEpisode(lambda: PlainPolicy(Recurrence())), Recurrence),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_foreign_policy_earns_what_it_earns_by_hand(name):
    policy, alone = GOOD[name]
    made = policy()
    expected = by_hand(alone)
    assert returns(made) == pytest.approx(expected, rel=1e-4)
    # a second rollout begins anew
    assert returns(made) == pytest.approx(expected, rel=1e-4)


def test_a_module_in_training_mode_is_left_in_it():
    policy = LeRobotLike()
    assert policy.training
    returns(policy)
    assert policy.training


def closure_with_a_queue():
    queue = deque()

    def act(observation):
        if not queue:
            queue.extend([law(observation)] * 3)
        return queue.popleft()

    return act


class Counts:
    """An open-loop plan: its actions depend on the number of calls only."""

    def reset(self):
        self.step = 0

    def act(self, observation):
        self.step += 1
        return [np.sin(self.step)]


class Averages:
    """Looks at the mean over the batch."""

    def predict(self, observation):
        return law(observation - observation.mean(axis=0))


SHARED = {
    "queue": Queued,
    "queue in a plain policy": lambda: PlainPolicy((inner := Queued()), on_reset=lambda seed: inner.reset()),
    "hidden state": RobomimicLike,
    "open-loop plan": Counts,
    "mean over episodes": Averages,
    "one instance for all episodes": lambda: PerEpisode((lambda one: lambda: one)(Queued())),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_memory_that_episodes_share_is_refused_with_the_way_out(name):
    with pytest.raises(RecipeError, match=r"the episodes share one memory[\s\S]*holdfast\.PerEpisode\(make\)"):
        returns(SHARED[name]())


@pytest.mark.parametrize("make", [closure_with_a_queue, Recurrence])
def test_a_memory_that_survives_is_refused(make):
    with pytest.raises(RecipeError, match="PerEpisode"):
        returns(make())
    assert returns(PerEpisode(make)) == pytest.approx(by_hand(make), rel=1e-4)


def test_one_episode_needs_no_separate_memories():
    assert returns(Queued(), seeds=[3]) == pytest.approx(by_hand(Queued, [3]), rel=1e-4)
    with pytest.raises(RecipeError, match="from one episode to the next"):
        returns(Recurrence(), seeds=[3])


def own_generator():
    rng = np.random.default_rng(0)
    return lambda observation: law(observation) + rng.normal(size=1)


RANDOM = {
    "numpy's global generator": lambda: lambda observation: np.random.uniform(-2, 2, 1),
    "python's": lambda: lambda observation: [random.gauss(0, 1)],
    "torch's": lambda: lambda observation: torch.randn(1),
    "its own": own_generator,
    "dropout": lambda: PerEpisode(lambda: lambda observation: law(observation) * np.random.randint(2)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_policy_is_no_shared_memory(name):
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    assert np.isfinite(returns(RANDOM[name](), seeds=[0, 1])).all()
    assert name != "its own" or (before[0] == np.random.get_state()[1]).all()
    assert name != "its own" or torch.equal(before[1], torch.random.get_rng_state())


def test_episodes_that_begin_alike_are_probed_too():
    class Same(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-9, 9, (3,), np.float64)
        action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.array([1.0, 0.5, -0.5]), {}

        def step(self, action):
            return np.array([1.0, 0.5, -0.5]) + action, 0.0, False, False, {}

    same = gymnasium.wrappers.TimeLimit(Same(), max_episode_steps=5)
    with pytest.raises(RecipeError, match="share one memory"):
        rollout(Queued(), same, starts=[0, 1])


def test_wrong_shapes_and_errors_name_what_was_tried():
    class Two:
        def predict(self, X):
            return np.zeros((len(X), 2))

    with pytest.raises(RecipeError, match=r"expected a policy for gym:Pendulum-v1.* got Two.* shape \[3, 2\]"):
        returns(Two())

    def breaks(observation):
        raise KeyError("qpos")

    with pytest.raises(RecipeError, match="KeyError: 'qpos'"):
        returns(breaks)
    for nothing in (3, Queued, "policy"):
        with pytest.raises(RecipeError, match="expected a policy"):
            returns(nothing)


class Reach(gymnasium.Env):
    """Observes a dictionary, as robomimic's and Stable-Baselines3's multi-input policies do."""

    observation_space = gymnasium.spaces.Dict(
        {
            "object": gymnasium.spaces.Box(-9, 9, (2,), np.float64),
            "eef": gymnasium.spaces.Box(-9, 9, (2,), np.float64),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.eef, self.object = self.np_random.uniform(-1, 1, (2, 2))
        return {"object": self.object, "eef": self.eef}, {}

    def step(self, action):
        self.eef = self.eef + 0.2 * action
        near = np.abs(self.eef - self.object).max() < 0.05
        return {"object": self.object, "eef": self.eef}, -1.0, bool(near), False, {"is_success": bool(near)}


class MultiInput:
    observation_space = Reach.observation_space

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 3 * (observation["object"] - observation["eef"]), state


class OfKeys:
    def start_episode(self):
        pass

    def __call__(self, ob, goal=None):
        return 3 * (ob["object"] - ob["eef"])


@pytest.mark.parametrize("policy", [MultiInput, OfKeys])
def test_policies_of_dictionaries_get_the_environments_own_keys(policy):
    limited = gymnasium.wrappers.TimeLimit(Reach(), max_episode_steps=40)
    found = evaluate(policy(), limited, episodes=5)
    assert found.estimates["success"].mean == 1


def test_environment_objects_are_copied_and_left_as_they_were():
    """With their own arguments, which a new instance of the id would not have."""
    heavy = gymnasium.make("Pendulum-v1", g=3.0)
    seen, _ = heavy.reset(seed=11)
    found = evaluate(law, heavy, episodes=3, first_seed=3)
    assert found.environment.name == "gym:Pendulum-v1"
    assert heavy.unwrapped.state == pytest.approx([np.arctan2(seen[1], seen[0]), seen[2]], abs=1e-6)
    assert heavy.get_wrapper_attr("_elapsed_steps") == 0
    made = evaluate(law, lambda: gymnasium.make("Pendulum-v1", g=3.0), episodes=3, first_seed=3)
    assert found.scores.tolist() == pytest.approx(made.scores.tolist())
    assert found.scores.tolist() != pytest.approx(by_hand(lambda: law))


def test_vectorised_environments_and_classes():
    vector = gymnasium.make_vec("Pendulum-v1", 3)
    assert returns(law, vector) == pytest.approx(by_hand(lambda: law), rel=1e-4)
    with pytest.raises(RecipeError, match=r"has 3 episodes, but 2 were requested"):
        rollout(law, vector, starts=[0, 1])
    vector.close()
    with pytest.raises(RecipeError, match=r"Reach has no time limit\. Wrap it in gymnasium\.wrappers\.TimeLimit"):
        evaluate(law, Reach, episodes=2)
    with pytest.raises(RecipeError, match="which made dict"):
        evaluate(law, dict, episodes=2)


def test_an_environment_that_cannot_be_copied_says_what_to_give():
    class Window(Reach):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle a window")

    with pytest.raises(RecipeError, match=r"cannot be copied \(TypeError: .*holdfast\.gym_environment\(lambda: Window"):
        evaluate(law, gymnasium.wrappers.TimeLimit(Window(), max_episode_steps=5), episodes=2)


@pytest.mark.parametrize("flat", [False, True])
def test_scikit_learn_itself(flat):
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    fitted = linear.LinearRegression().fit(X, law(X)[:, 0] if flat else law(X))
    assert returns(fitted) == pytest.approx(by_hand(lambda: law), rel=1e-4)


def test_stable_baselines_itself():
    sb3 = pytest.importorskip("stable_baselines3")
    model = sb3.PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, seed=0)
    expected = by_hand(lambda: lambda seen: model.predict(seen.astype(np.float32), deterministic=True)[0])
    assert returns(model) == pytest.approx(expected, rel=1e-3)
