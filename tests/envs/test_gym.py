"""gymnasium environments: the same episodes whoever steps them, and clear words for those that cannot be used."""

from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from holdfast.data import validate
from holdfast.envs import Environment, rollout
from holdfast.envs.gym import gym_environment, gym_vector
from holdfast.errors import RecipeError, ShapeError, UnknownNameError

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Walk(gymnasium.Env):
    """Adds actions up from a seeded start; over after `2 + seed % 5` steps, solved where the seed is even.

    An instance counts the episodes it has begun, and shows the number: the first is 1.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = BOX

    def __init__(self, render_mode=None, tells="info"):
        self.render_mode, self.tells, self.begun, self.seed = render_mode, tells, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = self.seed if seed is None else seed
        self.begun, self.t, self.x = self.begun + 1, 0, self.np_random.uniform(-1, 1, 2)
        return self.shown(), {}

    def shown(self):
        return np.concatenate([self.x, [self.t, self.begun]])

    def step(self, action):
        self.t, self.x = self.t + 1, self.x + action
        ended = self.t >= 2 + self.seed % 5
        solved = ended and self.seed % 2 == 0
        info = {"info": {"is_success": solved}, "success": {"success": float(solved)}}.get(self.tells, {})
        if self.tells == "mapping":
            info = {"is_success": {"task": solved, "touched": True}}
        return self.shown(), float(self.t), ended, False, info

    def render(self):
        return np.full((4, 4, 3), self.t, dtype=np.uint8)


class Asked(Walk):
    """Says whether it is solved only when asked."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode, tells="nothing")

    def is_success(self):
        return {"task": self.t >= 2 + self.seed % 5 and self.seed % 2 == 0}


class Parts(gymnasium.Env):
    """Shows a dict of given spaces, filled with consecutive numbers."""

    action_space = spaces.Box(-1.0, 1.0, (2, 1), np.float32)

    def __init__(self, space, render_mode=None):
        self.observation_space = space

    def fill(self, space, start):
        if isinstance(space, spaces.Dict):
            return {key: self.fill(inner, 10 * (start + i)) for i, (key, inner) in enumerate(space.spaces.items())}
        return (start + np.arange(np.prod(space.shape)).reshape(space.shape)).astype(space.dtype)

    def reset(self, *, seed=None, options=None):
        return self.fill(self.observation_space, 0), {}

    def step(self, action):
        assert action.shape == (2, 1)
        return self.fill(self.observation_space, 0), 0.0, False, False, {}


@pytest.fixture(scope="module", autouse=True)
def registered():
    gymnasium.register("HoldfastWalk-v0", Walk, max_episode_steps=5)
    gymnasium.register("HoldfastAsked-v0", Asked, max_episode_steps=5)
    gymnasium.register("HoldfastEndless-v0", Walk)
    gymnasium.register("HoldfastParts-v0", Parts, max_episode_steps=3)
    yield
    for name in ("Walk", "Asked", "Endless", "Parts"):
        del gymnasium.registry[f"Holdfast{name}-v0"]


class Steers:
    """u = −x / 2."""

    def reset(self, seed=None):
        pass

    def act(self, observation, state):
        return -observation.state[:, :2] / 2


def flown(environment, seeds):
    try:
        return rollout(Steers(), environment, starts=seeds)
    finally:
        environment.close()


def assert_same(a, b):
    assert a.episodes.lengths.tolist() == b.episodes.lengths.tolist()
    for name in ("states", "actions", "rewards", "final_states"):
        assert torch.equal(getattr(a.episodes, name), getattr(b.episodes, name)), name
    assert torch.equal(a.success, b.success)
    assert torch.equal(a.returns, b.returns)


SEEDS = [10, 11, 12, 13, 14]


def by_hand(seed):
    """One episode of the walk as arithmetic: what is shown at each step, how long it is, whether it is solved."""
    rng, _ = gymnasium.utils.seeding.np_random(seed)
    x, rows = rng.uniform(-1, 1, 2), []
    length = min(2 + seed % 5, 5)
    for t in range(length + 1):
        rows.append([*x, t, 1])
        x = x + (-x / 2).astype(np.float32)
    return torch.tensor(np.array(rows)), length, seed % 2 == 0 and 2 + seed % 5 <= 5


