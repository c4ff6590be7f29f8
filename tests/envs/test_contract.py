"""Every environment keeps the protocol: starts repeat, episodes end and stand still, states restore where declared."""

import subprocess
import sys

import gymnasium
import pytest
import torch

from holdfast.control import scalar
from holdfast.envs import (
    ENVIRONMENTS,
    EXPERT,
    Environment,
    Intervention,
    PlainPolicy,
    Step,
    SystemEnvironment,
    make_environment,
    rollout,
)
from holdfast.envs.fork import GUST
from holdfast.envs.gym import gym_environment
from holdfast.errors import RecipeError, ShapeError
from holdfast.policy.realtime import Rolls
from holdfast.types import Episodes, Observation

MADE = {
    **{name: lambda name=name: make_environment(name, 3) for name in ENVIRONMENTS if "<" not in name},
    "particle:3": lambda: make_environment("particle:3", 3),
    "gym:Pendulum-v1": lambda: make_environment("gym:Pendulum-v1", 3),
    "mujoco:Hopper-v5": lambda: make_environment("mujoco:Hopper-v5", 3),
    "a gymnasium factory": lambda: gym_environment(lambda: gymnasium.make("Pendulum-v1"), 3),
    "a plain system": lambda: SystemEnvironment(scalar(), steps=7),
}
NEEDS = {"pusht": "gym_pusht", "mujoco": "mujoco"}


@pytest.fixture(params=MADE)
def environment(request):
    for part, package in NEEDS.items():
        if request.param.startswith(part):
            pytest.importorskip(package)
    made = MADE[request.param]()
    yield made
    made.close()


def actions_of(environment: Environment, count: int) -> torch.Tensor:
    """The middle of the bounds, or a small constant."""
    if environment.action_bounds is None:
        return torch.full((count, environment.n_actions), 0.01, dtype=torch.float64)
    low, high = environment.action_bounds
    return ((low + high) / 2 + 0.01).expand(count, -1)


def equal(first, second) -> bool:
    return torch.equal(first.observation.vector, second.observation.vector) and torch.equal(first.state, second.state)


def test_it_declares_what_it_is(environment):
    assert isinstance(environment, Environment)
    assert environment.dt > 0 < environment.steps
    first = environment.reset([1, 2, 3])
    widths = {"state": first.state.shape[1], "action": environment.n_actions}
    for quantity, width in widths.items():
        for described in (environment.names, environment.units):
            assert len(described.get(quantity, range(width))) == width
    if environment.action_bounds is not None:
        low, high = environment.action_bounds
        assert low.shape == high.shape == (environment.n_actions,)
        assert bool((low <= high).all())


def test_seeds_repeat_and_differ(environment):
    first, again, other = (environment.reset(seeds) for seeds in ([1, 2, 3], [1, 2, 3], [4, 5, 6]))
    assert equal(first, again)
    assert first.state.shape[0] == 3
    assert not bool(first.over.any() | first.reward.any())
    if not environment.name.startswith("avoid"):  # D3IL's episodes all begin at one point
        assert not equal(first, other)


def test_episodes_end_within_the_time_limit_and_stand_still(environment):
    if environment.steps > 300:
        pytest.skip("a thousand steps")
    environment.reset([1, 2, 3])
    actions = actions_of(environment, 3)
    for _ in range(environment.steps):
        step = environment.step(actions)
    assert bool(step.over.all())
    assert not bool((step.terminated & step.truncated).any())
    later = environment.step(actions)
    assert torch.equal(later.over, step.over)
    if not environment.fixed_length:
        assert equal(step, later)
        assert not bool(later.reward.any())


def test_states_restore_where_declared(environment):
    if not environment.restorable:
        with pytest.raises(RecipeError, match="cannot save or restore"):
            environment.get_state()
        with pytest.raises(RecipeError, match="cannot save or restore"):
            environment.set_state(torch.zeros(3, 1))
        return
    environment.reset([1, 2, 3])
    for _ in range(3):
        environment.step(actions_of(environment, 3))
    state = environment.get_state()
    expected = environment.step(actions_of(environment, 3))
    environment.set_state(state)
    moved = environment.step(actions_of(environment, 3))
    torch.testing.assert_close(moved.state, expected.state, rtol=0, atol=1e-6)
    begun = environment.reset(state)
    torch.testing.assert_close(environment.get_state(), state, rtol=0, atol=1e-6)
    assert not bool(begun.over.any())


