"""The examination: on systems whose answer is known, the verdict is that answer."""

import json
import re
from dataclasses import replace

import pytest
import torch

from holdfast.analysis import Sweep, settings_of
from holdfast.analysis.diagnosis import Finding, diagnose, judgement, verdict
from holdfast.analysis.diagnosis.loops import loop_rates
from holdfast.analysis.diagnosis.page import write_diagnosis
from holdfast.control import scalar
from holdfast.data import Actions, MinMax
from holdfast.envs import PlainPolicy, SystemEnvironment, rollout
from holdfast.envs.gym import gym_environment
from holdfast.errors import DataError
from holdfast.evaluation import Estimate, FixedStarts
from holdfast.models import Flow, FlowSampler, Regression
from holdfast.nn import ResidualMlp
from holdfast.policy import (
    Coordinates,
    Execution,
    Planner,
    Policy,
    PolicyInterface,
    PolicySpec,
    build_model,
)
from holdfast.seeding import stream
from holdfast.types import Trajectory

STEPS = 60


def law(gain: float, offset: float = 0.0) -> PlainPolicy:
    return PlainPolicy(lambda x: gain * x + offset, batched=True)


@pytest.fixture(scope="module")
def fixed() -> FixedStarts:
    """x' = 1.05 x + u; the expert brings x to rest."""
    environment = SystemEnvironment(scalar(a=1.05), steps=STEPS)
    starts = torch.randn(16, 1, dtype=torch.float64, generator=stream(0, "tests", "starts"))
    return FixedStarts(
        environment=environment, starts=starts, expert=rollout(law(-0.2), environment, starts=starts).trajectory
    )


def test_a_policy_that_lets_go_drifts(fixed):
    """u = 0.01 x + 0.01: nothing holds, errors grow by 1.06, of which the system alone has 1.05."""
    found = diagnose(law(0.01, 0.01), fixed, name="lets go")
    assert judgement(verdict(found)) == "drifts"
    assert found.drift.kind == "exponential"
    assert found.perturbation.growth.kind == "exponential"
    assert found.perturbation.growth.rate.mean == pytest.approx(1.06, abs=1e-3)
    assert found.loops.open[1] == pytest.approx(1.05)
    assert found.loops.closed is None
    claims = " ".join(finding.claim for finding in verdict(found))
    assert "grows by a factor of 1.060 per step" in claims
    assert "No feedback acts between plans" in claims


def test_a_policy_that_holds(fixed):
    """u = −0.21 x: near the expert, and errors shrink by 0.84."""
    found = diagnose(law(-0.21), fixed, name="holds on")
    assert judgement(verdict(found)) == "holds"
    assert found.perturbation.growth.kind == "contracting"
    assert found.perturbation.growth.rate.mean == pytest.approx(0.84, abs=1e-3)
    assert found.estimates["score"].mean == pytest.approx(1, abs=0.05)


def test_diagnostics_that_do_not_apply_are_reported_with_the_reason(fixed):
    found = diagnose(law(-0.2), fixed, sweeps=False)
    assert set(found.missing) == {"continuity", "seams", "novelty"}
    assert "this diagnostic needs a Holdfast policy" in found.missing["continuity"]
    assert "demonstrations are missing" in found.missing["novelty"]
    assert found.sweeps == ()


def test_a_policy_of_holdfast_in_its_own_system(tiny_planner, demos, drone):
    """Of no use in flight, but every instrument says something."""
    starts = torch.stack([demos.trajectory(index % 4).states[0] for index in range(12)])
    rollouts = [demos.trajectory(index % 4) for index in range(12)]
    expert = Trajectory(
        actions=torch.stack([each.actions for each in rollouts]),
        states=torch.stack([each.states for each in rollouts]),
    )
    parts = []
    own = FixedStarts(environment=SystemEnvironment(drone, steps=30), starts=starts, expert=expert)
    found = diagnose(Policy(tiny_planner), own, demonstrations=demos, on_part=parts.append, sweeps=False)
    assert torch.equal(found.evaluation.rollout.trajectory.states[:, 0], starts)
    assert found.missing == {}
    assert found.with_gains
    assert found.loops.closed is not None
    assert found.sigma == tiny_planner.spec.execution.sigma_deploy
    assert parts[0] == "rollouts"
    assert len(set(parts)) == len(parts)


