"""Study real-time: seams and late answers by hand, rows and verdicts by hand, a tiny run and its continuation."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from holdfast.cli.demonstrate import Demonstrate
from holdfast.data import MinMax, read, width
from holdfast.envs import FIRST_UNTOUCHED_SEED, Rollout, make_environment
from holdfast.errors import DataError, RecipeError
from holdfast.learn import default_recipe, fit, load_recipe, prepare
from holdfast.models import Flow, Regression
from holdfast.nn import ResidualMlp
from holdfast.policy import Planner, Policy, build_model
from holdfast.policy.realtime import Delay, Naive, RealTime
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.studies.engine.result import write_study
from holdfast.studies.real_time.command import RealTime as Study
from holdfast.studies.real_time.command import run_real_time
from holdfast.studies.real_time.disrupted import Disrupted
from holdfast.studies.real_time.job import RealTimeJob, recipe_of
from holdfast.studies.real_time.page import real_time_result
from holdfast.studies.real_time.plan import Cell, ways_of
from holdfast.studies.real_time.seams import Seams, distances
from holdfast.studies.real_time.summary import Place, comparisons_of, rows_of
from holdfast.studies.real_time.tasks import (
    FIRST_SEED,
    answered_late,
    demonstrations_of,
    dynamics_of,
    flown,
    of_one_side,
    record,
)
from holdfast.studies.real_time.verdicts import real_time_verdicts
from holdfast.types import Episodes, Observation, PrimitiveControllers, Trajectory


def job(task="fork", arm="regression", **options):
    return RealTimeJob(task, arm, **{"seed": 0, "updates": 2, "starts": 3, "delays": ("0", "8"), **options})


def planner_of(one):
    spec = recipe_of(one).policy
    size, n = width(spec.codec, spec.n_states, spec.n_actions), spec.n_observed
    ends = [MinMax(low=-torch.ones(k).double(), high=torch.ones(k).double()) for k in (n, size)]
    return Planner(spec, build_model(spec, seed=0).eval(), *ends)


def test_every_family_has_the_ways_it_can_do():
    found = {
        arm: set(ways_of(planner_of(job(arm=arm)), planner_of(job(arm=arm)), job(arm=arm)))
        for arm in ("flow", "flow-prefix", "mixture", "streaming", "regression")
    }
    always = {"wait", "naive", "ensemble", "bid", "forward"}
    assert found["flow"] >= always | {"guided", "guided-no-jacobian"}
    assert "conditioned" in found["mixture"]
    assert "guided" not in found["mixture"]
    assert found["streaming"] >= always | {"streaming", "trained", "guided"}
    assert found["flow-prefix"] == found["flow"] | {"trained"}
    # for these, conditioned is what trained is
    assert not (found["streaming"] | found["flow-prefix"]) & {"conditioned"}
    assert not found["regression"] & {"guided", "conditioned", "streaming"}


@pytest.mark.parametrize(("task", "size"), [("fork", 4), ("quadrotor2d", 6)])
def test_the_dynamics_are_those_of_the_task_in_still_air(task, size):
    """From a Taylor step that is exact to the order of dt² for the place, and to dt for its rate."""
    state = 0.1 * torch.randn(5, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    action = torch.tensor([[0.3, 7.0]]).double().expand(5, 2)
    seen, moved = dynamics_of(task).following(Observation(state=state), state, action)
    assert torch.equal(seen.state, moved)
    half = size // 2
    assert float((moved[:, :half] - state[:, :half] - 0.05 * state[:, half:]).abs().max()) < 0.05**2 * 20


class Parabolas:
    """Plans of 16 actions that are the squares of their numbers, over 1000."""

    actions = (torch.arange(16.0).double().square() / 1000)[:, None].expand(16, 2)

    def plan(self, window, *, rng, prefix=None):
        return PrimitiveControllers.open_loop(self.actions.expand(3, 16, 2), torch.zeros(3, 16, 4).double())


def test_the_action_noise_by_hand():
    """The noise is a share of the plan's steps, summed along the plan, and mostly that of the last plan."""
    policy = Policy(planner_of(job()), realtime=RealTime(Delay(0), Naive()))
    policy.executor.plans = Parabolas()
    noisy = Disrupted(policy, strength=0.5)
    noisy.reset(0)
    seen = Observation(state=torch.zeros(3, 4).double())
    acted = torch.stack([noisy.act(seen, seen.state) for _ in range(10)], 1)
    draws = stream(0, "disruption")
    sizes = [
        (0.5 + torch.rand(3, 1, 2, generator=draws, dtype=torch.float64))
        * (2.0 * torch.randint(2, (3, 1, 2), generator=draws) - 1)
        for _ in range(2)
    ]
    assert float(torch.cat(sizes).abs().min()) >= 0.5
    # the sum of the steps up to k is the square of k + 1
    after = Parabolas.actions[1:9]
    torch.testing.assert_close(acted[:, :8], Parabolas.actions[:8] + 0.5 * sizes[0] * after)
    mixed = 0.9 * sizes[0] + 0.1 * sizes[1]
    torch.testing.assert_close(acted[:, 8:], Parabolas.actions[:2] + 0.5 * mixed * after[:2])