def test_single_episodes_are_those_by_hand():
    """Seeds 10 to 14 last 2, 3, 4, 5 and 6 steps; the last is cut at the time limit of 5, unsolved."""
    environment = gym_environment("HoldfastWalk-v0", 5)
    assert isinstance(environment, Environment)
    assert (environment.name, environment.steps, environment.n_actions) == ("gym:HoldfastWalk-v0", 5, 2)
    assert environment.dt == pytest.approx(1 / 20)
    assert [bound.tolist() for bound in environment.action_bounds] == [[-1, -1], [1, 1]]
    found = flown(environment, SEEDS)
    validate(found.episodes, source="the walk")
    assert found.episodes.lengths.tolist() == [2, 3, 4, 5, 5]
    for index, seed in enumerate(SEEDS):
        shown, length, solved = by_hand(seed)
        assert found.episodes.lengths[index] == length
        torch.testing.assert_close(found.episodes.trajectory(index).states, shown, rtol=0, atol=1e-6)
        assert bool(found.success[index]) == solved
    assert found.success.tolist() == [True, False, True, False, False]
    assert found.returns.tolist() == [3, 6, 10, 15, 15]


# processes take a while to start; one way of telling is enough for them
WAYS = [(SyncVectorEnv, "info"), (SyncVectorEnv, "success"), (SyncVectorEnv, "mapping"), (AsyncVectorEnv, "info")]


@pytest.mark.parametrize(("vector", "tells"), WAYS)
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_vectorised_episodes_are_the_single_ones(vector, mode, tells):
    """Whichever way the next episode begins, nothing of it is seen: every state shows that its episode is the first."""
    single = flown(gym_environment("HoldfastWalk-v0", 5, options={"tells": tells}), SEEDS)

    def one():
        return gymnasium.make("HoldfastWalk-v0", tells=tells)

    many = vector([one] * 5, autoreset_mode=mode)
    found = flown(gym_vector(many, name="gym:HoldfastWalk-v0", steps=5, dt=1 / 20), SEEDS)
    assert_same(found, single)
    assert bool((found.episodes.states[:, 3] == 1).all() and (found.episodes.final_states[:, 3] == 1).all())


def test_make_vec_and_this_library_agree():
    many = gymnasium.make_vec("HoldfastWalk-v0", 5, vectorization_mode="sync")
    assert_same(
        flown(gym_vector(many, name="x", steps=5), SEEDS),
        flown(gym_environment("HoldfastWalk-v0", 5, vectorized="sync"), SEEDS),
    )


@pytest.mark.parametrize("vectorized", [None, "sync"])
def test_success_is_asked_for_before_the_next_episode_begins(vectorized):
    found = flown(gym_environment("HoldfastAsked-v0", 5, vectorized=vectorized), SEEDS)
    assert found.success.tolist() == [True, False, True, False, False]


def test_no_success_where_none_is_told():
    assert flown(gym_environment("HoldfastWalk-v0", 2, options={"tells": "nothing"}), [10, 11]).success is None


def test_seeds_decide():
    first, again = (flown(gym_environment("HoldfastWalk-v0", 2), [10, 11]) for _ in range(2))
    assert_same(first, again)
    swapped = flown(gym_environment("HoldfastWalk-v0", 2), [11, 10])
    assert torch.equal(first.episodes.final_states, swapped.episodes.final_states.flip(0))
    assert not torch.equal(first.episodes.final_states[0], first.episodes.final_states[1])


def test_an_environment_can_be_used_again():
    environment = gym_environment("HoldfastWalk-v0", 2)
    first = rollout(Steers(), environment, starts=[10, 13])
    again = rollout(Steers(), environment, starts=[10, 13])
    assert torch.equal(first.episodes.states[:, :3], again.episodes.states[:, :3])
    with pytest.raises(ShapeError, match="one seed for each of the 2 episodes at once, got 3"):
        rollout(Steers(), environment, starts=[1, 2, 3])