def test_the_gains_that_were_executed_are_those_of_the_loops():
    """A + BK of the scalar system, windows of all steps."""
    task = scalar(a=1.05)
    rollouts = rollout(law(0.0), SystemEnvironment(task, steps=10), starts=torch.ones(3, 1).double()).trajectory
    gains = torch.full((3, 10, 1, 1), -0.25).double()
    found = loop_rates(task, rollouts, gains, torch.arange(3))
    assert (found.steps, found.open[1], found.closed[1]) == (10, pytest.approx(1.05), pytest.approx(0.8))


def test_in_an_environment_nothing_is_claimed_of_an_expert():
    pendulum = FixedStarts(environment=gym_environment("Pendulum-v1", 10), starts=range(10), steps=40)
    found = diagnose(PlainPolicy(lambda seen: -seen[1:2]), pendulum, sweeps=False)
    assert {"drift", "imitation", "loops"} <= set(found.missing)
    assert "gym:Pendulum-v1 has no expert" in found.missing["drift"]
    assert found.perturbation is not None
    assert "there is no reference for a good score" in verdict(found)[0].claim


def test_too_few_rollouts_are_an_error_that_gives_the_number(fixed):
    expert = Trajectory(actions=fixed.expert.actions[:4], states=fixed.expert.states[:4])
    few = replace(fixed, starts=fixed.starts[:4], expert=expert)
    with pytest.raises(DataError, match=r"4 episodes are too few for intervals\. Give at least 10 starts"):
        diagnose(law(0.0), few)


def test_the_page_shows_every_chart_and_the_result_its_numbers(fixed, tmp_path):
    found = diagnose(law(0.01, 0.01), fixed, name="lets go & <drifts>")
    written = write_diagnosis(tmp_path, found, about={"seed": 3})
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    figures = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    pictures = [path for path in written if path.suffix == ".png"]
    assert len(figures) == len(pictures) == 5  # drift, perturbation, imitation, two sweeps
    for figure in figures:
        assert any(value is not None for trace in figure["data"] for value in trace["y"])
    assert "lets go &amp; &lt;drifts&gt; on scalar: it drifts" in page
    assert page.count("Plotly.react") >= 1
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["verdict"] == "drifts"
    assert result["perturbation"]["rate"]["mean"] == pytest.approx(1.06, abs=1e-3)
    assert result["seed"] == 3
    assert [item["name"] for item in result["sweeps"]] == ["delay", "sensor_noise"]


@pytest.mark.parametrize(
    ("means", "claim"),
    [
        ((0.9, 0.85, 0.75, 0.3), "An inference delay of 2 steps is tolerated, 4 steps are not (guided)."),
        ((0.9, 0.7, 0.9, 0.9), "An inference delay of 2 steps is not tolerated (guided)."),
        ((0.9, 0.81, 1.0, 0.8), "An inference delay of up to 6 steps, the longest tried, is tolerated (guided)."),
        ((0.0, 0.0, 0.0, -1.0), None),
    ],
)
def test_an_inference_delay_is_tolerated_until_the_score_leaves_the_interval_at_0(fixed, means, claim):
    """The interval of each mean is ± 0.1."""
    estimates = tuple(Estimate(mean, mean - 0.1, mean + 0.1) for mean in means)
    same = Sweep(
        name="inference_delay_guided",
        current=0.0,
        values=(0.0, 2.0, 4.0, 6.0),
        scores=torch.tensor(means)[:, None],
        estimates=estimates,
        differences=tuple(Estimate(mean - means[0], 0.0, 0.0) for mean in means),
    )
    found = replace(diagnose(law(-0.2), fixed, sweeps=False), sweeps=(same,))
    claims = [part.claim for part in verdict(found) if "inference delay" in part.claim]
    assert claims == ([] if claim is None else [claim])