def test_late_demonstrations_pair_each_action_with_an_old_state():
    ramp = torch.arange(10.0).double()[None, :, None]
    shown = Episodes.of(Trajectory(actions=ramp[:, :9], states=100 + ramp), dt=0.1, system="x")
    late = answered_late(shown, 3)
    assert late.lengths.tolist() == [6]
    assert (late.states[:, 0] - 100 + 3).tolist() == late.actions[:, 0].tolist()


def test_demonstrations_of_one_side(tmp_path):
    record("fork", tmp_path, 6)
    both = demonstrations_of("fork", tmp_path)
    left = of_one_side(both)
    assert (len(left), sorted(both.meta["modes"])) == (3, [0, 0, 0, 1, 1, 1])
    ends = [float(left.trajectory(number).states[-1, 0]) for number in range(3)]
    assert max(ends) < 0


def test_a_seam_is_measured_where_another_plan_begins():
    """Actions 0 … of a ramp with step 1 in the demonstrations; a plan of another level begins every 4 steps."""
    ramp = torch.arange(9.0).double()[None, :, None]
    shown = Episodes.of(Trajectory(actions=ramp[:, :8], states=ramp), dt=0.1, system="x")
    measure = Seams.of(shown)
    assert measure.step == pytest.approx(1 / float(ramp[0, :8].std()))
    assert distances(torch.tensor([[[0.0], [3.0]]]), torch.tensor([2.0])).item() == 1.5

    planner = planner_of(job())
    watch = measure.watch(Policy(planner, realtime=RealTime(Delay(2))))
    watch.since = [torch.tensor([begin, 0]) for begin in (0, 0, 0, 3, 3)]

    none = torch.zeros(2, 5, dtype=torch.bool)
    found = Rollout(
        trajectory=Trajectory(
            actions=torch.tensor([[0.0, 1, 2, 7, 8]] * 2).double()[..., None], states=torch.zeros(2, 6, 1).double()
        ),
        observations=None,
        rewards=torch.zeros(2, 5).double(),
        over=none,
        lost=none,
        terminated=none[:, 0],
        truncated=none[:, 0],
        success=none[:, 0],
        clipped=torch.zeros(2).double(),
    )
    assert watch.jumps(found) == [pytest.approx(5.0), None]


def test_from_one_demonstration_to_the_next_is_no_step():
    """Two ramps with steps of 1, the second one at another level."""
    ramps = torch.stack([torch.arange(8.0), 100 + torch.arange(8.0)])[..., None].double()
    shown = Episodes.of(Trajectory(actions=ramps, states=torch.zeros(2, 9, 1).double()), dt=0.1, system="x")
    assert Seams.of(shown).step == pytest.approx(1 / float(ramps.std()))


