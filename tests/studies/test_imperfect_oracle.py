"""Study imperfect-oracle: what each imperfection is, that a perfect oracle is the usual arm, a small run."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from holdfast.control import Dare, Quadrotor2D, linearize
from holdfast.errors import SynthesisError
from holdfast.learn import attach_controllers, choose_episodes
from holdfast.studies.engine.result import write_study
from holdfast.studies.imperfect_oracle.command import ImperfectOracle, run_oracles
from holdfast.studies.imperfect_oracle.oracles import (
    Absent,
    LateFeedback,
    LateGains,
    Learned,
    Perfect,
    ScaledFeedback,
    ScaledGains,
    ScaledPlans,
    StaleState,
    WrongMass,
    closed_loop_radius,
    controllers_of,
    explored,
    gain_error,
)
from holdfast.studies.imperfect_oracle.plan import IN_FLIGHT, IN_TRAINING, OracleJob, evaluate_oracle
from holdfast.studies.quadrotor.arms import Arm, recipe_of
from holdfast.studies.quadrotor.cells import world_of
from holdfast.studies.quadrotor.run_arms import run_group
from holdfast.types import Episodes, Observation, PrimitiveControllers, Trajectory

ARM = Arm("holdfast", 2, "tvlqr", 0.1, 0, steps=3)


@pytest.fixture
def chosen(small_world):
    return choose_episodes(recipe_of(ARM), world_of(small_world).pool)[0]


def test_a_perfect_oracle_is_the_usual_arm(small_world):
    (found,) = evaluate_oracle(small_world, OracleJob(ARM, Perfect(), (Perfect(),)))
    ((_, results),) = run_group([ARM], world_of(small_world))
    usual = next(result for result in results if result.noise == "replica")
    assert found.flights is not None
    assert found.flights.score == pytest.approx(usual.score, rel=1e-5)
    assert found.flights.distance == pytest.approx(usual.distance, rel=1e-5)
    assert found.gain_error == 0.0


def test_a_wrong_mass_gives_the_gain_of_the_wrong_riccati_equation():
    """At hover of the true vehicle, against scipy on Jacobians written by hand."""
    task = Quadrotor2D()
    state, action = task.equilibrium()
    still = Episodes.of(Trajectory(actions=action.expand(1, 2, -1), states=state.expand(1, 3, -1)), system=task.name)
    recipe = recipe_of(Arm("published", 1, "dare", 0.0, 0))
    assert recipe.synthesis == Dare((1.0,) * 6, (1.0,) * 2)
    for factor in (0.5, 2.0):
        mass = 0.8 * factor
        # ẍ = −F φ / m with F = 0.8 · 9.8, z̈ = δF / m, φ̈ = τ / 0.5
        A, B = np.eye(6), np.zeros((6, 2))
        A[:3, 3:] += 0.05 * np.eye(3)
        A[3, 2] = -0.05 * 0.8 * 9.8 / mass
        B[4, 0], B[5, 1] = 0.05 / mass, 0.05 / 0.5
        P = scipy.linalg.solve_discrete_are(A, B, np.eye(6), np.eye(2))
        K = -np.linalg.solve(np.eye(2) + B.T @ P @ B, B.T @ P @ A)
        given = controllers_of(WrongMass(factor), recipe, still)
        np.testing.assert_allclose(given.gains[0].numpy(), K, atol=1e-8)
    assert torch.equal(
        controllers_of(WrongMass(1.0), recipe, still).gains, controllers_of(Perfect(), recipe, still).gains
    )


def test_scaled_by_nothing_is_open_loop(chosen):
    true, none = (controllers_of(oracle, recipe_of(ARM), chosen) for oracle in (Perfect(), ScaledGains(0.0)))
    assert true.gains.abs().max() > 1
    assert not none.gains.any()
    away = chosen.states + 1.0
    assert torch.equal(none(away), chosen.actions)
    assert torch.equal(none.states, true.states)
    assert (gain_error(none, true), closed_loop_radius(none)) == pytest.approx((1.0, 1.0), abs=1e-6)


def test_late_gains_keep_within_their_episode(chosen):
    true, late = (controllers_of(oracle, recipe_of(ARM), chosen) for oracle in (Perfect(), LateGains(3)))
    for start in (0, 100):
        assert torch.equal(late.gains[start + 3 : start + 100], true.gains[start : start + 97])
        assert torch.equal(late.gains[start : start + 3], true.gains[start].expand(3, -1, -1))
    assert torch.equal(late.actions, true.actions)


def test_exploration_is_short_flights_from_demonstrated_states(chosen):
    seen = explored(chosen)
    flights = len(chosen) * 19  # from steps 0, 5, …, 90
    assert len(seen) == len(chosen) + flights
    assert torch.equal(seen.states[200], chosen.states[0])
    noise = seen.actions[200:210] - chosen.actions[:10]
    assert noise.abs().min() > 0
    everywhere = seen.actions[200:].reshape(flights, 10, 2)
    rows = torch.cat([start + torch.arange(0, 91, 5) for start in (0, 100)])[:, None] + torch.arange(10)
    assert (everywhere - chosen.actions[rows]).std(dim=(0, 1)).tolist() == pytest.approx([0.5, 0.25], rel=0.15)


def test_learned_gains_are_near_the_true_ones(chosen):
    recipe = recipe_of(ARM)
    true, learned = attach_controllers(recipe, chosen), controllers_of(Learned("linear"), recipe, chosen)
    assert 0 < gain_error(learned, true) < 0.2
    assert closed_loop_radius(learned) < 1


def test_a_late_state_destabilises_at_some_delay(chosen):
    """The radius of the augmented loop, against powers of the loop itself."""
    true = controllers_of(Perfect(), recipe_of(ARM), chosen)
    assert closed_loop_radius(true) < 1 < closed_loop_radius(true, late=6)
    task = Quadrotor2D()
    along, K = linearize(task, *task.equilibrium()), true.gains[-1].double()
    past = [torch.ones(6, dtype=torch.float64)] * 3
    sizes = list[float]()
    for _ in range(2000):
        past = [along.A @ past[0] + along.B @ K @ past[2], *past[:2]]
        sizes.append(float(torch.cat(past).norm()))
        past = [each / sizes[-1] for each in past]
    grown = math.exp(sum(map(math.log, sizes[1000:])) / 1000)
    assert closed_loop_radius(true, late=2) == pytest.approx(grown, rel=1e-3)


class Echo:
    """A policy that acts as the state that it is fed."""

    def reset(self, seed=None):
        self.seeds = seed

    def act(self, observation, state):
        self.seen = observation.state
        return state[:, :1]


def test_a_stale_state_is_the_one_of_some_steps_ago():
    echo = Echo()
    policy = StaleState(echo, 2)
    policy.reset(5)
    assert echo.seeds == 5
    states = torch.arange(5.0)[:, None, None]
    acted = [float(policy.act(Observation(state=state), state)) for state in states]
    assert acted == [0.0, 0.0, 0.0, 1.0, 2.0]
    assert float(echo.seen) == 4.0
    policy.reset()
    assert float(policy.act(Observation(state=states[4]), states[4])) == 4.0


class Always:
    """Plans the same controller of gain 2 about the origin."""

    def plan(self, window, *, rng, prefix=None):
        window = window.vector
        count = len(window)
        return PrimitiveControllers(
            actions=torch.ones(count, 1, 1), states=torch.zeros(count, 1, 1), gains=torch.full((count, 1, 1, 1), 2.0)
        )


@pytest.mark.parametrize(("factor", "action"), [(0.0, 1.0), (0.5, 4.0), (1.0, 7.0)])
def test_scaled_plans(factor, action):
    """u = 1 + factor · 2 · 3."""
    chunk = ScaledPlans(Always(), factor).plan(Observation(state=torch.zeros(1, 1, 1)), rng=torch.Generator())
    assert float(chunk.at(0)(torch.full((1, 1), 3.0))) == action


def test_plans():
    quick = ImperfectOracle().jobs()
    assert len(quick) == 3 * (2 + len(IN_TRAINING))
    assert len({job.key for job in quick}) == len(quick)
    (perfect,) = [job for job in quick if job.trained == Perfect() and job.arm.seed == 1]
    assert perfect.deployed == (Perfect(), *IN_FLIGHT)
    (raw,) = [job for job in quick if job.trained == Absent() and job.arm.seed == 1]
    assert (raw.arm.gains, raw.arm.sigma) == ("none", 0.0)
    factors = {oracle.factor for oracle in IN_TRAINING if isinstance(oracle, WrongMass)}
    assert factors == {0.5, 0.8, 1.25, 2.0}
    assert {job.arm.gains for job in ImperfectOracle(preset="full").jobs()} == {"none", "tvlqr", "receding"}


def test_end_to_end_and_again(small_world, in_process, stage):
    oracles = (WrongMass(2.0), ScaledGains(0.0))
    late = (LateFeedback(2),)
    jobs = ImperfectOracle(seeds=1, demos=(2,), steps=3).jobs(oracles, late)
    found = run_oracles(jobs, small_world, stage)
    assert stage.done["training runs"] == [0, 1, 2, 3, 4]
    rows, comparisons = (table.rows for table in found.tables)
    named = [(row["oracle"], row["where"], row["amount"]) for row in rows]
    assert named[:3] == [("absent", "training", None), ("perfect", "nowhere", None), ("late state", "flight", 2.0)]
    assert len(named) == 5
    assert {item["against"] for item in comparisons} == {"tvlqr"}
    assert len(comparisons) == len(named) - 1
    assert run_oracles(jobs, small_world, stage).rows == found.rows
    assert stage.done["training runs"] == [4]
    _, *figures, page = write_study(small_world, "imperfect-oracle", found, preset="quick", seconds=0.0)
    assert [figure.name for figure in figures] == ["imperfect-oracle-tvlqr-n2.png"]
    assert found.verdicts[0].claim in page.read_text()


def test_an_oracle_without_gains_is_counted(small_world, in_process, monkeypatch, stage):
    """A failure of the synthesis is a result, with its reason, and does not end the study."""

    def fails(oracle, recipe, episodes):
        if oracle == WrongMass(2.0):
            raise SynthesisError("no feedback stabilises it")
        return attach_controllers(recipe, episodes)

    monkeypatch.setattr("holdfast.studies.imperfect_oracle.plan.controllers_of", fails)
    jobs = [OracleJob(ARM, oracle, (oracle,)) for oracle in (Perfect(), WrongMass(2.0))]
    found = run_oracles(jobs, small_world, stage)
    rows, comparisons = (table.rows for table in found.tables)
    (row,) = [row for row in rows if row["oracle"] == "wrong mass"]
    assert (row["failed"], "score" in row) == (1, False)
    assert found.values["problems"] == ["wrong mass: no feedback stabilises it"]
    assert not [item for item in comparisons if item["oracle"] == "wrong mass"]
    page = write_study(small_world, "imperfect-oracle", found, preset="quick", seconds=0.0)[-1].read_text()
    assert "no feedback stabilises it" in page


def test_no_gains_in_flight_are_the_reference_alone(small_world):
    """Scaled by 0, and fed whatever state: late or not, the actions are the plan's."""
    job = OracleJob(ARM, Perfect(), (ScaledFeedback(0.0), ScaledFeedback(1.0), Perfect(), LateFeedback(2)))
    none, whole, usual, late = evaluate_oracle(small_world, job)
    assert whole.flights == usual.flights
    assert none.flights != usual.flights
    assert late.flights != usual.flights
    assert (none.radius, none.gain_error) == pytest.approx((1.0, 1.0), abs=1e-6)
