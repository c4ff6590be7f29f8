"""Limits, turned frames, play and unnamed operators, each on a servo arm, a mobile base and a pendulum."""

from dataclasses import replace

import pytest
import torch

from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.consistency import check_consistency
from holdfast.data.doctor.recording import recording_of

from .limited_robots import KINDS, Plan, planned

CAUSES = {"response", "exchanged", "drift", "saturation", "stiction", "backlash", "dropped", "styles"}


def said(plan):
    """Findings on consistency by check, and the second operator's episodes."""
    made, second = planned(plan)
    return {f.check: f for f in check_consistency(made, recording_of(made)) if f.check in CAUSES}, second


@pytest.mark.parametrize("robot", KINDS)
@pytest.mark.parametrize("seed", [11, 12])
def test_robots_without_a_fault_are_not_blamed(robot, seed):
    assert said(Plan(robot=robot, seed=seed, rates=seed % 2 == 0))[0] == {}


@pytest.mark.parametrize("robot", KINDS)
@pytest.mark.parametrize("limit", [0.6, 0.85])
def test_commands_beyond_what_is_executed(robot, limit):
    assert set(said(Plan(robot=robot, seed=13, limit=limit))[0]) == {"saturation"}


@pytest.mark.parametrize("robot", ["base", "room"])
@pytest.mark.parametrize(("heading", "step"), [(0.15, False), (-0.4, False), (0.3, True)])
def test_a_heading_that_drifts(robot, heading, step):
    found, _ = said(Plan(robot=robot, seed=14, heading=heading, step=step))
    values = found["drift"].values
    assert values["kind"] == ("step" if step else "trend")
    assert values["coordinates"][0]["positions"] == ["state[0]", "state[1]"]
    assert values["coordinates"][0]["offset"] == pytest.approx(heading, abs=0.05)
    assert values["first_episode"] == (24 if step else 0)
    assert "response" not in found


@pytest.mark.parametrize("robot", ["base", "room"])
@pytest.mark.parametrize("seed", [15, 16])
def test_exchanged_positions_of_a_base(robot, seed):
    finding = said(Plan(robot=robot, seed=seed, exchanged=True))[0]["exchanged"]
    assert finding.severity == "warning"
    assert finding.values["columns"] == ["state[0]", "state[1]"]
    assert finding.values["heading"] == ("state[2]" if robot == "base" else "")


@pytest.mark.parametrize("robot", KINDS)
@pytest.mark.parametrize("play", [0.05, 0.1])
def test_play_in_all_episodes(robot, play):
    found, _ = said(Plan(robot=robot, seed=17, play=play))
    widths = [one["width"] for one in found["backlash"].values["coordinates"]]
    assert min(widths, key=lambda width: abs(width - play)) == pytest.approx(play, rel=0.3)


@pytest.mark.parametrize("robot", KINDS)
@pytest.mark.parametrize("second", [(("hand", 3.0),), (("speed", 0.7), ("hand", 2.5))])
def test_two_operators_without_a_column(robot, second):
    found, other = said(Plan(robot=robot, seed=18, second=second))
    assert found["styles"].values["by"] == "clusters"
    assert other.tolist() in list(found["styles"].values["groups"].values())


def test_the_inspection_says_that_a_base_turns():
    made, _ = planned(Plan(robot="base", seed=19, heading=0.3))
    assert any(f.check == "drift" and "state[2]" in f.what for f in inspect_episodes(made).findings)


def test_targets_beside_their_positions_are_not_exchanged():
    # states target x, target y, x, y: the second and the third are moved by the second and the first action
    made, _ = planned(Plan(robot="room", seed=20, shown=False))
    both = made.states[:, [0, 1, 0, 1]].clone()
    both[:, 2:] += 0.001 * torch.randn(len(both), 2, generator=torch.Generator().manual_seed(0))
    twice = replace(made, states=both, actions=made.actions[:, :2])
    assert not [f for f in check_consistency(twice, recording_of(twice)) if f.check == "exchanged"]