def cell(way, delay, solved, seam=1.0, score=()):
    return Cell(way, delay, solved, list(score), [seam] * len(solved), [1.0] * len(solved))


def test_rows_and_differences_by_hand():
    many, half = [True] * 40, [True, False] * 20
    cells = {
        Place("fork", "flow", "naive", "2"): [cell("naive", "2", half), cell("naive", "2", half)],
        Place("fork", "flow", "guided", "2"): [cell("guided", "2", many, 3.0), cell("guided", "2", many)],
        Place("fork", "flow", "ensemble", "2"): [cell("ensemble", "2", many), cell("ensemble", "2", many)],
    }
    naive, guided, _ = rows_of(cells)
    assert (naive["solved"], naive["left"], naive["right"], naive["seeds"]) == (0.5, 0, 40, 2)
    assert guided["seam"] == 2.0
    assert guided["solved_low"] == pytest.approx(0.025 ** (1 / 80))
    found = {(item["arm"], item["against"]): item for item in comparisons_of(cells)}
    better, same = found["flow, guided", "flow, naive"], found["flow, guided", "flow, ensemble"]
    assert (better["difference"], better["side"], better["seeds_in_favour"]) == (0.5, "above", 2)
    # 80 equal pairs: an exact 95 % bound of the share of unequal ones is 1 − 0.025^(1/80)
    assert (same["difference"], same["difference_high"]) == (0.0, pytest.approx(1 - 0.025 ** (1 / 80)))
    naive_claim, ensemble_claim = real_time_verdicts(rows_of(cells), list(found.values()))
    assert (naive_claim.holds, ensemble_claim.holds) == ("yes", "open")


def test_on_push_t_scores_are_compared_and_shown():
    """Solved in all episodes or none, but scores 0.9 and 0.8."""
    cells = {
        Place("pusht", "flow-prefix", "naive", "4"): [cell("naive", "4", [False] * 20, score=[0.8] * 20)],
        Place("pusht", "flow-prefix", "guided", "4"): [cell("guided", "4", [False] * 20, score=[0.8, 1.0] * 10)],
    }
    rows, (paired,) = rows_of(cells), comparisons_of(cells)
    assert [row["score"] for row in rows] == pytest.approx([0.8, 0.9])
    assert (paired["difference"], paired["side"]) == (pytest.approx(0.1), "above")
    found = real_time_result(rows, [paired], recipes={})
    assert {row["metric"] for row in found.rows if row["kind"] == "comparison"} == {"score"}
    assert [len(table.rows) for table in found.tables if table.heading.startswith("Push-T: score")] == [2]


def test_the_plan():
    quick = Study(tasks=("fork", "quadrotor2d")).jobs()
    assert len({one.key for one in quick}) == len(quick) == 2 * (9 + 3)
    assert {int(one.seed) for one in quick[:12]} == {0}
    assert "8" in quick[0].delays
    assert quick[0].starts == 200