def box(*shape, dtype=np.float64):
    return spaces.Box(0, 255, shape, dtype)


@pytest.mark.parametrize(
    ("parts", "state", "rest", "names"),
    [
        (
            {"agent_pos": box(2), "environment_state": box(1), "pixels": box(4, 4, 3, dtype=np.uint8)},
            [0, 1],
            [10],
            {
                "observation.state": ("agent_pos.0", "agent_pos.1"),
                "observation.environment_state": ("environment_state",),
            },
        ),
        (
            {"achieved_goal": box(1), "desired_goal": box(1), "observation": box(2)},
            [20, 21, 0, 10],
            None,
            {"observation.state": ("observation.0", "observation.1", "achieved_goal", "desired_goal")},
        ),
        (
            {"b": box(2, 1), "a": spaces.Dict({"z": box(1), "y": box(1)})},
            None,
            None,
            {"observation.state": ("a.y", "a.z", "b.0", "b.1")},
        ),
    ],
)
def test_dicts_become_vectors(parts, state, rest, names):
    space = spaces.Dict(parts)
    environment = gym_environment("HoldfastParts-v0", 2, options={"space": space})
    observation = environment.reset([0, 1]).observation
    shown, _ = Parts(space).reset()
    if state is None:
        state = [shown["a"]["y"][0], shown["a"]["z"][0], *shown["b"].reshape(-1)]
    assert observation.state.tolist() == [[float(x) for x in state]] * 2
    assert (None if rest is None else observation.environment_state.tolist()) == (rest and [rest] * 2)
    assert environment.names == names
    assert observation.images == {}
    # actions of any shape are flat here
    assert environment.n_actions == 2
    environment.step(torch.zeros(2, 2))
    validate(rollout(Steers(), environment, starts=[0, 1]).episodes, source="the parts")


def test_pictures_come_where_they_are_asked_for():
    space = spaces.Dict({"agent_pos": box(2), "pixels": spaces.Dict({"top": box(2, 3, 3, dtype=np.uint8)})})
    environment = gym_environment("HoldfastParts-v0", 2, images=True, options={"space": space})
    observation = environment.reset([0, 1]).observation
    assert {name: pictures.shape for name, pictures in observation.images.items()} == {"top": (2, 2, 3, 3)}
    assert rollout(Steers(), environment, starts=[0, 1]).episodes.cameras == {}
    kept = rollout(Steers(), environment, starts=[0, 1], images=True).episodes.cameras["top"]
    assert len(kept) == 6
    assert torch.equal(kept.read(torch.tensor([4]))[0], observation.images["top"][1])


def test_frames_are_drawn_on_demand():
    environment = gym_environment("HoldfastWalk-v0", 2, render=True)
    environment.reset([0, 1])
    environment.step(torch.zeros(2, 2))
    assert environment.render().shape == (2, 4, 4, 3)
    assert int(environment.render().max()) == 1
    many = gym_environment("HoldfastWalk-v0", 2, vectorized="sync")
    with pytest.raises(RecipeError, match="may show the next episode"):
        many.render()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("HoldfastWlak-v0", {}, UnknownNameError, r"unknown gymnasium environment .*HoldfastWalk-v0"),
        ("HoldfastWalk", {}, UnknownNameError, "HoldfastWalk-v0"),
        ("no_such_module:Walk-v0", {}, RecipeError, "no_such_module, which cannot be imported"),
        ("CartPole-v1", {}, RecipeError, r"gym:CartPole-v1 takes actions in Discrete\(2\)"),
        ("HoldfastParts-v0", {"space": spaces.Discrete(3)}, RecipeError, r"has observations in Discrete\(3\)"),
        (
            "HoldfastParts-v0",
            {"space": spaces.Dict({"a": box(1), "b": spaces.MultiBinary(2)})},
            RecipeError,
            r"has b in MultiBinary\(2\)",
        ),
        ("HoldfastParts-v0", {"space": box(4, 4, 3, dtype=np.uint8)}, RecipeError, "observes images only"),
        ("HoldfastEndless-v0", {}, RecipeError, "without a time limit. Give steps="),
        ("HoldfastWalk-v0", {"wings": 2}, RecipeError, "gym:HoldfastWalk-v0 cannot be made: TypeError"),
    ],
)
def test_what_cannot_be_used_is_said(name, options, error, message):
    with pytest.raises(error, match=message):
        gym_environment(name, 1, options=options)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match="at least 1 episode and 1 step, got 0"):
        gym_environment("HoldfastWalk-v0", 0)
    with pytest.raises(RecipeError, match="HoldfastWalk-v0 is not a MuJoCo environment"):
        gym_environment("HoldfastWalk-v0", 1, state="physics")
    silent = SyncVectorEnv([Walk])
    silent.metadata = {}
    with pytest.raises(RecipeError, match="does not declare its autoreset mode"):
        gym_vector(silent, name="x", steps=3)