def test_known_dynamics_predict_a_step(environment):
    """Exactly without random disturbances; those of the fork are gusts, whose mean is zero."""
    if not isinstance(environment, Rolls):
        pytest.skip("its dynamics are not known")
    first = environment.reset([1, 2, 3])
    for _ in range(3):
        # in the form that a policy's window has: one vector
        before, actions = first.observation.with_vector(first.observation.vector), actions_of(environment, 3)
        expected = environment.following(before, first.state, actions)
        first = environment.step(actions)
        gusts = 4 * GUST if environment.name == "fork" else 0.0
        torch.testing.assert_close(expected[1], first.state, rtol=0, atol=gusts + 1e-12)
        torch.testing.assert_close(expected[0].vector, first.observation.vector, rtol=0, atol=gusts + 1e-12)


def test_the_gusts_of_the_fork_are_around_its_known_dynamics():
    environment = make_environment("fork", 2000)
    first = environment.reset(range(2000))
    actions = actions_of(environment, 2000)
    _, expected = environment.following(first.observation, first.state, actions)
    missed = environment.step(actions).state - expected
    deviation = GUST / 2000**0.5
    assert float(missed[:, 2:].mean(0).abs().max()) < 4 * deviation
    assert float(missed[:, 2:].std(0).mean()) == pytest.approx(GUST, rel=0.1)


def test_it_renders_or_refuses(environment):
    environment.reset([1, 2, 3])
    if environment.name.startswith("pusht"):
        assert environment.render().shape == (3, 96, 96, 3)
        return
    with pytest.raises(RecipeError, match="cannot render"):
        environment.render()


def test_a_rollout_is_a_data_set(environment):
    policy = PlainPolicy(lambda seen: actions_of(environment, 1)[0])
    found = rollout(policy, environment, starts=[1, 2, 3], steps=6)
    assert isinstance(found.episodes, Episodes)
    assert len(found.episodes) == 3
    assert found.trajectory.states.shape[1] == found.trajectory.actions.shape[1] + 1 <= 7
    assert bool((found.terminated | found.truncated | (found.episodes.lengths == 6)).all())


# --- what rollout adds, on the scalar system x' = 0.9 x + u


def push(x):
    return 0.1 * x + 1


STARTS = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)


def test_a_delay_executes_actions_late():
    """Actions 0, 1, 2, … with a delay of 2: 0, 0, 0, 1, 2."""
    count = iter(range(9))
    policy = PlainPolicy(lambda seen: torch.full((len(seen), 1), float(next(count))), batched=True)
    found = rollout(policy, SystemEnvironment(scalar(), steps=5), starts=STARTS, action_delay=2)
    assert found.trajectory.actions[0, :, 0].tolist() == [0, 0, 0, 1, 2]
    with pytest.raises(RecipeError, match="delay of -1"):
        rollout(policy, SystemEnvironment(scalar(), steps=5), starts=STARTS, action_delay=-1)


def test_interventions_act_and_are_recorded():
    """An expert takes over the second episode in steps 1 and 2."""

    def intervene(index, step, action):
        assert action.shape == (2, 1)
        if index not in (1, 2):
            return None
        return Intervention(actor=torch.tensor([0, EXPERT]), action=-step.state)

    found = rollout(PlainPolicy(push), SystemEnvironment(scalar(), steps=4), starts=STARTS, intervene=intervene)
    assert found.actors.tolist() == [[0] * 4, [0, EXPERT, EXPERT, 0]]
    states, actions = found.trajectory.states, found.trajectory.actions
    torch.testing.assert_close(actions[1, 1:3], -states[1, 1:3])
    torch.testing.assert_close(actions[0], push(states[0, :-1]))
    assert found.episodes.columns["intervention"].tolist() == [0] * 4 + [0, EXPERT, EXPERT, 0]


