"""Study toy: the rate, the promise with its constant, the exact probability by enumeration, a small run."""

import pytest
import torch

from holdfast.cli.study import run_study
from holdfast.errors import OutputError, RecipeError
from holdfast.studies.engine.result import write_study
from holdfast.studies.toy.command import Toy
from holdfast.studies.toy.learners import C, ToyPolicy, bounded_probability
from holdfast.studies.toy.page import toy_result
from holdfast.studies.toy.plan import ToyPlan, run_toy
from holdfast.types import Observation

SMALL = ToyPlan(epsilons=(0.001, 0.003, 0.01), times=(5, 40), runs=2000)


@pytest.fixture(scope="module")
def found():
    return run_toy(SMALL)


def test_the_mean_learner_grows_by_1_05(found):
    growth = found.growths["mean"]
    assert growth.kind == "exponential"
    assert growth.rate.mean == pytest.approx(1.05, abs=1e-4)
    assert growth.rate.low == pytest.approx(1.05, abs=2e-3) == growth.rate.high


def test_the_mean_learner_by_hand(found):
    # a geometric series of errors
    assert found.means["mean"][3].mean == pytest.approx(found.grown_eps * (1 + 1.05 + 1.05**2))


def test_the_bernoulli_learner_stays(found):
    assert found.growths["bernoulli"].kind == "bounded"
    assert found.growths["rounded"].kind == "bounded"


def test_probability_by_enumeration():
    """Over all sequences of mistakes of four steps, without the product formula."""
    eps, time = 0.02, 4
    total = 0.0
    for code in range(2**time):
        x, chance, bounded = 0.0, 1.0, True
        for step in range(time):
            mistake, p = code >> step & 1, min(1.0, 0.15 * x)
            chance *= p if mistake else 1 - p
            x = 0.9 * x + mistake + eps
            bounded &= x <= 10 * eps
        total += chance * bounded
    assert bounded_probability(eps, time) == pytest.approx(total)


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.05])
def test_the_promise_holds_exactly_with_c_and_with_no_smaller_one(eps):
    times = range(1, 400)
    assert all(bounded_probability(eps, time) >= 1 - C * time * eps for time in times)
    assert pytest.approx(0.15 / 0.1) == C
    if eps == 1e-5:
        assert any(bounded_probability(eps, time) < 1 - 0.96 * C * time * eps for time in times)


def test_every_cell_lies_over_the_promise_and_about_the_exact_value(found):
    rows = [row for row in found.rows if row["promised"] is not None]
    assert len(rows) == 2 * 3 * 2
    for row in rows:
        assert row["holds"]
        # five standard deviations of a share
        spread = (row["exact"] * (1 - row["exact"]) / SMALL.runs) ** 0.5
        assert abs(row["bounded"] - row["exact"]) < 5 * spread + 1e-12
        assert row["bound"] == pytest.approx(C * (row["time"] - 1) * row["eps"])


def test_smoothing_the_rounded_learner_gives_the_bernoulli_one():
    policy = ToyPolicy("smoothed rounded", 0.0)
    for x in (0.0, 1.0, 4.0, 7.0):
        share = float(policy.drawn(torch.full((20_000,), x, dtype=torch.float64)).mean())
        assert share == pytest.approx(min(1.0, 0.15 * x), abs=0.02)
    assert ToyPolicy("rounded", 0.0).drawn(torch.tensor([6.6, 6.7, 30.0]).double()).tolist() == [0.0, 1.0, 1.0]


def test_all_learners_err_alike_on_the_data():
    state = torch.zeros(5, 1, dtype=torch.float64)
    for learner in ("mean", "bernoulli", "rounded", "smoothed rounded"):
        assert ToyPolicy(learner, 0.01).act(Observation(state=state), state).flatten().tolist() == [0.01] * 5


def test_bad_plans():
    with pytest.raises(RecipeError, match=r"above 0 and below 0\.1"):
        ToyPlan(epsilons=(20.0,))
    with pytest.raises(RecipeError, match="at least 10 runs"):
        ToyPlan(runs=5)


def test_page_and_result(found, tmp_path):
    result = toy_result(found)
    written, *figures, page = write_study(tmp_path, "toy", result, preset="quick", seconds=0.0)
    assert [figure.name for figure in figures] == ["toy-distance.png", "toy-bounded.png", "toy-smoothing.png"]
    text = page.read_text()
    assert all(verdict.claim in text for verdict in result.verdicts)
    assert "by a factor of 1.0500 per step" in text
    assert "none of 12 cells is below it" in result.verdicts[1].seen
    assert [verdict.holds for verdict in result.verdicts] == ["yes", "yes", "yes"]
    assert '"c": 1.5' in written.read_text()
    assert Toy(preset="full").plan().runs > Toy().plan().runs


def test_a_finished_study_is_written_again_on_request(tmp_path):
    command = ["toy", "--runs", "20", "--out", str(tmp_path / "toy")]
    run_study(command)
    with pytest.raises(OutputError, match="--overwrite"):
        run_study(command)
    run_study([*command, "--overwrite"])
    assert (tmp_path / "toy" / "result.json").is_file()