def test_policies_are_flown_from_starts_that_played_no_part_in_a_choice():
    assert FIRST_SEED == FIRST_UNTOUCHED_SEED
    policy = Policy(planner_of(job()))
    env = make_environment("fork", 3)
    first = flown("fork", policy, count=3, seed=0).rollout.trajectory.states[:, 0]
    torch.testing.assert_close(first, env.reset(range(FIRST_SEED, FIRST_SEED + 3)).state)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run folder of a policy of Avoid, trained for two updates on demonstrations of the scripted expert."""
    folder = tmp_path_factory.mktemp("stored")
    Demonstrate("avoid", folder / "avoid.npz", episodes=24).run()
    episodes = read(folder / "avoid.npz")
    recipe = default_recipe(episodes, gains=False)
    policy = replace(recipe.policy, model=Regression(ResidualMlp(width=8, blocks=1)))
    training = Training(steps=2, batch_size=8, warmup_steps=1, save_every=2)
    fit(replace(recipe, policy=policy, training=training), prepare(recipe, episodes), folder / "run")
    return folder


def test_the_policy_of_a_run_takes_the_place_of_a_training(stored, tmp_path, monkeypatch, in_process, stage):
    monkeypatch.setenv("HOLDFAST_DATA", str(stored / "data"))
    (stored / "data/avoiding").mkdir(parents=True)
    (stored / "avoid.npz").rename(stored / "data/avoiding/avoiding.npz")
    study = Study(tasks=("avoid",), stored=(stored / "run",), human_delays=("0", "2"), human_starts=2)
    (only,) = study.jobs()
    assert (only.task, only.arm, only.delays) == ("avoid", "run", ("0", "2"))
    found = study.run(tmp_path, stage)
    assert {(row["arm"], row["way"], row["delay"]) for row in found.rows if row["kind"] == "measurement"} == {
        ("run", "naive", "0"),
        ("run", "naive", "2"),
    }


def test_a_run_of_another_task_is_refused(stored, tmp_path):
    plain = json.loads((stored / "run/recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps(plain | {"environment": "fork"}))
    with pytest.raises(
        RecipeError,
        match=r"is a policy of fork; --run takes policies of the environments pusht and avoid. Remove it",
    ):
        Study(stored=(tmp_path,)).jobs()


def test_a_run_that_sees_pictures_is_refused_before_any_work(tmp_path, monkeypatch):
    def pictured(folder):
        return SimpleNamespace(environment="pusht-pixels", policy=SimpleNamespace(vision="cameras"))

    monkeypatch.setattr("holdfast.studies.real_time.command.load_recipe", pictured)
    with pytest.raises(RecipeError, match=r"sees pictures, .* measure it with: holdfast evaluate .* --delay D"):
        Study(stored=(tmp_path,)).jobs()


def test_missing_demonstrations_of_people_are_found_before_any_others_are_recorded(tmp_path, monkeypatch, stage):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "none"))
    study = Study(tasks=("fork", "pusht"), arms=("flow-prefix",), seeds=1)
    with pytest.raises(DataError, match=r"HOLDFAST_DATA to the folder .*, or leave the task out: give --tasks without"):
        study.run(tmp_path, stage)
    assert not (tmp_path / "data").exists()


def test_delays_that_a_run_has_not_learned_are_refused(stored, monkeypatch):
    def learned(folder):
        recipe = load_recipe(stored / "run")
        policy = replace(recipe.policy, model=Flow(ResidualMlp(width=8, blocks=1), clean_prefix=True))
        return replace(recipe, policy=policy, training=replace(recipe.training, prefix_delays=(0, 1)))

    monkeypatch.setattr("holdfast.studies.real_time.job.load_recipe", learned)
    with pytest.raises(RecipeError, match=r"continue 0 or 1 steps of a running plan .*, not 2"):
        Study(stored=(stored / "run",), human_delays=("0", "2")).jobs()


def test_a_small_run_and_again(tmp_path, in_process, stage):
    record("fork", tmp_path, 4)
    record("fork", tmp_path, 4)  # not again
    jobs = [
        job(arm="streaming", delays=("8",), starts=2),
        job(arm="regression", delays=("0-8",), starts=2),
        job(arm="one-step", delays=(), lag=4, starts=2),
    ]
    found = run_real_time(jobs, tmp_path, stage)
    assert stage.done["training runs"] == [0, 1, 2, 3]
    ways = {row["way"] for row in found.tables[0].rows if row["arm"] == "streaming"}
    assert {"guided", "streaming", "forward"} <= ways
    assert run_real_time(jobs, tmp_path, stage).rows == found.rows
    assert stage.done["training runs"] == [3]
    _, *figures, page = write_study(tmp_path, "real-time", found, preset="quick", seconds=0.0)
    assert [figure.name for figure in figures] == ["real-time.png", "real-time-seams.png"]
    assert "BID 0.870" in page.read_text()


def test_delays_that_do_not_fit_are_refused_before_any_work():
    with pytest.raises(RecipeError, match=r"delays of at most 8 steps, .* got 9"):
        Study(delays=("0", "0-9")).jobs()