def test_a_disturbance_needs_a_simulator_that_restores():
    environment = gym_environment("Pendulum-v1", 2)
    with pytest.raises(RecipeError, match="cannot save or restore"):
        rollout(PlainPolicy(lambda x: x[:1]), environment, starts=[0, 1], disturbance=torch.zeros(2, 5, 3))


def test_success_is_a_column_of_the_episodes():
    found = rollout(PlainPolicy(lambda seen: torch.zeros(2)), make_environment("obstacle", 2), starts=[0, 1])
    assert found.episodes.episode_columns["success"].tolist() == [False, False]
    assert found.terminated.tolist() == [True, True]


def test_initial_states_of_another_width_are_refused():
    with pytest.raises(ShapeError, match="1 state coordinates"):
        SystemEnvironment(scalar()).reset(torch.zeros(2, 3, dtype=torch.float64))


MISTAKES = """
import torch, gymnasium, holdfast as hf

class Bare:
    name = "bare"

class Wrong(hf.Environment):
    name, dt, steps, n_actions = "wrong", 0.1, 3, 1
    def reset(self, starts):
        return hf.Step.first(hf.Observation(state=torch.zeros(len(starts), 2)), torch.zeros(len(starts), 2))
    def step(self, actions):
        return hf.Step(**{**vars(self.reset(range(len(actions)))), "reward": 0.0})

policy, system = hf.PlainPolicy(lambda x: x[:1]), hf.make_environment("scalar", 2)
pendulum = gymnasium.make("Pendulum-v1").unwrapped
for given, environment in [(policy, Bare()), (policy, pendulum), (policy, Wrong()), (print, system), ("runs", system)]:
    try:
        hf.rollout(given, environment, starts=[0, 1])
    except hf.HoldfastError as error:
        print(error)
"""


def test_what_is_no_environment_or_policy_is_refused_in_words():
    """In another process: here, annotations are checked before Holdfast sees the arguments."""
    done = subprocess.run([sys.executable, "-c", MISTAKES], capture_output=True, text=True, check=True)
    bare, pendulum, wrong, _printed, function, path = done.stdout.splitlines()
    assert "Bare is not an environment: it does not define dt, steps, n_actions" in bare
    assert "Pendulum-v1 has no time limit. Wrap it in gymnasium.wrappers.TimeLimit" in pendulum
    assert "expected reward of a Step as a tensor with one entry per episode, got float" in wrong
    assert "got builtin_function_or_method: given one observation" in function
    assert "got NoneType. Give a function from one observation [n] to an action [m]" in function
    assert "got str. Load a run folder with holdfast.load" in path


def test_a_policy_that_writes_into_its_observation_changes_nothing_else():
    """In-place normalisation must not reach the simulator, the starts or the record."""

    def rude(observation):
        observation *= 10
        return 0 * observation[:1]

    starts = STARTS.clone()
    found = rollout(PlainPolicy(rude), SystemEnvironment(scalar(), steps=3), starts=starts)
    polite = rollout(PlainPolicy(lambda x: 0 * x[:1]), SystemEnvironment(scalar(), steps=3), starts=starts)
    assert torch.equal(starts, STARTS)
    assert torch.equal(found.trajectory.states, polite.trajectory.states)


class InPlace(Environment):
    """Steps its only tensor in place."""

    name, dt, steps, n_actions = "in-place", 0.1, 3, 1

    def reset(self, starts):
        self.x = torch.zeros(len(starts), 1)
        return Step.first(Observation(state=self.x), self.x)

    def step(self, actions):
        self.x += 1
        return Step.first(Observation(state=self.x), self.x)


def test_an_environment_that_steps_in_place_is_recorded():
    found = rollout(PlainPolicy(lambda x: x), InPlace(), starts=[0])
    assert found.trajectory.states[0, :, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("starts", [torch.tensor([[1], [2]]), torch.tensor([[torch.nan]]), torch.zeros(2)])
def test_starts_that_are_neither_seeds_nor_states_are_refused(starts):
    with pytest.raises(RecipeError, match="whole-number seeds"):
        rollout(PlainPolicy(push), SystemEnvironment(scalar(), steps=3), starts=starts)
