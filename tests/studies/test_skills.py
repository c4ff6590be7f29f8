"""Study skills: rows and pairs by hand, equal budgets, and a run from end to end."""

import json

import pytest

from holdfast.data import Waypoints
from holdfast.errors import RecipeError
from holdfast.studies.engine.result import write_study
from holdfast.studies.skills.command import Skills
from holdfast.studies.skills.job import (
    LEVELS,
    Cell,
    SkillsJob,
    demonstrations,
    expert_skill,
    recipes_of,
    selector_recipe,
    true_stage,
    work,
)
from holdfast.studies.skills.page import skills_result
from holdfast.studies.skills.plan import comparisons_of, confusion_rows, groups_of, rows_of

ARMS = ("high", "high, naive switch", "high, perfect selector", "high, perfect skills")


def cell(arm, success, jumps=(None, None), counts=None):
    return Cell(arm, success, [3 * solved for solved in success], list(jumps), 0.5, counts, 2.0)


def made_up():
    jobs = [SkillsJob(level, seed, 10, 100, 2) for seed in (0, 1) for level in ("low", "high")]
    counts = [[8, 2, 0], [0, 10, 0], [0, 0, 10]], [[6, 4, 0], [0, 10, 0], [0, 0, 10]]
    found = [
        [cell("low", [0.0, 0.0])],
        [cell("high", [1.0, 0.0], (1.0, 3.0), counts[0]), cell("high, naive switch", [1.0, 0.0], (4.0, 4.0))],
        [cell("low", [1.0, 0.0])],
        [cell("high", [1.0, 1.0], (1.0, None), counts[1]), cell("high, naive switch", [0.0, 1.0], (None, 2.0))],
    ]
    return groups_of(jobs, found)


def test_rows_and_pairs_by_hand():
    rows = {row["arm"]: row for row in rows_of(made_up())}
    assert {arm: row["success"] for arm, row in rows.items()} == {"low": 0.25, "high": 0.75, "high, naive switch": 0.5}
    assert rows["high"]["parts"] == pytest.approx(2.25)
    # means over the episodes with switches: 2 and 1
    assert rows["high"]["jump"] == pytest.approx(1.5)
    assert "jump" not in rows["low"]
    assert rows["high"]["selector_accuracy"] == pytest.approx((28 + 26) / 60)
    pairs = {(row["arm"], row["against"]): row for row in comparisons_of(made_up())}
    assert pairs["high", "low"]["difference"] == pytest.approx(0.5)
    assert pairs["high", "low"]["seeds_in_favour"] == 2
    # 2 / 4 and 1 / 2
    assert pairs["high", "high, naive switch"]["jump_ratio"] == pytest.approx(0.5)
    assert ("middle", "low") not in pairs
    matrix = confusion_rows(made_up())
    assert [row["label"] for row in matrix] == ["fetch", "deliver", "ring"]
    assert matrix[0]["chosen_deliver"] == pytest.approx(0.3)
    assert matrix[0]["steps"] == 20


def test_the_page_answers_the_questions(tmp_path):
    groups = made_up()
    found = skills_result(rows_of(groups), comparisons_of(groups), confusion_rows(groups))
    claims = {verdict.claim: verdict for verdict in found.verdicts}
    assert "+0.500" in claims["Skills with a cloned selector solve more episodes than forces."].told
    assert not any("way-points" in claim.lower() for claim in claims)
    smoother = claims["Handing the chunk in force to the next skill makes switches smoother."]
    assert (smoother.holds, "× 0.50" in smoother.told) == ("yes", True)
    stored, figure, page = write_study(tmp_path, "skills", found, preset="quick", seconds=0.0)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Choices of the selector" in page.read_text()
    plain = json.loads(stored.read_text())
    assert plain["confusion"][0]["chosen_deliver"] == pytest.approx(0.3)
    ratios = [row for row in plain["rows"] if row["metric"] == "jump_ratio"]
    assert [row["difference"] for row in ratios] == [pytest.approx(0.5)]


def test_budgets_are_equal():
    low, middle, high = (recipes_of(SkillsJob(level, 3, 200, 6000, 10)) for level in LEVELS)
    (forces,), (points,) = low.values(), middle.values()
    assert forces.training == points.training
    assert isinstance(points.policy.codec, Waypoints)
    assert {recipe.policy for recipe in high.values()} == {forces.policy}
    updates = sum(recipe.training.steps for recipe in high.values())
    assert updates + selector_recipe(SkillsJob("high", 3, 200, 6000, 10)).updates == forces.training.steps == 6000
    assert [recipe.preparation.segments for recipe in high.values()] == ["skill=fetch", "skill=deliver", "skill=ring"]
    assert {recipe.seed for recipe in (forces, points, *high.values())} == {3}


def test_demonstrations_for_training_and_for_judging_differ():
    one, other, again = (demonstrations(3, 0, purpose) for purpose in ("training", "held out", "training"))
    assert one is again
    assert not bool((one.states[0, :2] == other.states[0, :2]).any())


def test_the_plan_names_each_training_once():
    jobs = Skills(levels=("low", "high", "low"), seeds=2).jobs()
    assert [(job.level, job.seed) for job in jobs] == [("low", 0), ("high", 0), ("low", 1), ("high", 1)]
    assert len({job.key for job in jobs}) == 4
    with pytest.raises(RecipeError, match="seeds of at least 1"):
        Skills(seeds=0).jobs()


def test_perfect_parts_alone_solve_the_task():
    """The expert's skills and the true stage: what the study calls perfect is."""
    from holdfast.envs import make_environment, rollout
    from holdfast.envs.courier import SKILLS
    from holdfast.policy.skills import Skill, SkillLibrary, SkillPolicy

    library = SkillLibrary(tuple(Skill(name, expert_skill(name)) for name in SKILLS))

    def planner(observation, history):
        names = ("x", "y", "vx", "vy", "parcel_dx", "parcel_dy", "place_dx", "place_dy", "bell_dx", "bell_dy", "loaded")
        return true_stage({name: observation[str(place)] for place, name in enumerate(names)}, history)

    found = rollout(SkillPolicy(library, planner, every=1), make_environment("courier", 20), starts=range(20))
    assert bool(found.success.all())


def test_end_to_end(tmp_path, stage, in_process):
    cells = [Cell(**one) for level in LEVELS for one in work(SkillsJob(level, 0, 6, 20, 2))]
    assert [one.arm for one in cells] == ["low", "middle", *ARMS]
    assert all(len(one.success) == len(one.stage) == len(one.jump) == 2 for one in cells)
    assert all((one.confusion is None) != one.arm.startswith("high") for one in cells)
    found = Skills(levels=("low",), seeds=1, demos=4, steps=4, starts=2).run(tmp_path, stage)
    assert [row["arm"] for row in found.rows if row["metric"] == "success"] == ["low"]
