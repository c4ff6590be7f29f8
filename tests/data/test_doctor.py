"""The doctor finds what was planted, names it, and is silent on a set without faults."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.data.doctor import inspect_episodes
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

LENGTH, COUNT = 80, 14
NAMES = {"state": ("left", "right"), "action": ("go left", "go right")}


def served(count=COUNT, length=LENGTH, delay=0):
    """Two coordinates that follow smooth random targets, by 0.3 of the way a step, some steps late."""
    rng = stream(0, "tests", "doctor")
    phase = 2 * math.pi * torch.rand(count, 1, 2, 3, dtype=torch.float64, generator=rng)
    pace = 0.05 + 0.1 * torch.rand(count, 1, 2, 3, dtype=torch.float64, generator=rng)
    times = torch.arange(length, dtype=torch.float64)[None, :, None, None]
    targets = (pace * times + phase).sin().sum(dim=-1)
    states = [targets[:, 0]]
    for step in range(length - 1):
        states.append(states[-1] + 0.3 * (targets[:, max(step - delay, 0)] - states[-1]))
    return Episodes(
        actions=targets.flatten(0, 1),
        states=torch.stack(states, dim=1).flatten(0, 1),
        lengths=torch.full((count,), length),
        names=NAMES,
        dt=0.1,
        system="bench",
    )


@pytest.fixture(scope="module")
def clean():
    return served()


def with_column(episodes, column, name="extra"):
    """The same with one more state coordinate."""
    states = torch.cat([episodes.states, column[:, None]], dim=1)
    return replace(episodes, states=states, names={**episodes.names, "state": (*episodes.names["state"], name)})


def faults(episodes, **options):
    """Errors and warnings by check, but for one that is true of all sets here: no state shows the wave of targets."""
    found = inspect_episodes(episodes, **options).findings
    return {f.check: f for f in found if f.severity in ("error", "warning") and f.check != "copycat"}


def found(episodes, check):
    (finding,) = [f for f in inspect_episodes(episodes).findings if f.check == check]
    return finding


def row(episode, step):
    return episode * LENGTH + step


def test_a_clean_set_has_no_faults(clean):
    assert faults(clean) == {}
    good = {f.check for f in inspect_episodes(clean).findings if f.severity == "good"}
    assert good >= {
        "acceptance",
        "finite",
        "constants",
        "range",
        "limits",
        "idle",
        "jumps",
        "copies",
        "leaks",
        "lengths",
    }


def test_worst_first(clean):
    states = clean.states.clone()
    states[row(3, 5), 1] = math.nan
    severities = [f.severity for f in inspect_episodes(replace(clean, states=states, dt=None)).findings]
    order = ["error", "warning", "note", "good"]
    assert severities == sorted(severities, key=order.index)
    assert {"error", "note", "good"} <= set(severities)


def test_not_finite(clean):
    states, actions = clean.states.clone(), clean.actions.clone()
    states[row(3, 5), 1] = math.nan
    states[row(3, 9), 1] = math.nan
    actions[row(7, 0), 0] = math.inf
    sick = replace(clean, states=states, actions=actions)
    errors = [f for f in inspect_episodes(sick).findings if f.severity == "error"]
    assert [f.check for f in errors] == ["acceptance", "finite", "finite"]
    assert "action go left is inf at episode 7, step 0: 1 such number in" in errors[1].what
    assert "state right is nan at episode 3, step 5: 2 such numbers in" in errors[2].what
    # the other checks go on without the two episodes
    assert found(sick, "starts covered").values["starts"] == COUNT - 2


def test_a_coordinate_that_is_never_finite_costs_no_episodes(clean):
    sick = with_column(clean, torch.full((len(clean.states),), math.nan, dtype=torch.float64), "dead")
    assert found(sick, "finite").values["coordinate"] == "state dead"
    assert found(sick, "starts covered").values["starts"] == COUNT


@pytest.mark.parametrize("values", [torch.zeros(0, 2), torch.full((5, 2), math.nan)])
def test_nothing_left_to_look_at(values):
    lengths = torch.tensor([len(values)] if len(values) else [], dtype=torch.int64)
    sick = Episodes(actions=values, states=values, lengths=lengths)
    assert inspect_episodes(sick).findings[0].severity == "error"


def test_empty_and_short_episodes(clean):
    lengths = torch.tensor([LENGTH] * (COUNT - 1) + [0, 74, 6])
    odd = faults(replace(clean, lengths=lengths))
    assert odd["acceptance"].severity == "error"
    assert odd["lengths"].values == {"episodes": [15], "steps": [6], "horizon": 16}
    assert "lengths" not in faults(replace(clean, lengths=torch.tensor([LENGTH] * (COUNT - 1) + [74, 6])), horizon=6)
    empty = [f.what for f in inspect_episodes(replace(clean, lengths=lengths)).findings if f.values.get("empty")]
    assert empty == ["1 episode without a step: 13."]


@pytest.mark.parametrize("short", [1, 2])
@pytest.mark.parametrize("place", ["first", "last"])
def test_an_episode_of_one_or_two_steps(clean, short, place):
    """It has no row of a change between two steps, in which every check of consistency looks."""
    ends = [short, LENGTH - short]
    lengths = torch.tensor(ends + [LENGTH] * (COUNT - 1) if place == "first" else [LENGTH] * (COUNT - 1) + ends[::-1])
    found = faults(replace(clean, lengths=lengths))
    assert found["lengths"].values["steps"] == [short]


def test_constant(clean):
    sick = faults(with_column(clean, torch.full((len(clean.states),), 7.0, dtype=torch.float64), "stuck"))
    assert set(sick) == {"constants"}
    assert "state stuck (7)" in sick["constants"].what


def test_nearly_constant(clean, gaussian):
    sick = faults(with_column(clean, 20 + 1e-5 * gaussian(1, len(clean.states)), "noise"))
    finding = sick["constants"]
    assert finding.values["coordinate"] == "state noise"
    assert finding.values["noise"]
    # 1,120 normal numbers span about 6.5 standard deviations, and 2 / (6.5 · 1e-5) is 31,000
    assert 2.2e4 < finding.values["factor"] < 4e4


def test_outlier(clean):
    states = clean.states.clone()
    states[row(4, 40), 0] = 60.0
    sick = faults(replace(clean, states=states))
    assert {"range", "jumps"} == set(sick)
    assert "state left is 60, at episode 4, step 40" in sick["range"].what
    # the bulk is about 5 wide, the range about 63
    assert sick["range"].values["bulk"][0] == pytest.approx(5 / 63, rel=0.2)
    assert sick["jumps"].values["places"] == [(4, 40), (4, 41)]


def test_switches_are_told_not_blamed(clean):
    switch = (clean.actions[:, :1] > 0).double()
    mixed = replace(clean, actions=torch.cat([clean.actions, switch], dim=1), names={"state": NAMES["state"]})
    assert "leaks" not in faults(mixed)
    assert found(mixed, "discrete").values["coordinates"] == ["action[2]"]
    assert "limits" not in faults(mixed)


def test_saturated(clean):
    actions = clean.actions.clone()
    actions[:, 1] = actions[:, 1].clamp(-1.0, 1.0)
    share = float((actions[:, 1].abs() == 1.0).double().mean())
    finding = faults(replace(clean, actions=actions))["limits"]
    (numbers,) = finding.values["coordinates"]
    assert numbers["coordinate"] == "action go right"
    # within a thousandth of the range counts as well
    assert numbers["low"] + numbers["high"] == pytest.approx(share, abs=0.01)
    held = actions[:, 1].reshape(COUNT, LENGTH)
    sign = 1.0 if numbers["high"] > numbers["low"] else -1.0
    longest = max(len(run) for line in held.tolist() for run in _runs(line, sign))
    assert numbers["longest"] == pytest.approx(longest, abs=2)


def _runs(values, wanted):
    runs = [[]]
    for value in values:
        runs[-1].append(value) if value == wanted else runs.append([])
    return runs


def test_pauses(clean):
    states, actions = clean.states.clone(), clean.actions.clone()
    for episode in range(COUNT):
        hold = slice(row(episode, 20), row(episode, 45))
        states[hold], actions[hold] = states[hold][0].clone(), actions[hold][0].clone()
    diagnosis = inspect_episodes(replace(clean, states=states, actions=actions))
    finding = next(f for f in diagnosis.findings if f.check == "idle")
    assert finding.severity == "warning"
    assert finding.values["middle"] == pytest.approx(25 / LENGTH, abs=2 / LENGTH)
    assert finding.values["start"] == finding.values["end"] == 0
    assert all(mask[21:44].all() and not mask[:18].any() and not mask[48:].any() for mask in diagnosis.idle.values())


def test_pauses_at_the_ends(clean):
    states, actions = clean.states.clone(), clean.actions.clone()
    for episode, part in ((2, slice(0, 30)), (5, slice(60, 80))):
        hold = slice(row(episode, part.start), row(episode, part.stop))
        states[hold], actions[hold] = states[hold][-1].clone(), actions[hold][-1].clone()
    values = found(replace(clean, states=states, actions=actions), "idle").values
    total = COUNT * LENGTH
    assert values["start"] == pytest.approx(30 / total, abs=3 / total)
    assert values["end"] == pytest.approx(20 / total, abs=3 / total)
    assert (values["middle"], values["episode_most"]) == (0, 2)


def test_copies(clean):
    states, actions = clean.states.clone(), clean.actions.clone()
    for array in (states, actions):
        array[row(9, 0) : row(10, 0)] = array[row(2, 0) : row(3, 0)]
    states[row(11, 0) : row(12, 0)] = states[row(4, 0) : row(5, 0)] + 1e-5
    actions[row(11, 0) : row(12, 0)] = actions[row(4, 0) : row(5, 0)]
    findings = [
        f for f in inspect_episodes(replace(clean, states=states, actions=actions)).findings if f.check == "copies"
    ]
    assert findings[0].values == {"groups": [[2, 9]]}
    assert findings[1].values == {"pairs": [(4, 11)]}


def test_a_slow_sensor(clean):
    states = clean.states.reshape(COUNT, LENGTH, 2).clone()
    states[:, 1:-1:3] = states[:, 0:-2:3]
    finding = faults(replace(clean, states=states.flatten(0, 1)))["stale"]
    # every third step, but for those next to an episode's ends
    assert finding.values["share"] == pytest.approx(1 / 3, abs=0.02)
    states[:, 1::2] = states[:, 0:-1:2]
    assert faults(replace(clean, states=states.flatten(0, 1)))["held"].values["factor"] == 2


def test_equal_starts(clean):
    states = clean.states.clone()
    states[::LENGTH] = torch.tensor([0.5, -0.5], dtype=torch.float64)
    assert "in 1 distinct state." in found(replace(clean, states=states), "starts").what


def clocked(clean, times):
    return replace(clean, timestamps=times.flatten())


def test_clock(clean):
    times = (0.1 * torch.arange(LENGTH, dtype=torch.float64)).repeat(COUNT, 1)
    assert found(clocked(clean, times), "clock").severity == "good"
    assert found(clocked(clean, times.float().double() + 100), "clock").severity == "good"
    back, gap = times.clone(), times.clone()
    back[6, 30:] -= 0.15
    gap[8, 50:] += 1.0
    assert faults(clocked(clean, back))["clock"].values["places"] == [(6, 30)]
    assert faults(clocked(clean, gap))["clock"].values["places"] == [(8, 50)]
    assert faults(clocked(clean, gap))["clock"].values["longest"] == pytest.approx(1.1)
    assert faults(clocked(clean, 2 * times))["clock"].what.startswith("Timestamps advance by 0.2 s per step")
    assert "2 times too fast" in faults(clocked(clean, 2 * times))["clock"].effect


def test_jitter(clean, gaussian):
    times = (0.1 * (1 + 0.2 * gaussian(3, COUNT, LENGTH).clamp(-2, 2))).cumsum(dim=1)
    finding = found(clocked(clean, times), "clock")
    assert finding.severity == "note"
    assert finding.values["jitter"] == pytest.approx(0.2, rel=0.2)


def test_wrapped_angles(clean):
    turning = torch.arange(LENGTH, dtype=torch.float64).repeat(COUNT) * 0.13 - 2.9
    for unit in (1.0, 180 / math.pi):
        wrapped = (torch.remainder(turning + math.pi, 2 * math.pi) - math.pi) * unit
        sick = faults(with_column(clean, wrapped, "heading"))
        assert set(sick) == {"wraps"}
        # from -2.9 in steps of 0.13, π lies between steps 46 and 47
        assert sick["wraps"].values["places"][:2] == [(0, 47), (1, 47)]


def test_quaternions_that_change_sign(clean):
    angle = 0.02 * torch.arange(LENGTH, dtype=torch.float64).repeat(COUNT)
    turn = torch.stack([angle.cos(), angle.sin(), 0 * angle, 0.2 + 0 * angle], dim=1)
    turn = turn / turn.norm(dim=1, keepdim=True)
    turn[row(1, 33) : row(2, 0)] *= -1
    sick = replace(clean, states=torch.cat([clean.states, turn], dim=1), names={})
    assert faults(sick)["wraps"].values["places"] == [(1, 33)]
    assert "state[2] to state[5]" in faults(sick)["wraps"].what


def test_teleports_and_glitches(clean):
    states = clean.states.clone()
    states[row(10, 55) : row(11, 0), 0] += 9.0
    sick = faults(replace(clean, states=states))
    assert sick["jumps"].values["places"] == [(10, 55)]
    assert sick["jumps"].values["glitches"] == 0
    states = clean.states.clone()
    states[row(10, 55), 0] += 9.0
    assert faults(replace(clean, states=states))["jumps"].values["glitches"] == 1


def test_cut_endings():
    decay = torch.exp(-0.1 * torch.arange(LENGTH, dtype=torch.float64))
    start = torch.linspace(1, 2, COUNT, dtype=torch.float64)
    lengths = [LENGTH] * COUNT
    lengths[5] = 20
    states = torch.cat([(x * decay[:n])[:, None] for x, n in zip(start, lengths, strict=True)])
    halting = Episodes(actions=-states, states=states, lengths=torch.tensor(lengths), dt=0.1)
    finding = faults(halting)["endings"]
    assert finding.values["episodes"] == [5]


def test_sets_of_another_kind_do_not_crash(gaussian):
    for lengths in ([1], [1, 1, 1], [3, 2], [40], [200]):
        total = sum(lengths)
        odd = Episodes(actions=gaussian(4, total, 1), states=gaussian(5, total, 3), lengths=torch.tensor(lengths))
        assert inspect_episodes(odd).facts["steps"] == total
        still = replace(odd, actions=0 * odd.actions, states=0 * odd.states)
        assert "constants" in {f.check for f in inspect_episodes(still).findings}


def test_single_precision_and_environment_states(clean):
    seen = Observation(state=clean.states.float(), environment_state=clean.states.float().cumsum(0).sin())
    narrow = replace(clean, actions=clean.actions.float(), states=clean.states.float(), observations=seen)
    diagnosis = inspect_episodes(narrow)
    assert diagnosis.facts["observed_coordinates"] == 4
    assert [strip.label for strip in diagnosis.strips][-1] == "environment[1]"
    assert len(diagnosis.strips) == 6
    assert all(int(strip.counts.sum()) == COUNT * LENGTH for strip in diagnosis.strips)


def test_same_set_same_findings(clean):
    first, second = inspect_episodes(clean), inspect_episodes(clean)
    assert first.findings == second.findings
    assert first.facts == second.facts


def test_large_sets_are_judged_by_a_sample():
    many = served(count=400)
    diagnosis = inspect_episodes(many)
    assert "about 20000" in diagnosis.facts["sampled"]
    assert faults(many) == {}
    assert np.array_equal(diagnosis.lengths, [LENGTH] * 400)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e20, 1e200, 1.7e308])
@pytest.mark.parametrize("constant", [True, False])
def test_extreme_actions_are_inspected_without_warnings_of_numpy(value, constant):
    rng = stream(0, "tests", "extreme")
    unit = torch.ones(60, 2, dtype=torch.float64) if constant else 2 * torch.rand(60, 2, generator=rng).double() - 1
    states = torch.randn(60, 3, generator=rng, dtype=torch.float64)
    found = inspect_episodes(Episodes(actions=value * unit, states=states, lengths=torch.tensor([20, 20, 20]), dt=0.1))
    assert any("squares overflow: action" in finding.what for finding in found.findings) == (value > 1e100)
