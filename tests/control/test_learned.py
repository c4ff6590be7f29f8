"""Learned dynamics: consistent where the truth is known, honest about data that cannot tell, and good for gains."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from holdfast.control import (
    Linear,
    Linearizable,
    MujocoSystem,
    Quadrotor2D,
    System,
    Tvlqr,
    check_excitation,
    excitation,
    explore,
    fit_local_linear,
    fit_mlp,
    linearize,
    one_step_prediction,
    regulator,
    scalar,
    synthesize,
    transitions,
)
from holdfast.errors import DataError, RecipeError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, PrimitiveControllers, Trajectory

LINEAR = Linear(
    torch.tensor([[1.05, 0.2, 0.0], [0.0, 0.9, 0.1], [0.0, -0.2, 0.8]]).double(),
    torch.tensor([[0.0, 0.5], [1.0, 0.0], [0.0, 0.3]]).double(),
)


def steps_about(system, count, *, spread=1.0, noise=0.0, centre=None, seed=0):
    """Single steps from points about `centre`, their ends perturbed by `noise`."""
    rng = stream(seed, "learned", count)
    draw = lambda size: torch.randn(count, size, dtype=torch.float64, generator=rng)  # noqa: E731
    state, action = centre or (torch.zeros(system.n_states), torch.zeros(system.n_actions))
    x, u = state + spread * draw(system.n_states), action + spread * draw(system.n_actions)
    after = system.step(x, u) + noise * draw(system.n_states)
    return Episodes(actions=u, states=x, lengths=torch.ones(count, dtype=torch.int64), final_states=after, dt=0.05)


def regulated(system, starts, steps):
    """Flights of the regulator about the equilibrium."""
    expert, states, actions = regulator(system, *system.equilibrium()), [starts], []
    for _ in range(steps):
        actions.append(expert.act(Observation(state=states[-1]), states[-1]))
        states.append(system.step(states[-1], actions[-1]))
    return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))


@pytest.fixture(scope="module")
def flights(quadrotor):
    """Ten flights of sixty steps."""
    return regulated(quadrotor, 0.5 * quadrotor.initial_states(10, rng=stream(0, "tests", "flights")), 60)


@pytest.fixture(scope="module")
def explored(flights, quadrotor):
    """Those flights held by gains that nobody has tuned, with noise on the actions, twelve times."""
    law = synthesize(Tvlqr(), quadrotor, flights)
    many = PrimitiveControllers(
        actions=law.actions.repeat(12, 1, 1), states=law.states.repeat(12, 1, 1), gains=law.gains.repeat(12, 1, 1, 1)
    )
    rng = stream(0, "tests", "explored")
    return explore(quadrotor, many, flights.states[:, 0].repeat(12, 1), sigma=0.3, rng=rng)


def test_transitions_leave_out_what_was_not_recorded():
    walk = Episodes(
        actions=torch.arange(5.0)[:, None],
        states=torch.tensor([[0.0], [1.0], [3.0], [10.0], [14.0]]),
        lengths=torch.tensor([3, 2]),
    )
    steps = transitions(walk)
    assert steps.changes.flatten().tolist() == [1.0, 2.0, 4.0]
    assert steps.actions.flatten().tolist() == [0.0, 1.0, 3.0]
    ended = Episodes(
        actions=walk.actions, states=walk.states, lengths=walk.lengths, final_states=torch.tensor([[6.0], [20.0]])
    )
    assert transitions(ended).changes.flatten().tolist() == [1.0, 2.0, 3.0, 4.0, 6.0]
    with pytest.raises(DataError, match="no step has a next state"):
        transitions(Episodes(actions=torch.zeros(2, 1), states=torch.zeros(2, 1), lengths=torch.tensor([1, 1])))


def test_a_linear_system_is_found_exactly():
    model = fit_local_linear(steps_about(LINEAR, 60), ridge=0.0)
    assert isinstance(model, System)
    assert isinstance(model, Linearizable)
    points = steps_about(LINEAR, 20, spread=3.0, seed=1)
    found = linearize(model, points.states, points.actions)
    assert_close(found.A, LINEAR.A.expand(20, 3, 3), rtol=0, atol=1e-8)
    assert_close(found.B, LINEAR.B.expand(20, 3, 2), rtol=0, atol=1e-8)
    assert_close(model.step(points.states, points.actions), points.final_states, rtol=0, atol=1e-8)
    assert model.step(points.states.float(), points.actions.float()).dtype == torch.float32


def test_with_noise_the_error_falls_as_the_root_of_the_data():
    def error(count):
        wrong = list[float]()
        for seed in range(5):
            model = fit_local_linear(steps_about(LINEAR, count, noise=0.1, seed=seed), neighbours=count)
            point = linearize(model, torch.zeros(3).double(), torch.zeros(2).double())
            wrong.append(float((torch.cat([point.A - LINEAR.A, point.B - LINEAR.B], -1)).norm()))
        return sum(wrong) / len(wrong)

    ratio = error(100) / error(1600)
    assert 2.5 < ratio < 6.5  # √16 = 4


def test_without_noise_the_error_is_of_second_order_in_the_reach():
    # the quadrotor's curvature is all that is left; with odd terms cancelling only in the mean, order 1 to 2
    drone = Quadrotor2D()
    state = torch.tensor([0.0, 0.0, 0.4, 0.0, 0.0, 0.0], dtype=torch.float64)
    action = torch.tensor([7.0, 0.1], dtype=torch.float64)
    truth = linearize(drone, state, action)

    def error(spread):
        model = fit_local_linear(steps_about(drone, 400, spread=spread, centre=(state, action)), neighbours=400)
        found = linearize(model, state, action)
        return float((found.A - truth.A).norm() + (found.B - truth.B).norm())

    errors = [error(spread) for spread in (0.4, 0.1, 0.025)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 2e-3


def test_more_exploration_brings_the_linearisation_closer(flights, explored, quadrotor):
    truth = linearize(quadrotor, flights.states[:, :-1], flights.actions)

    def error(episodes):
        few = Trajectory(
            actions=explored.actions.reshape(120, 60, 2)[:episodes],
            states=torch.cat([explored.states.reshape(120, 60, 6), explored.final_states[:, None]], 1)[:episodes],
        )
        found = linearize(fit_local_linear(Episodes.of(few)), flights.states[:, :-1], flights.actions)
        return float((found.A - truth.A).flatten(-2).norm(dim=-1).median()), float(
            (found.B - truth.B).flatten(-2).norm(dim=-1).median()
        )

    few, many = error(10), error(120)
    assert many[0] < 0.6 * few[0]
    assert many[1] < 0.6 * few[1]


@pytest.fixture(scope="module", params=["local", "mlp"])
def model(request, explored):
    if request.param == "local":
        return fit_local_linear(explored)
    return fit_mlp(explored, rng=stream(0, "tests", "mlp"), widths=(64, 64), members=2, updates=1500)


def test_learned_gains_hold_the_real_system(model, flights, explored, quadrotor):
    law = synthesize(Tvlqr(), model, flights)
    true_law = synthesize(Tvlqr(), quadrotor, flights)
    held = best = drifting = flights.states[:, 10] + 0.05
    for step in range(10, 60):
        held = quadrotor.step(held, law.at(step)(held))
        best = quadrotor.step(best, true_law.at(step)(best))
        drifting = quadrotor.step(drifting, flights.actions[:, step])
    held, best, drifting = ((x - flights.states[:, -1]).norm(dim=-1) for x in (held, best, drifting))
    assert float(held.max()) < 0.2 * float(drifting.median())
    assert float(held.median()) < 4 * float(best.median()) + 0.01


def test_held_out_steps_are_predicted(model, quadrotor, flights):
    law = synthesize(Tvlqr(), quadrotor, flights)
    rng = stream(1, "tests", "held out")
    found = one_step_prediction(model, explore(quadrotor, law, flights.states[:, 0], sigma=0.3, rng=rng))
    assert found.r2.shape == (6,)
    assert float(found.r2.min()) > 0.98
    assert float(found.radius.median()) < 1.2


def test_a_constant_has_no_predictable_change():
    class Still(Linear):
        def step(self, state, action):
            return state

    data = steps_about(LINEAR, 500)
    still = Still(LINEAR.A, LINEAR.B)
    expected = -transitions(data).changes.mean(0).square() / transitions(data).changes.var(0, correction=0)
    assert_close(one_step_prediction(still, data).r2, expected)
    assert_close(one_step_prediction(LINEAR, data).r2, torch.ones(3).double())


def test_networks_are_the_seed_s():
    data = steps_about(LINEAR, 200)
    first, again = (fit_mlp(data, rng=stream(0, "net"), widths=(16,), members=2, updates=20) for _ in range(2))
    x, u = data.states[:5], data.actions[:5]
    assert torch.equal(first.step(x, u), again.step(x, u))
    point = linearize(first, x, u)
    assert point.A.dtype == torch.float64
    shift = 1e-6 * torch.eye(3, dtype=torch.float64)
    columns = torch.stack([(first.step(x + e, u) - first.step(x - e, u)) / 2e-6 for e in shift], -1)
    assert_close(point.A, columns, rtol=1e-6, atol=1e-6)


def test_demonstrations_alone_do_not_identify_b(flights, quadrotor):
    demos = Episodes.of(flights)
    assert float(excitation(transitions(demos)).shares.max()) < 1e-10
    for fit in (fit_local_linear, lambda data: fit_mlp(data, rng=stream(0, "net"))):
        with pytest.raises(
            DataError, match=r"function of the state: among similar states u[01] varies by .*e-.*explore"
        ):
            fit(demos)
    controllers = synthesize(Tvlqr(), quadrotor, flights)
    noisy = explore(quadrotor, controllers, flights.states[:, 0], sigma=0.1, rng=stream(0, "noise"))
    assert float(check_excitation(transitions(noisy)).shares.min()) > 0.01


def test_an_action_that_was_never_moved_is_named():
    data = steps_about(LINEAR, 200)
    stuck = Episodes(
        actions=data.actions * torch.tensor([1.0, 0.0]),
        states=data.states,
        lengths=data.lengths,
        final_states=data.final_states,
        names={"action": ("thrust", "torque")},
    )
    with pytest.raises(DataError, match="among similar states torque varies"):
        fit_local_linear(stuck)
    model = fit_local_linear(stuck, least_excitation=0.0)
    assert float(model.linearize(torch.zeros(3), torch.zeros(2)).B[:, 1].abs().max()) < 1e-6


def test_excitation_of_independent_actions_is_all_of_their_spread():
    shares = excitation(transitions(steps_about(LINEAR, 4000))).shares
    assert_close(shares.square().mean().sqrt(), torch.tensor(1.0).double(), rtol=0.15, atol=0)


def test_excitation_has_the_degrees_of_freedom_of_its_regression():
    """Of 18 steps each has all 18 as neighbours: one regression on 4 unknowns, whose residual has 14 of freedom."""
    data = steps_about(LINEAR, 18)
    state, action = data.states.numpy(), data.actions.numpy()
    action = (action - action.mean(0)) / action.std(0, ddof=1)
    wide = np.concatenate([state, np.ones((18, 1))], axis=1)
    left = action - wide @ np.linalg.lstsq(wide, action, rcond=None)[0]
    variance = np.linalg.eigvalsh(left.T @ left / (18 - 4))[::-1]
    assert excitation(transitions(data)).shares.tolist() == pytest.approx(np.sqrt(variance).tolist())


def test_exploration_records_what_was_executed():
    toy = scalar(a=1.0)
    law = PrimitiveControllers.open_loop(torch.zeros(400, 5, 1).double(), torch.zeros(400, 5, 1).double())
    bounds = {"action_low": torch.tensor([-0.1]), "action_high": torch.tensor([0.3])}
    found = explore(toy, law, torch.zeros(400, 1).double(), sigma=0.2, rng=stream(0, "noise"), **bounds)
    assert float(found.actions.min()) == pytest.approx(-0.1)
    assert float(found.actions.max()) == pytest.approx(0.3)
    ends = found.actions.reshape(400, 5).sum(1, keepdim=True)  # x' = x + u
    assert_close(found.final_states, ends)
    free = explore(toy, law, torch.zeros(400, 1).double(), sigma=0.2, rng=stream(0, "noise"))
    assert_close(free.actions.std(), torch.tensor(0.2).double(), rtol=0.05, atol=0)
    with pytest.raises(RecipeError, match=r"positive sigma, got 0\.0"):
        explore(toy, law, torch.zeros(400, 1).double(), sigma=0.0, rng=stream(0, "noise"))


def test_options_out_of_range_are_refused():
    data = steps_about(LINEAR, 40)
    with pytest.raises(RecipeError, match="expected 6 to 40 neighbours"):
        fit_local_linear(data, neighbours=41)
    with pytest.raises(DataError, match="at least 6 steps for a regression of 6 unknowns, got 5"):
        fit_local_linear(steps_about(LINEAR, 5), least_excitation=0.0)
    with pytest.raises(DataError, match="at least 18 steps to measure"):
        fit_local_linear(steps_about(LINEAR, 10))
    with pytest.raises(RecipeError, match="positive"):
        fit_mlp(data, rng=stream(0, "net"), updates=0)


def test_repeated_steps_do_not_break_the_regression():
    data = steps_about(LINEAR, 60)
    rest = Episodes(
        actions=torch.cat([data.actions, torch.zeros(30, 2).double()]),
        states=torch.cat([data.states, torch.zeros(30, 3).double()]),
        lengths=torch.ones(90, dtype=torch.int64),
        final_states=torch.cat([data.final_states, torch.zeros(30, 3).double()]),
    )
    point = fit_local_linear(rest).linearize(torch.zeros(3).double(), torch.zeros(2).double())
    assert_close(point.A, LINEAR.A, rtol=0, atol=1e-6)
    assert_close(point.B, LINEAR.B, rtol=0, atol=1e-6)


def test_simulated_and_learned_systems_bring_their_own_linearisation():
    assert issubclass(MujocoSystem, Linearizable)
    assert not hasattr(System, "linearize")


def test_neighbours_that_are_all_one_step_leave_the_global_slopes():
    data = steps_about(LINEAR, 100)
    copies = torch.zeros(40, dtype=torch.int64)
    crowded = Episodes(
        actions=torch.cat([data.actions, data.actions[copies]]),
        states=torch.cat([data.states, data.states[copies]]),
        lengths=torch.ones(140, dtype=torch.int64),
        final_states=torch.cat([data.final_states, data.final_states[copies]]),
    )
    model = fit_local_linear(crowded)
    for offset in (0.0, 1e-12, 1e-3):
        point = model.linearize(data.states[0] + offset, data.actions[0])
        assert_close(point.A, LINEAR.A, rtol=0, atol=1e-5)
        assert_close(point.B, LINEAR.B, rtol=0, atol=1e-5)
