"""Study servo: exact inverses, the formula by hand, rankings by hand, and a run from end to end."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

from holdfast.control import Quadrotor2D, double_integrator
from holdfast.envs import make_environment, rollout
from holdfast.envs.pusht import PushT
from holdfast.errors import DataError, RecipeError
from holdfast.seeding import stream
from holdfast.studies.engine.result import write_study
from holdfast.studies.servo.agent import agent_path, agent_steps, following_targets, retargeted_agent
from holdfast.studies.servo.command import Servo, between
from holdfast.studies.servo.formula import amplification, error_variance, stationary_amplification
from holdfast.studies.servo.job import Cell, ServoJob, shape_of, shown_of, work
from holdfast.studies.servo.laws import CascadeServo, Gains, PointServo, ServoSystem, retargeted
from holdfast.studies.servo.measures import target_errors
from holdfast.studies.servo.named import task_named
from holdfast.studies.servo.page import servo_result
from holdfast.studies.servo.plan import comparisons_of, corners_of, groups_of, rankings_of, rows_of
from holdfast.studies.servo.pusht_task import pusht_demonstrations
from holdfast.studies.servo.ranking import ranking, spearman
from holdfast.types import Episodes, Trajectory

DATA = Path(os.environ.get("HOLDFAST_DATA", "../shared/data")) / "pusht/pusht_cchi_v7_replay.zarr"
GRID = [Gains(stiffness, ratio) for stiffness in (1.0, 4.0, 16.0) for ratio in (0.5, 1.0, 2.0)]


def walk(count=3, steps=40):
    """Forces at random and the motion of a double integrator under them."""
    mass, rng = double_integrator(0.1), stream(0, "test servo")
    forces = torch.randn(count, steps, 2, dtype=torch.float64, generator=rng)
    states = [torch.randn(count, 4, dtype=torch.float64, generator=rng)]
    for index in range(steps):
        states.append(mass.step(states[-1], forces[:, index]))
    return Trajectory(actions=forces, states=torch.stack(states, 1))


@pytest.mark.parametrize("gains", GRID, ids=str)
def test_recomputed_targets_reproduce_the_motion_of_a_double_integrator(gains):
    recorded = walk()
    law = PointServo(gains)
    made = retargeted(Episodes.of(recorded), law)
    system, now = ServoSystem(double_integrator(0.1), law), recorded.states[:, 0]
    for index, target in enumerate(made.actions.reshape(recorded.actions.shape).unbind(1)):
        now = system.step(now, target)
        assert (now - recorded.states[:, index + 1]).abs().max() < 1e-9
    assert made.names["action"] == ("target_x", "target_y")
    assert torch.equal(made.states, Episodes.of(recorded).states)


@pytest.mark.parametrize("gains", [Gains(0.25, 2.0), Gains(4.0, 0.5)], ids=str)
def test_the_quadrotors_targets_give_the_recorded_actions(gains):
    task, rng = Quadrotor2D(), stream(1, "test servo")
    states = task.initial_states(50, rng=rng)
    actions = 10 * torch.randn(50, 2, dtype=torch.float64, generator=rng)
    law = CascadeServo(gains, task)
    assert torch.allclose(law.action(states, law.target(states, actions)), actions, atol=1e-9)
    # at rest in its target, a servo hovers: thrust m g and no torque
    place = torch.tensor([1.0, -2.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    hover = law.action(place, place[:2])
    assert torch.allclose(hover, torch.tensor([0.8 * 9.8, 0.0], dtype=torch.float64))


def test_the_force_of_a_servo_is_limited():
    servo = PointServo(Gains(4.0, 1.0), limit=3.0)
    # 4 · 1 and 4 · (−2)
    assert servo.action(torch.zeros(4), torch.tensor([0.5, -2.0])).tolist() == [2.0, -3.0]


class TestAgent:
    def test_a_control_step_is_ten_physics_steps(self):
        M, N = agent_steps(100.0, 20.0)
        position, velocity, target = 3.0, -2.0, 10.0
        for index in range(10):
            velocity += 0.01 * (100 * (target - position) - 20 * velocity)
            position += 0.01 * velocity
            found = M[index] @ torch.tensor([3.0, -2.0], dtype=torch.float64) + N[index] * target
            assert found.tolist() == pytest.approx([position, velocity])

    def test_own_gains_give_back_the_recorded_targets(self):
        rng = stream(2, "test servo")
        targets = 512 * torch.rand(4, 30, dtype=torch.float64, generator=rng)
        start = 100 * torch.rand(4, 2, dtype=torch.float64, generator=rng)
        inside = torch.arange(30) < torch.tensor([30, 12, 1, 29])[:, None]
        path = agent_path(start, targets, 100.0, 20.0)
        found = following_targets(start, path, inside, 100.0, 20.0)
        assert (found[inside] - targets[inside]).abs().max() < 1e-7
        assert not found[~inside].any()

    @pytest.mark.parametrize(("stiffness", "damping"), [(25.0, 20.0), (400.0, 20.0)])
    def test_other_gains_follow_as_closely_as_least_squares_do(self, stiffness, damping):
        rng = stream(3, "test servo")
        start, steps = torch.zeros(1, 2, dtype=torch.float64), 12
        path = agent_path(start, 100 * torch.rand(1, steps, dtype=torch.float64, generator=rng), 100.0, 20.0)
        found = following_targets(start, path, torch.ones(1, steps, dtype=torch.bool), stiffness, damping)
        # from rest the path is linear in the targets: one column for each unit target
        unit = torch.eye(steps, dtype=torch.float64)
        columns = agent_path(torch.zeros(steps, 2, dtype=torch.float64), unit, stiffness, damping).flatten(1).T
        best = torch.linalg.lstsq(columns, path.flatten()[:, None]).solution.flatten()
        assert torch.allclose(found[0], best, atol=1e-6)

    def test_the_simulator_moves_its_agent_in_the_same_way(self):
        pytest.importorskip("gym_pusht")
        table = PushT(1, gains=(25.0, 20.0))
        table.reset(torch.tensor([[100.0, 120.0, 400.0, 400.0, 0.0, 30.0, -10.0]], dtype=torch.float64))
        assert table.action_bounds is None
        targets = torch.tensor([[600.0, -50.0], [90.0, 200.0], [90.0, 200.0]], dtype=torch.float64)
        found = torch.stack([table.step(target[None]).state[0] for target in targets])
        for axis, start in enumerate(([100.0, 30.0], [120.0, -10.0])):
            path = agent_path(torch.tensor([start], dtype=torch.float64), targets[:, axis][None], 25.0, 20.0)
            assert torch.allclose(found[:, axis], path[0, :, -1], atol=1e-9)

    def test_gains_of_the_simulator_are_its_default(self):
        pytest.importorskip("gym_pusht")
        plain, given = make_environment("pusht", 1), PushT(1, gains=(100.0, 20.0))
        target = torch.tensor([[300.0, 100.0]], dtype=torch.float64)
        for table in (plain, given):
            table.reset([3])
        assert torch.equal(plain.step(target).observation.vector, given.step(target).observation.vector)

    @pytest.mark.parametrize("gains", [(0.0, 20.0), (100.0, 0.0), (100.0, 200.0), (2000.0, 190.0)])
    def test_servos_that_do_not_come_to_rest_are_refused(self, gains):
        pytest.importorskip("gym_pusht")
        with pytest.raises(RecipeError, match="does not come to rest"):
            PushT(1, gains=gains)

    @pytest.mark.skipif(not DATA.exists(), reason=f"needs {DATA}")
    def test_the_human_targets_come_back(self):
        recorded = pusht_demonstrations(str(DATA))
        same, distance = retargeted_agent(recorded, 100.0, 20.0)
        assert (same.actions - recorded.actions).abs().max() < 1e-6
        assert distance.max() < 1e-6
        other, distance = retargeted_agent(recorded, 25.0, 20.0)
        assert (other.actions - recorded.actions).abs().max() > 100
        assert 1e-3 < distance.square().mean().sqrt() < 0.5


class TestFormula:
    def test_a_scalar_loop_by_hand(self):
        A, B, C = (torch.tensor([[value]]) for value in (0.5, 2.0, 3.0))
        # X₁ = 4 · 0.1, X₂ = 0.25 X₁ + 0.4, X₃ = 0.25 X₂ + 0.4; position variance 9 X
        assert error_variance(A, B, C, torch.tensor([0.1]), steps=3) == pytest.approx(9 * (0.4 + 0.1 + 0.025))
        assert amplification(A, B, C, steps=200) == pytest.approx(9 * 4 / (1 - 0.25))

    def test_amplification_times_loss_is_the_variance_of_equal_errors(self):
        loop = task_named("reach").loop(Gains(4.0, 1.0))
        found = error_variance(loop.A, loop.B, loop.C, torch.tensor([0.3, 0.3]), steps=60)
        assert found == pytest.approx(0.3 * amplification(loop.A, loop.B, loop.C, steps=60))

    @pytest.mark.parametrize(("stiffness", "damping"), [(4.0, 2.0), (4.0, 8.0), (16.0, 8.0)])
    def test_the_stationary_amplification_is_the_limit_of_short_steps(self, stiffness, damping):
        h = 1e-4
        A = torch.tensor([[1.0, h], [-h * stiffness, 1 - h * damping]], dtype=torch.float64)
        B = torch.tensor([[0.0], [h * stiffness]], dtype=torch.float64)
        # white noise of unit intensity has the variance 1/h over a step; the Lyapunov equation is solved by vectors
        system = torch.eye(4, dtype=torch.float64) - torch.kron(A, A)
        X = torch.linalg.solve(system, (B @ B.T / h).flatten()).reshape(2, 2)
        assert float(X[0, 0]) == pytest.approx(stationary_amplification(stiffness, damping), rel=1e-2)
        assert stationary_amplification(stiffness, damping) == stiffness / (2 * damping)

    def test_stiffness_raises_it_and_damping_lowers_it(self):
        found = {}
        for gains in GRID:
            loop = task_named("reach").loop(gains)
            found[gains] = amplification(loop.A, loop.B, loop.C, steps=60)
        assert found[Gains(1.0, 2.0)] == min(found.values())
        assert found[Gains(16.0, 0.5)] == max(found.values())


def test_the_loop_of_a_point_mass_by_hand():
    loop = task_named("reach").loop(Gains(4.0, 1.0))
    # u = 4 (a − p) − 4 v over 0.1 s: p' = p + 0.1 v + 0.005 u, v' = v + 0.1 u
    assert loop.A[0, :4].tolist() == pytest.approx([0.98, 0.0, 0.08, 0.0])
    assert loop.A[2, :4].tolist() == pytest.approx([-0.4, 0.0, 0.6, 0.0])
    assert loop.B[:, 0].tolist() == pytest.approx([0.02, 0.0, 0.4, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("name", ["reach", "quadrotor2d"])
def test_demonstrations_are_tracked_and_displacements_contract_as_the_loop_says(name):
    task, gains = task_named(name), Gains(1.0, 1.0)
    recorded = task.demonstrations(4, 0)
    made = task.retargeted(recorded, gains)
    assert made.tracking < 1e-9
    assert torch.equal(made.episodes.states, recorded.states)
    left = task.displaced(made.episodes, gains, 1e-4, 5)
    assert left.shape == (4, 5)
    if name == "reach":
        loop = task.loop(gains)
        shift = torch.zeros(6, dtype=torch.float64)
        shift[:2] = 1e-4 / math.sqrt(2)
        expected = (loop.C @ torch.linalg.matrix_power(loop.A, 5) @ shift).norm()
        assert left[:, -1].tolist() == pytest.approx([float(expected)] * 4, rel=1e-6)


def test_validation_errors_by_hand():
    job = ServoJob("reach", 4.0, 1.0, 0, 5, 1, 1)
    shown, held_out, _ = shown_of(job)
    assert (len(shown), len(held_out)) == (4, 1)

    class Last:
        """Plans what was demonstrated at the newest observation, held."""

        class spec:
            n_obs_steps = 2

        def plan(self, window, *, rng):
            from holdfast.types import PrimitiveControllers

            state = window.state[:, -1]
            row = (held_out.states[:, None] == state).all(-1).double().argmax(0)
            held = held_out.actions[row][:, None].expand(-1, 4, -1)
            return PrimitiveControllers.open_loop(held, held.new_zeros(*held.shape[:2], 6))

    found = target_errors(Last(), held_out, 2)
    steps = held_out.actions[1:] - held_out.actions[:-1]
    assert torch.allclose(found, steps.square().mean(0) / 2)


def test_demonstrations_of_different_seeds_differ_and_servos_share_them():
    one, other = (ServoJob("reach", 1.0, ratio, 0, 5, 1, 1) for ratio in (0.5, 2.0))
    assert torch.equal(shown_of(one)[0].states, shown_of(other)[0].states)
    assert not torch.equal(shown_of(one)[0].actions, shown_of(other)[0].actions)
    later = ServoJob("reach", 1.0, 0.5, 1, 5, 1, 1)
    assert not torch.equal(shown_of(one)[0].states, shown_of(later)[0].states)


class TestRankings:
    def test_spearman_by_hand(self):
        x = torch.tensor([[10.0, 20.0, 30.0, 40.0]]).numpy()
        # differences of ranks 0, 1, −1, 0: 1 − 6 · 2 / (4 · 15)
        assert spearman(x, torch.tensor([[1.0, 3.0, 2.0, 4.0]]).numpy())[0] == pytest.approx(0.8)
        # ties share the rank 1.5: covariance 4.5, variances 5 and 4.5
        tied = spearman(x, torch.tensor([[1.0, 1.0, 2.0, 3.0]]).numpy())[0]
        assert tied == pytest.approx(4.5 / math.sqrt(5 * 4.5))
        assert math.isnan(spearman(x, torch.ones(1, 4).numpy())[0])

    def test_a_perfect_predictor_is_better_than_a_reversed_one(self):
        failure = torch.rand(3, 9, dtype=torch.float64, generator=stream(4, "test servo")).sort(dim=1).values
        order = torch.arange(1.0, 10.0).expand(3, 9)
        found = ranking(order, 1 / order, failure)
        assert (found.correlation.mean, found.correlation.high) == (pytest.approx(1.0), pytest.approx(1.0))
        assert found.gain.mean == pytest.approx(2.0)
        assert found.gain.low == pytest.approx(2.0)

    @pytest.mark.parametrize("shape", [(3, 4), (1, 9)])
    def test_few_servos_or_a_single_seed_have_no_interval(self, shape):
        found = ranking(torch.rand(shape) + 1, torch.rand(shape) + 1, torch.rand(shape))
        assert not found.correlation.has_interval


def made_up(seeds=3):
    """Scores that fall with the stiffness and rise with the damping ratio; a loss that does the reverse."""
    jobs, found = [], []
    for seed in range(seeds):
        for stiffness in (1.0, 4.0, 16.0):
            for ratio in (0.5, 1.0, 2.0):
                jobs.append(ServoJob("reach", stiffness, ratio, seed, 20, 800, 4))
                share = (ratio / stiffness) / 2
                score = [share, share * 0.9, share * 0.8, share * 0.7 + 0.01 * seed]
                found.append(
                    [
                        Cell(executed, [float(value > 0.75) for value in score], score, share, share / 10, 1e-15, 0.5,
                             1 / share, 1 / share, 0.5, 2.0)
                        for executed in (4, 1)
                    ]
                )  # fmt: skip
    return groups_of(jobs, found)


def test_rows_and_pairs_by_hand():
    groups = made_up()
    rows = {(row["executed"], row["stiffness"], row["ratio"]): row for row in rows_of(groups)}
    # (1 + 0.9 + 0.8 + 0.7) / 4, and a fourth of the mean of 0, 0.01 and 0.02
    assert rows[4, 1.0, 2.0]["score"] == pytest.approx(3.4 / 4 + 0.01 / 4)
    assert rows[4, 1.0, 2.0]["success"] == pytest.approx(0.75)
    assert rows[4, 16.0, 0.5]["loss"] == pytest.approx(1 / 64)
    pairs = {(row["executed"], row["against"]): row for row in comparisons_of(groups)}
    worst = pairs[4, "stiff, underdamped"]
    assert worst["difference"] == pytest.approx(3.4 / 4 * (1 - 1 / 64))
    assert worst["seeds_in_favour"] == 3
    assert worst["loss_ratio"] == pytest.approx(64.0)
    # geometric mean of the eight others: the product of all nine is (1/8)⁹, and one of them is 1
    assert pairs[1, "the other servos"]["relative_loss_ratio"] == pytest.approx(8 ** (9 / 8))
    ranked = {(row["executed"], row["predictor"]): row for row in rankings_of(groups)}
    assert ranked[4, "variance"]["correlation"] == pytest.approx(1.0)
    assert ranked[4, "loss"]["correlation"] == pytest.approx(-1.0)
    assert ranked[4, "variance"]["gain"] == pytest.approx(2.0)


def test_corners_need_a_grid():
    assert set(corners_of([(1.0, 0.5), (4.0, 2.0)])) == {"compliant, underdamped", "stiff, overdamped"}


def test_the_page_answers_the_claims(tmp_path):
    groups = made_up()
    found = servo_result(rows_of(groups), comparisons_of(groups), rankings_of(groups))
    told = {verdict.claim: verdict for verdict in found.verdicts}
    best, higher, ranks = (
        next(verdict for claim, verdict in told.items() if claim.startswith(start))
        for start in ("Compliant, overdamped servos make", "The validation loss of", "Amplification times")
    )
    assert (best.holds, higher.holds, ranks.holds) == ("yes", "yes", "yes")
    assert "× 64" not in best.told
    assert "× 10.37" in higher.told
    assert "ρ = +1.00" in ranks.told
    alone = next(verdict for claim, verdict in told.items() if claim.startswith("The validation loss, in"))
    assert alone.holds == "no"
    stored, figure, page = write_study(tmp_path, "servo", found, preset="quick", seconds=0.0)
    assert figure.name == "servo-reach.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Rank correlation with failure" in page.read_text()
    plain = json.loads(stored.read_text())
    assert {row["metric"] for row in plain["rows"] if row["kind"] == "comparison"} == {
        "score", "loss_ratio", "relative_loss_ratio",
    }  # fmt: skip
    assert len(plain["rankings"]) == 2 * 6


def test_the_plan_names_each_training_once(tmp_path):
    jobs = Servo(tasks=("reach", "quadrotor2d", "reach"), seeds=2).jobs()
    assert len(jobs) == len({job.key for job in jobs}) == 2 * 2 * 9
    assert [job.seed for job in jobs] == [0] * 18 + [1] * 18
    assert len({shape_of(job) for job in jobs}) == 2
    assert len(Servo(tasks=("pusht",), data=tmp_path, preset="full", seeds=1).jobs()) == 25
    assert between((1.0, 4.0), False) == (1.0, 4.0)
    with pytest.raises(RecipeError, match="seeds of at least 1"):
        Servo(seeds=0, tasks=("reach",)).jobs()
    with pytest.raises(RecipeError, match="demonstrations of Push-T, which --tasks leaves out"):
        Servo(tasks=("reach",), data=tmp_path).jobs()


def test_other_data_are_refused(tmp_path):
    from holdfast.data import write

    write(Episodes.of(walk(), dt=0.1), tmp_path / "walk")
    with pytest.raises(DataError, match="expected demonstrations of Push-T"):
        pusht_demonstrations(str(tmp_path / "walk"))


def test_end_to_end(tmp_path, stage, in_process):
    found = Servo(tasks=("reach",), seeds=1, steps=2, starts=2).run(tmp_path, stage)
    assert {row["arm"] for row in found.rows if row["kind"] == "measurement"} == {
        f"k_p {k}, ζ {z}" for k in ("1", "4", "16") for z in ("0.5", "1", "2")
    }
    assert len(list((tmp_path / "jobs").iterdir())) == 9
    again = Servo(tasks=("reach",), seeds=1, steps=2, starts=2).run(tmp_path, stage)
    assert again.rows == found.rows


@pytest.mark.skipif(not DATA.exists(), reason=f"needs {DATA}")
def test_pusht_end_to_end():
    pytest.importorskip("gym_pusht")
    ((job, cells),) = list(work([ServoJob("pusht", 25.0, 2.0, 0, 206, 2, 1, str(DATA))]))
    assert [cell["executed"] for cell in cells] == [8, 1]
    made = Cell(**cells[0])
    assert 0 < made.tracking < 0.5
    assert 0 <= made.score[0] <= 1
    assert 0 < made.remaining < 1
    assert job.stiffness == 25.0


def test_the_recorded_forces_come_back_through_the_environment():
    """An environment under a servo does with the recomputed targets what it did with the forces."""
    task, gains = task_named("reach"), Gains(16.0, 2.0)
    made = task.retargeted(task.demonstrations(3, 1), gains).episodes
    targets = iter(made.actions.reshape(3, -1, 2).unbind(1))

    class Recorded:
        def reset(self, seed=None): ...

        def act(self, observation, state):
            return next(targets)

    found = rollout(Recorded(), task.environment(gains, 3), starts=made.states.reshape(3, -1, 6)[:, 0])
    assert torch.allclose(found.trajectory.states[:, :-1], made.states.reshape(3, -1, 6), atol=1e-9)