def test_a_time_limit_of_ones_own():
    assert flown(gym_environment("HoldfastEndless-v0", 2, steps=3), [13, 10]).episodes.lengths.tolist() == [3, 2]


@pytest.mark.parametrize("vectorized", [None, "sync"])
def test_mujocos_own_state(vectorized):
    """What gains feed back is (qpos, qvel), also of the vectorised; the observation lacks the root's position."""
    pytest.importorskip("mujoco")
    environment = gym_environment("Hopper-v5", 2, state="physics", vectorized=vectorized)
    assert (environment.name, environment.dt) == ("mujoco:Hopper-v5", pytest.approx(0.008))
    seen = environment.reset([3, 4])
    plain = gymnasium.make("Hopper-v5")
    for index, seed in enumerate((3, 4)):
        observation, _ = plain.reset(seed=seed)
        data = plain.unwrapped.data
        torch.testing.assert_close(seen.observation.state[index], torch.tensor(observation), rtol=0, atol=0)
        assert seen.state[index].tolist() == [*data.qpos, *data.qvel]

    class Still:
        def reset(self, seed=None):
            pass

        def act(self, observation, state):
            return torch.zeros(len(state), 3)

    found = rollout(Still(), environment, starts=[3, 4], steps=20)
    plain.reset(seed=3)
    for _ in range(int(found.episodes.lengths[0])):
        plain.step(np.zeros(3, dtype=np.float32))
    data = plain.unwrapped.data
    assert found.episodes.final_states[0].tolist() == [*data.qpos, *data.qvel]
    validate(found.episodes, source="the hopper")
    environment.close()
    plain.close()


def shaken(environment, steps):
    """Everything that an environment shows under random actions."""
    rng = np.random.default_rng(0)
    seen = [environment.reset([3, 4, 5, 6, 7]).state]
    for _ in range(steps):
        step = environment.step(torch.as_tensor(rng.uniform(-1, 1, (5, environment.n_actions))))
        seen += [step.state, step.reward[:, None], step.over[:, None].double()]
    return torch.cat(seen, dim=1)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(threads, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr("holdfast.envs.gym.usable_cores", lambda: threads)
    environment = gym_environment("Ant-v5", 5)
    assert len(environment._instances._shares) == min(threads, 5)
    beside = shaken(environment, 60)
    environment.close()
    monkeypatch.setattr("holdfast.envs.gym.usable_cores", lambda: 1)
    alone = shaken(gym_environment("Ant-v5", 5), 60)
    # some have fallen by then, and stand still
    assert 0 < float(alone[:, -1].sum()) <= 5
    assert torch.equal(beside, alone)


@pytest.mark.parametrize("name", ["Pendulum-v1", "Hopper-v5"])
def test_threads_are_for_mujoco_and_models_that_are_worth_it(name, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr("holdfast.envs.gym.usable_cores", lambda: 2)
    assert len(gym_environment(name, 4)._instances._shares) == 1
