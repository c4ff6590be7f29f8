"""Study pitfalls: the pair cannot be told apart, exactly; both are stable; no linear law is safe; a small run."""

import math
from dataclasses import replace

import pytest
import torch

from holdfast.control.contraction_rates import contraction_metric
from holdfast.control.stability import operator_norm
from holdfast.control.systems.indistinguishable import SIGNS, IndistinguishablePair
from holdfast.errors import RecipeError
from holdfast.seeding import stream
from holdfast.studies.engine.result import write_study
from holdfast.studies.pitfalls.command import Pitfalls, run_trainings
from holdfast.studies.pitfalls.page import pitfalls_result
from holdfast.studies.pitfalls.plan import Checked, PitfallJob, deployments
from holdfast.studies.pitfalls.summary import comparisons_of, curves_of, rows_of

PAIR = IndistinguishablePair()
PLAIN = IndistinguishablePair(angle=0.0)


def test_demonstrations_are_equal_to_the_bit():
    """Run by the experts themselves; without the turn no rounding enters."""
    states = PLAIN.initial_states(7, rng=stream(0, "test"))
    seen = list[torch.Tensor]()
    for sign in SIGNS:
        x, record = states, list[torch.Tensor]()
        for _ in range(30):
            u = x @ PLAIN.gain(sign).mT
            x = PLAIN.system(sign).step(x, u)
            record += [u, x]
        seen.append(torch.stack(record))
    assert torch.equal(seen[0], seen[1])
    shown = PLAIN.demonstrations(states, 30)
    torch.testing.assert_close(shown.actions[:, 5], seen[0][10], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(shown.states[:, 6], seen[0][11], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("sign", SIGNS)
def test_turned_demonstrations_are_the_experts(sign):
    shown = PAIR.demonstrations(PAIR.initial_states(5, rng=stream(0, "test")), 20)
    torch.testing.assert_close(shown.actions, shown.states[:, :-1] @ PAIR.gain(sign).mT, rtol=0, atol=1e-14)
    following = PAIR.system(sign).step(shown.states[:, :-1], shown.actions)
    torch.testing.assert_close(shown.states[:, 1:], following, rtol=0, atol=1e-14)
    assert float(PAIR.distance_from_data(shown.states).max()) < 1e-15
    # no coordinate is constant in them
    assert float(shown.states.flatten(0, 1).std(0).min()) > 0.1


@pytest.mark.parametrize("sign", SIGNS)
def test_open_loop_and_expert_contract_in_some_metric(sign):
    for loop in (PAIR.system(sign).A, PAIR.system(sign).A + PAIR.gain(sign)):
        metric = contraction_metric(loop)
        assert float(operator_norm(metric.transform_loops(loop))) < 0.91


@pytest.mark.parametrize("k", [-3.0, -1.2, -0.1, 0.0, 0.4, 1.2, 5.0])
def test_a_linear_law_that_is_exact_on_the_data_fails_in_one(k):
    law = torch.tensor([[k, -PLAIN.coupling], [0.3, PLAIN.decay]], dtype=torch.float64)
    radii = [float(torch.linalg.eigvals(PLAIN.system(sign).A + law).abs().max()) for sign in SIGNS]
    assert max(radii) >= PLAIN.rho - 1e-12


def test_pairs_that_would_not_be_stable_are_refused():
    for options in ({"rho": 1.0}, {"rho": 1.5}, {"coupling": 1.0}, {"decay": 1.0}):
        with pytest.raises(RecipeError, match="1 < rho < 2 coupling"):
            IndistinguishablePair(**options)


def test_the_plan():
    quick = Pitfalls().jobs()
    assert len(quick) == 6 * 5
    assert len({job.key for job in quick}) == len(quick)
    assert {job.family for job in quick} == {"regression", "diffusion"}
    assert Pitfalls(preset="full").jobs()[0].updates > quick[0].updates
    names = [name for job in Pitfalls(seeds=1).jobs() for name in deployments(job)]
    assert len(names) == len(set(names)) == 13
    (bounded,) = [way for job in quick[-15:] for name, way in deployments(job).items() if "bounded" in name][:1]
    # at q = 1 the expert acts by (−b, λ), turned by 45°
    act = [(-0.7 - 0.9) / math.sqrt(2), (-0.7 + 0.9) / math.sqrt(2)]
    assert bounded.action_high == pytest.approx([abs(value) for value in act])


def checked(arm, sign, cost, error=0.25, kind="bounded", step=10):
    return Checked(arm, sign, step, error, [cost, cost, 3 * cost], [0.0, cost], 0.0, kind, None)


def test_rows_by_hand():
    """Costs 4 and 1 of the worse system, of which the geometric mean is 2; root mean square error ½."""
    seeds = [
        [checked("a", 1, 0.1, step=0), checked("a", -1, 0.2, step=0), checked("a", 1, 4.0), checked("a", -1, 0.5)],
        [checked("a", 1, 0.1, step=0), checked("a", -1, 0.2, step=0), checked("a", 1, 0.5), checked("a", -1, 1.0)],
    ]
    (row,) = rows_of({"a": seeds})
    assert (row["cost"], row["cost_of_better"], row["amplification"]) == pytest.approx((2.0, 0.5, 4.0))
    assert row["cost_plus"] == pytest.approx(math.sqrt(2))
    assert row["cost_at_first"] == pytest.approx(0.2)
    # of six starts three cost more than 1 in one training (4, 4, 12), and one in the other (1, 1, 3)
    assert row["above_one"] == pytest.approx(4 / 6)
    halved = [[replace(one, peaks=[value / 2 for value in one.peaks]) for one in flights] for flights in seeds]
    (item,) = comparisons_of({"regression": seeds, "half": halved})
    assert (item["ratio"], item["ratio_low"], item["ratio_high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert item["side"] == "below"


def test_end_to_end_and_again(tmp_path, in_process, monkeypatch, stage):
    monkeypatch.setattr("holdfast.studies.pitfalls.plan.STARTS", 12)
    kinds = ("regression", 1, 0.0), ("regression", 8, 0.0), ("diffusion", 1, 0.3)
    jobs = [PitfallJob(*kind, 0, updates=2, steps=10) for kind in kinds]
    arms = run_trainings(jobs, tmp_path, stage)
    assert stage.done["training runs"] == [0, 1, 2, 3]
    rows, comparisons, curves = rows_of(arms), comparisons_of(arms), curves_of(arms)
    assert rows[0]["arm"] == "regression"
    assert len(rows) == 2 + 3 + 2
    assert len(comparisons) == len(rows) - 1
    assert curves[0]["updates"] == [0, 2]
    assert len(curves[0]["over_time"]) == 11
    assert run_trainings(jobs, tmp_path, stage) == arms
    found = pitfalls_result(rows, comparisons, curves, recipes={})
    _, *figures, page = write_study(tmp_path, "pitfalls", found, preset="quick", seconds=0.0)
    assert len(figures) == 3
    text = page.read_text()
    assert "2503.09722" in text
    assert "From the first weights to the last" in found.verdicts[0].seen
