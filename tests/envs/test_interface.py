"""What a policy was trained on, compared with environments: orders, names, units, rates, bounds, first observations."""

import dataclasses
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from holdfast.data import episodes_from_arrays
from holdfast.envs import Environment, PlainPolicy, Step, compare_interface, make_environment, rollout
from holdfast.envs.gym import gym_environment, gym_vector
from holdfast.errors import InterfaceError, InterfaceWarning, ShapeError
from holdfast.learn.interfaces import interface_of
from holdfast.types import Observation

NAMES = ("x", "v", "goal")


class Line(Environment):
    """A point on a line whose velocity is set; it shows x, v and goal in any order, with any names."""

    name, steps, n_actions = "line", 5, 2
    dt = 0.1

    def __init__(self, order=(0, 1, 2), named=NAMES, actions=(), dtype=torch.float64, factor=1.0):
        self.order, self.dtype, self.factor = list(order), dtype, factor
        self.names = {"observation.state": tuple(named[place] for place in order)} if named else {}
        self.names |= {"action": tuple(actions)} if actions else {}
        self.taken = []

    def reset(self, starts):
        rows = [np.random.default_rng(int(seed)).uniform(-1, 1, 2) for seed in starts]
        drawn = torch.as_tensor(np.array(rows))
        self.now = torch.stack([drawn[:, 0], torch.zeros(len(drawn)).double(), drawn[:, 1]], dim=1)
        self.taken = []
        return self.shown()

    def step(self, actions):
        self.taken.append(actions.clone())
        x, _, goal = self.now.T
        self.now = torch.stack([x + 0.1 * actions[:, 0], actions[:, 0].double(), goal], dim=1)
        return self.shown()

    def shown(self):
        seen = (self.factor * self.now[:, self.order]).to(self.dtype)
        step = Step.first(Observation(state=seen), seen)
        return dataclasses.replace(step, truncated=torch.full((len(seen),), len(self.taken) >= self.steps))


def demonstrations(names=NAMES, count=40, **further):
    rng = np.random.default_rng(0)
    states, actions = [], []
    for _ in range(count):
        x, goal = rng.uniform(-1, 1, 2)
        v = np.concatenate([[0.0], rng.uniform(-2, 2, 19)])
        states.append(np.stack([np.linspace(x, goal, 20), v, np.full(20, goal)], axis=1))
        actions.append(rng.uniform(-1, 1, (20, 2)))
    further.setdefault("names", {"state": names} if names else {})
    return episodes_from_arrays(states, actions, dt=further.pop("dt", 0.1), **further)


class Listening:
    """A policy that keeps what it is shown; its action holds x and the goal."""

    def __init__(self, interface):
        self.interface, self.heard, self.states = interface, [], []

    def reset(self, seed=None):
        self.heard, self.states = [], []

    def act(self, observation, state):
        self.heard.append(observation.vector.clone())
        self.states.append(state.clone())
        return torch.stack([observation.vector[:, 0], observation.vector[:, 2]], dim=1)


def flown(interface, environment, count=12):
    policy = Listening(interface)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = rollout(policy, environment, starts=range(count))
    return policy, made, [str(one.message) for one in said if issubclass(one.category, InterfaceWarning)]


TRAINED = interface_of(demonstrations())