def test_both_delays_are_on_the_page_and_in_the_result(fixed, tmp_path):
    """A policy of plans has sweeps over the transport delay of actions and the inference delay of plans."""
    spec = PolicySpec(
        n_states=1,
        n_actions=1,
        n_observed=1,
        codec=Actions(),
        model=Regression(ResidualMlp(width=8, blocks=1)),
        n_obs_steps=1,
        horizon=4,
        execution=Execution(n_action_steps=2),
    )
    unit = MinMax(low=-torch.ones(1), high=torch.ones(1))
    found = diagnose(Policy(Planner(spec, build_model(spec, seed=0).eval(), unit, unit)), fixed)
    sweeps = {item.name: item for item in found.sweeps}
    assert sweeps["inference_delay"].values == (0.0, 2.0)
    assert torch.equal(sweeps["inference_delay"].scores[0], found.evaluation.scores)
    # late plans are other actions than late actions
    assert not torch.equal(sweeps["inference_delay"].scores[1], sweeps["delay"].scores[2])
    write_diagnosis(tmp_path, found)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "transport delay, from choosing an action to executing it [steps]" in page
    assert "inference delay, the old plan runs on (naive) [steps]" in page
    result = json.loads((tmp_path / "result.json").read_text())
    assert {"delay", "inference_delay"} <= {item["name"] for item in result["sweeps"]}


@pytest.mark.parametrize(
    ("learned", "continued"),
    [((), (0.0, 2.0, 4.0)), ((0, 1, 2), (0.0, 2.0)), ((0, 3), (0.0, 3.0)), ((0,), None), ((5,), None)],
)
def test_a_policy_with_clean_first_steps_is_tried_at_trained_delays(fixed, learned, continued):
    """In the ways that continue a plan; in others at every delay that fits."""
    spec = PolicySpec(
        n_states=1,
        n_actions=1,
        n_observed=1,
        codec=Actions(),
        model=Flow(ResidualMlp(width=8, blocks=1), sampler=FlowSampler(steps=2), clean_prefix=bool(learned)),
        n_obs_steps=1,
        horizon=8,
        execution=Execution(n_action_steps=4),
    )
    one = Coordinates(low=(-1.0,), high=(1.0,))
    interface = PolicyInterface(observation=one, state=one, action=one, n_robot=1, prefix_delays=learned)
    unit = MinMax(low=-torch.ones(1), high=torch.ones(1))
    policy = Policy(Planner(spec, build_model(spec, seed=0).eval(), unit, unit, interface))
    every = (0.0, 2.0, 4.0)
    found = {item.name: item for item in settings_of(policy) if item.name.startswith("inference_delay")}
    assert found["inference_delay"].values == every
    for name in ("inference_delay_guided", *(["inference_delay_conditioned"] if learned else [])):
        assert (found[name].values if name in found else None) == continued
        for value in continued or ():
            found[name].apply(value)


def test_lost_rollouts_are_counted_and_shown(tmp_path):
    """x' = 1.3 x leaves every limit; the rollouts are counted as lost, not dropped."""
    environment = SystemEnvironment(scalar(a=1.3), steps=STEPS)
    starts = torch.linspace(0.5, 1.5, 12).double()[:, None]
    expert = rollout(law(-0.5), environment, starts=starts).trajectory
    fast = FixedStarts(environment=environment, starts=starts, expert=expert)
    found = diagnose(law(0.01), fast, sweeps=False)
    assert found.estimates["lost"].mean == 1
    assert verdict(found)[0].claim == "100% of the rollouts diverge."
    assert found.imitation.diverged == 12 * 4
    write_diagnosis(tmp_path, found)
    assert "of 12 rollouts were lost or saturated" in (tmp_path / "index.html").read_text(encoding="utf-8")


def finding(tone, of_rollouts=False):
    return Finding("claim", "evidence", tone, of_rollouts)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([finding("holds"), finding("drifts", True)], "holds"),
        ([finding("drifts"), finding("drifts", True)], "drifts"),
        ([finding("drifts"), finding("holds", True), finding("drifts")], "fails"),
        ([finding("drifts", True)], "drifts"),
        ([finding("unclear"), finding("drifts", True)], "drifts"),
        ([finding("unclear"), finding("drifts", True), finding("holds", True)], "unclear"),
        ([finding("unclear"), finding("drifts")], "unclear"),
    ],
)
def test_failing_is_not_drifting(findings, expected):
    assert judgement(findings) == expected