def test_an_interface_holds_names_ranges_rate_and_first_steps():
    data = demonstrations()
    assert TRAINED.observation.names == TRAINED.state.names == NAMES
    assert TRAINED.action.names is None
    assert (TRAINED.dt, TRAINED.episodes, TRAINED.n_robot) == (0.1, 40, 3)
    states = data.states.numpy()
    assert TRAINED.observation.low == tuple(states.min(0))
    assert TRAINED.observation.high == tuple(states.max(0))
    first = states.reshape(40, 20, 3)[:, 0]
    assert (TRAINED.observation.first_low, TRAINED.observation.first_high) == (tuple(first.min(0)), tuple(first.max(0)))
    expected = np.quantile(data.actions.numpy(), 0.01, axis=0, method="nearest")
    assert TRAINED.action.central_low == pytest.approx(tuple(expected), abs=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_coordinates_in_the_same_order_are_quiet(dtype):
    policy, made, said = flown(TRAINED, Line(dtype=dtype))
    assert said == []
    assert made.mismatches == ()
    assert made.observations is None
    assert policy.heard[0].dtype == dtype


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_equal_names_in_another_order_are_put_in_order(order):
    plain, straight, _ = flown(TRAINED, Line())
    policy, made, said = flown(TRAINED, Line(order))
    assert torch.equal(torch.stack(policy.heard), torch.stack(plain.heard))
    assert torch.equal(torch.stack(policy.states), torch.stack(plain.states))
    assert len(said) == 1
    assert "are put in order by name" in said[0]
    assert [one.kind for one in made.mismatches] == ["order"]
    assert made.mismatches[0].values["index"] == [order.index(place) for place in range(3)]
    # recorded as the policy saw it; states stay the environment's
    assert torch.equal(made.observed, straight.observed)
    assert torch.equal(made.trajectory.states, straight.trajectory.states[..., list(order)])
    assert made.names["observation.state"] == NAMES
    assert made.episodes.names["observation.state"] == NAMES


def test_other_names_are_refused_by_name():
    with pytest.raises(InterfaceError, match=r"line has no v in its observation, and speed instead; .* on x, v, goal"):
        rollout(Listening(TRAINED), Line(named=("x", "speed", "goal")), starts=[0])


def test_further_names_are_left_out_and_said():
    wide = Line((2, 1, 0))
    wide.names = {"observation.state": ("goal", "time", "v", "x")}
    shown = wide.shown

    def with_time():
        step = shown()
        seen = torch.cat([step.state[:, :1], torch.ones(len(step.state), 1), step.state[:, 1:]], dim=1)
        return dataclasses.replace(step, observation=Observation(state=seen), state=seen)

    wide.shown = with_time
    policy, _, said = flown(TRAINED, wide)
    plain, _, _ = flown(TRAINED, Line())
    assert torch.equal(policy.heard[0], plain.heard[0])
    assert "time of line are left out" in said[0]


@pytest.mark.parametrize(("ours", "theirs"), [(("a_0", "a_1", "a_2"), NAMES), (NAMES, ("q0", "q1", "q2"))])
def test_names_that_are_positions_say_nothing_unless_they_do(ours, theirs):
    """`a_0, a_1, a_2` is no more than a numbering; `q0` is a name."""
    trained = interface_of(demonstrations(ours))
    if ours[0] == "a_0":
        assert flown(trained, Line(named=theirs))[2] == []
    else:
        with pytest.raises(InterfaceError, match="no x, v, goal in its observation, and q0, q1, q2 instead"):
            flown(trained, Line(named=theirs))


def test_actions_are_put_in_order_and_refused_by_name():
    data = demonstrations()
    trained = interface_of(dataclasses.replace(data, names={**data.names, "action": ("push", "turn")}))
    turned = Line(actions=("turn", "push"))
    policy, _, said = flown(trained, turned)
    x, goal = policy.heard[0][:, 0], policy.heard[0][:, 2]
    assert torch.equal(turned.taken[0], torch.stack([goal, x], dim=1))
    assert "the action of line has the order turn, push" in said[0]
    with pytest.raises(InterfaceError, match="line takes no turn in its action, and lift instead"):
        flown(trained, Line(actions=("push", "lift")))


def test_without_names_another_order_is_told_by_the_first_observation():
    trained = interface_of(demonstrations(None))
    assert flown(trained, Line(named=()))[2] == []
    _, made, said = flown(trained, Line((2, 0, 1), named=()))
    assert len(said) == 1
    assert "the first observation of line lies outside every demonstration: observation 1 is" in said[0]
    assert "of 12 episodes but 0 to 0 in the first steps" in said[0]
    assert "order of the coordinates, a unit or the frame" in said[0]
    assert made.mismatches[0].kind == "range"
    assert made.mismatches[0].values["range"] == [[0.0, 0.0]]


def test_without_names_another_unit_is_told_with_its_factor():
    _, made, said = flown(interface_of(demonstrations(None)), Line(named=(), factor=180 / np.pi))
    assert "Divided by 57.3 it would be within (degrees and radians)" in said[0]
    assert made.mismatches[0].values["factor"] == pytest.approx(np.pi / 180)


def test_known_units_are_compared():
    trained = interface_of(demonstrations(("x [m]", "v [m/s]", "goal [m]")))
    assert trained.observation.units == ("m", "m/s", "m")
    same = Line()
    same.units = {"observation.state": ("metres", "m/s", "m")}
    assert flown(trained, same)[2] == []
    other = Line((2, 0, 1), factor=1000)
    other.units = {"observation.state": ("mm", "m", "m/s")}
    with pytest.raises(InterfaceError, match=r"goal \[m\] was trained in m, but line has it in mm \(1 m = 1000 mm\)"):
        flown(trained, other)


def test_rates_are_compared_and_rounding_is_none():
    (slow,) = compare_interface(interface_of(demonstrations(dt=0.5)), Line())
    assert (slow.kind, slow.values["ratio"]) == ("rate", pytest.approx(5))
    assert "the data have 2 steps per second (dt 0.5 s), line has 10 (dt 0.1 s), 5 times as many" in slow.what
    assert compare_interface(interface_of(demonstrations(dt=0.101)), Line()) == []
    assert compare_interface(interface_of(demonstrations(dt=None)), Line()) == []


def test_bounds_are_compared_with_the_actions_of_the_data():
    weak = Line()
    weak.action_bounds = (torch.tensor([-2.0, -0.5]), torch.tensor([2.0, torch.inf]))
    (found,) = compare_interface(TRAINED, weak)
    assert (found.kind, found.names, found.values["given"]) == ("bounds", ("action 1",), [[-0.5, None]])
    rare = demonstrations()
    rare.actions[::200] *= 50  # half a per cent of the actions
    strong = Line()
    strong.action_bounds = (torch.full((2,), -1.0), torch.full((2,), 1.0))
    assert compare_interface(interface_of(rare), strong) == []


class Reacher(gymnasium.Env):
    """A dictionary of observations in an order of its own, which it draws from its seed."""

    action_space = spaces.Box(-1, 1, (2,), np.float32)
    sorts = False

    def __init__(self):
        boxes = {key: spaces.Box(-np.inf, np.inf, (1,), np.float64) for key in NAMES}
        self.observation_space = spaces.Dict(boxes) if self.sorts else spaces.Dict(list(boxes.items()))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        drawn = self.np_random.uniform(-1, 1, 2)
        self.now = {"x": drawn[:1], "v": np.zeros(1), "goal": drawn[1:]}
        return dict(self.now), {}

    def step(self, action):
        return dict(self.now), 0.0, False, False, {}


class Sorted(Reacher):
    sorts = True


@pytest.mark.parametrize("vectorized", [None, "sync"])
def test_a_dictionary_keeps_the_order_of_its_space(vectorized):
    environment = gym_environment(Reacher, 3, steps=4, vectorized=vectorized)
    step = environment.reset([0, 1, 2])
    assert environment.names["observation.state"] == NAMES
    assert torch.equal(step.state[:, 1], torch.zeros(3, dtype=torch.float64))
    policy, _, said = flown(TRAINED, gym_environment(Reacher, 12, steps=4, vectorized=vectorized))
    assert said == []
    sorts = gym_environment(Sorted, 12, steps=4, vectorized=vectorized)
    assert sorts.names["observation.state"] == ("goal", "v", "x")
    again, _, said = flown(TRAINED, sorts)
    assert torch.equal(again.heard[0], policy.heard[0])
    assert "are put in order by name" in said[0]


def test_without_names_the_order_of_keys_that_would_explain_the_observations_is_said():
    """Gymnasium sorts the keys of a plain dictionary, and arrays that were joined in another order have no names."""
    trained = interface_of(demonstrations(None))
    assert flown(trained, gym_environment(Reacher, 12, steps=4))[2] == []
    other = interface_of(dataclasses.replace(demonstrations(None), states=demonstrations(None).states[:, [1, 0, 2]]))
    _, made, said = flown(other, gym_environment(Reacher, 12, steps=4))
    assert "The keys have the order x, v, goal; the data have no names." in said[0]
    fitting = made.mismatches[0].values["fitting"]
    # x and goal have the same law, so that two orders explain what is seen
    assert fitting == [["v", "x", "goal"], ["v", "goal", "x"]]
    shifted = demonstrations(None).states[:, [1, 0, 2]] + torch.tensor([0.0, 0.0, 50.0])

    class Far(Reacher):
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.now["goal"] = self.now["goal"] + 50
            return dict(self.now), {}

    far = interface_of(dataclasses.replace(demonstrations(None), states=shifted))
    _, _, said = flown(far, gym_environment(Far, 12, steps=4))
    assert "In the order v, x, goal it would lie within." in said[0]


def test_nested_dictionaries_are_matched_by_their_paths():
    class Nested(Reacher):
        def __init__(self):
            box = spaces.Box(-np.inf, np.inf, (1,), np.float64)
            arm = spaces.Dict([("v", box), ("x", box)])
            self.observation_space = spaces.Dict([("goal", box), ("arm", arm)])

        def reset(self, *, seed=None, options=None):
            seen, info = super().reset(seed=seed)
            self.now = {"goal": seen["goal"], "arm": {"x": seen["x"], "v": seen["v"]}}
            return self.now, info

    trained = interface_of(demonstrations(("arm/x_0", "arm/v_0", "goal_0")))
    policy, _, said = flown(trained, gym_environment(Nested, 12, steps=4))
    plain, _, _ = flown(TRAINED, gym_environment(Reacher, 12, steps=4))
    assert torch.equal(policy.heard[0], plain.heard[0])
    assert len(said) == 1


def test_an_environment_without_a_rate_is_not_compared():
    assert compare_interface(TRAINED, gym_environment(Reacher, 1, steps=4)) == []
    (found,) = compare_interface(TRAINED, gym_environment(Reacher, 1, steps=4, dt=0.02))
    assert found.kind == "rate"
    vector = gymnasium.vector.SyncVectorEnv([Reacher])
    assert compare_interface(TRAINED, gym_vector(vector, name="gym:reacher", steps=4)) == []


@pytest.mark.parametrize("name", ["double_integrator", "obstacle", "avoid", "particle", "particle:3"])
def test_built_in_environments_fit_what_is_recorded_in_them(name):
    environment = make_environment(name, 20)
    still = PlainPolicy(lambda seen: np.zeros(environment.n_actions))
    recorded = interface_of(rollout(still, environment, starts=range(20), steps=3).episodes)
    assert recorded.observation.names is not None or name.startswith("particle")
    assert compare_interface(recorded, environment, environment.reset(range(100, 120))) == []


def test_another_size_is_refused_with_both_sizes():
    from holdfast.policy import PolicySpec

    policy = Listening(interface_of(demonstrations(None)))
    policy.spec = PolicySpec(n_states=3, n_actions=2, n_observed=3)
    with pytest.raises(ShapeError, match=r"has observations .* of 4 numbers, but the policy was trained on 3"):
        rollout(policy, make_environment("obstacle", 1), starts=[0])
