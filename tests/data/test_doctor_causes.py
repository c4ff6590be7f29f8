"""Causes planted in recordings of small machines: named with their numbers, for other sizes, rates and dimensions."""

import math
from dataclasses import replace

import pytest
import torch

from holdfast.data import Preparation, prepared
from holdfast.data.doctor import inspect_episodes
from holdfast.seeding import stream
from holdfast.types import Episodes

COUNT, LENGTH = 24, 60


def machine(kind="servo", dims=2, *, seed=0, dt=0.05, hand=0.03, length=LENGTH, count=COUNT):
    """States (x, v, goal) and actions `[episodes, steps, ·]` of a noisy demonstrator who brings x to the goal."""
    rng = stream(seed, "tests", "causes", kind, dims)
    x, goal = (2 * torch.rand(count, dims, dtype=torch.float64, generator=rng) - 1 for _ in range(2))
    v = torch.zeros_like(x)
    states, actions = [], []
    for _ in range(length):
        wanted = {"servo": x + 0.5 * (goal - x), "force": 10 * (goal - x) - 6 * v - 2 * goal}[kind]
        scale = hand if kind == "servo" else 10 * hand
        action = wanted + scale * torch.randn(x.shape, dtype=x.dtype, generator=rng)
        states.append(torch.cat([x, v, goal], dim=1))
        actions.append(action)
        pull = 60 * (action - x) - 14 * v if kind == "servo" else 2 * x + action
        v = v + dt * pull
        x = x + dt * v
    return torch.stack(states, dim=1), torch.stack(actions, dim=1)


def recorded(states, actions, *, dtype=torch.float32, **told):
    count, length, _ = states.shape
    return Episodes(
        actions=actions.flatten(0, 1).to(dtype),
        states=states.flatten(0, 1).to(dtype),
        lengths=torch.full((count,), length),
        **told,
    )


def blamed(episodes):
    return {f.check: f for f in inspect_episodes(episodes).findings if f.severity in ("error", "warning")}


def told(episodes, check):
    return next(f for f in inspect_episodes(episodes).findings if f.check == check)


def late(values, steps):
    """The same some steps later; the first value is repeated."""
    return torch.cat([values[:, :1].expand(-1, steps, -1), values[:, :-steps]], dim=1)


@pytest.mark.parametrize("kind", ["servo", "force"])
@pytest.mark.parametrize(("dims", "dtype"), [(1, torch.float64), (3, torch.float32)])
def test_controls(kind, dims, dtype):
    episodes = recorded(*machine(kind, dims), dtype=dtype)
    assert set(blamed(episodes)) <= {"starts covered"}
    meant = told(episodes, "semantics").values["coordinates"]
    assert {one["kind"] for one in meant} == {"target" if kind == "servo" else "force"}
    assert all(one["first"] == 1 for one in meant)


@pytest.mark.parametrize("kind", ["servo", "force"])
@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_late_observations_by_their_steps(kind, steps):
    states, actions = machine(kind, 2, seed=steps)
    episodes = recorded(late(states, steps), actions)
    finding = blamed(episodes)["lag"]
    assert (finding.values["direction"], finding.values["steps"]) == ("late observation", steps)
    # the remedy that it names undoes it
    mended = prepared(episodes, Preparation(shift_actions=finding.values["shift_actions"]))
    assert "lag" not in blamed(mended)


@pytest.mark.parametrize("kind", ["servo", "force"])
@pytest.mark.parametrize("steps", [1, 3])
def test_late_actions_by_their_steps(kind, steps):
    states, actions = machine(kind, 2, seed=steps)
    episodes = recorded(states, late(actions, steps))
    finding = blamed(episodes)["lag"]
    assert (finding.values["direction"], finding.values["steps"]) == ("late action", -steps)
    mended = prepared(episodes, Preparation(shift_actions=finding.values["shift_actions"]))
    assert "lag" not in blamed(mended)


def test_a_delay_longer_than_the_first_search():
    states, actions = machine("force", 1, length=120)
    assert blamed(recorded(late(states, 21), actions))["lag"].values["steps"] == 21


@pytest.mark.parametrize("steps", [0, -1, -2])
def test_actions_that_are_readings(steps):
    states, _ = machine("servo", 2)
    position = states[..., :2]
    episodes = recorded(states, position if steps == 0 else late(position, -steps))
    finding = blamed(episodes)["reading"]
    assert (finding.severity, finding.values["steps"], finding.values["shift_actions"]) == ("error", steps, 1 - steps)
    assert "leaks" not in blamed(episodes)
    after = prepared(episodes, Preparation(shift_actions=1 - steps))
    assert told(after, "reading").values["steps"] == 1


def test_readings_in_degrees():
    states, _ = machine("servo", 2)
    assert blamed(recorded(states, states[..., :2] * 180 / math.pi))["reading"].values["steps"] == 0


@pytest.mark.parametrize("offset", [0.3, -0.12])
def test_offsets_by_coordinate(offset):
    states, actions = machine("servo", 3, hand=0.005, length=90)
    actions[..., 1] += offset
    assert "offset" not in blamed(recorded(states, actions - offset * torch.tensor([0.0, 1.0, 0.0])))
    finding = blamed(recorded(states, actions))["offset"]
    assert finding.values["offsets"] == {"action[1]": pytest.approx(offset, abs=0.01)}


def test_a_switch_and_its_reading_are_no_offset():
    """A gripper is told −1 or 1 and reads 0 or 1: open, at rest, the two differ by −1 in every episode."""
    states, actions = machine("servo", 3, hand=0.005, length=90)
    told = -torch.ones(len(states), 90, 1, dtype=states.dtype)
    for number, row in enumerate(told):
        row[60 + number % 20 :] = 1.0
    read = torch.zeros_like(told)
    for step in range(1, 90):
        read[:, step] = read[:, step - 1] + 0.4 * ((told[:, step - 1] + 1) / 2 - read[:, step - 1])
    episodes = recorded(torch.cat([states, read], 2), torch.cat([actions, told], 2))
    assert "offset" not in blamed(episodes)


def test_another_scale_is_no_offset():
    states, actions = machine("servo", 2, hand=0.0, length=90)
    assert "offset" not in blamed(recorded(states, 1.5 * actions + 0.2))


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("back", [1, 2])
def test_earlier_actions_in_the_observation(gaussian, noise, back):
    states, actions = machine("servo", 2)
    copy = late(actions, back)[..., :1]
    copy = copy + noise * gaussian(0, *copy.shape)
    finding = blamed(recorded(torch.cat([states, copy], dim=-1), actions))["leaks"]
    assert (finding.values["coordinates"], finding.values["actions"]) == (["state[6]"], ["action[0]"])
    assert finding.values["back"] == back
    assert finding.values["noisy"] == [noise > 0]


def test_a_velocity_that_is_missing():
    states, actions = machine("force", 1)
    assert "history" not in blamed(recorded(states, actions))
    finding = blamed(recorded(states[..., [0, 2]], actions))["history"]
    assert finding.values["r2_two"] > 0.9 > finding.values["r2_one"]
    assert "--n-obs-steps 2" in finding.remedy


def with_column(states, column):
    return torch.cat([states, column], dim=-1)


@pytest.mark.parametrize("often", [0.05, 0.3])
def test_quaternions_that_change_sign_often(often):
    states, actions = machine("servo", 2)
    angle = 0.4 * states[..., :1]
    turn = torch.cat([angle.cos(), 0.6 * angle.sin(), 0.8 * angle.sin(), 0 * angle], dim=-1)
    sign = torch.where(torch.rand(COUNT, LENGTH, 1, generator=stream(0, "tests", "signs")) < often, -1.0, 1.0)
    found = blamed(recorded(with_column(states, sign.double() * turn), actions))
    changes = int((sign[:, 1:] != sign[:, :-1]).sum())
    assert found["wraps"].values["counts"] == [changes]
    assert found["wraps"].values["between_episodes"] == [False]
    assert "jumps" not in found


def test_quaternions_that_change_sign_between_episodes():
    states, actions = machine("servo", 2)
    angle = 0.4 * states[..., :1]
    turn = torch.cat([angle.cos(), 0.6 * angle.sin(), 0.8 * angle.sin(), 0 * angle], dim=-1)
    turn[::4] *= -1
    found = blamed(recorded(with_column(states, turn), actions))
    assert found["wraps"].values["between_episodes"] == [True]
    assert found["wraps"].values["counts"] == [COUNT // 4]


def test_rotation_vectors_beyond_a_half_turn():
    states, actions = machine("servo", 2)
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    size = 3.0 + 0.4 * states[..., :1]
    wrapped = torch.where(size > math.pi, size - 2 * math.pi, size)
    found = blamed(recorded(with_column(states, wrapped * axis), actions))
    assert found["wraps"].values["coordinates"] == ["state[6] to state[8]"]
    crossings = int(((wrapped[:, 1:] > 0) != (wrapped[:, :-1] > 0)).sum())
    assert found["wraps"].values["counts"] == [crossings]


@pytest.mark.parametrize("speed", [0.2, 1.2])
def test_angles_that_wrap_slowly_or_often(speed):
    states, actions = machine("servo", 2)
    turning = speed * torch.arange(LENGTH, dtype=torch.float64).expand(COUNT, -1) + states[:, :1, 0]
    angle = torch.remainder(turning + math.pi, 2 * math.pi) - math.pi
    found = blamed(recorded(with_column(states, angle[..., None]), actions))
    wraps = int((angle[:, 1:] < angle[:, :-1]).sum())
    assert found["wraps"].values["counts"] == [wraps]
    assert "jumps" not in found


def test_angles_on_both_sides_of_the_cut():
    states, actions = machine("servo", 2)
    around = math.pi * torch.where(torch.arange(COUNT) % 3 == 0, -1.0, 1.0).double()[:, None, None]
    near = 0.3 * (states[..., :1] - states[..., :1].amin()) / (states[..., :1].amax() - states[..., :1].amin())
    angle = around - around.sign() * near
    found = blamed(recorded(with_column(states, angle), actions))
    assert found["wraps"].values["between_episodes"] == [True]


def test_frequent_jumps_do_not_set_their_own_yardstick():
    states, actions = machine("servo", 2)
    broken = torch.rand(COUNT, LENGTH, generator=stream(0, "tests", "glitches")) < 0.05
    states[..., 0] = torch.where(broken, states[..., 0] + 40.0, states[..., 0])
    assert "state[0]" in blamed(recorded(states, actions))["jumps"].values["coordinates"]


def gripped(pulses):
    """A gripper that closes at a third of the episode and opens at two thirds, as held state or by pulses."""
    states, actions = machine("servo", 2)
    at = torch.arange(COUNT)[:, None] % 5 + torch.tensor([[LENGTH // 3, 2 * LENGTH // 3]])
    steps = torch.arange(LENGTH)
    if pulses:
        column = ((steps == at[:, :1]) | (steps == at[:, 1:])).double()
    else:
        column = ((steps >= at[:, :1]) & (steps < at[:, 1:])).double() * 2 - 1
    return recorded(states, torch.cat([actions, column[..., None]], dim=-1))


def test_held_grippers_and_triggers():
    held = told(gripped(False), "gripper")
    assert (held.severity, held.values["kind"], held.values["coordinates"][0]["run"]) == ("note", "held", LENGTH // 3)
    trigger = told(gripped(True), "gripper")
    assert (trigger.severity, trigger.values["kind"]) == ("warning", "trigger")
    assert trigger.values["coordinates"][0]["share"] == pytest.approx(2 / LENGTH)
    assert "held until the next pulse" in trigger.remedy


@pytest.mark.parametrize("filler", [True, False])
def test_padding_rows(filler):
    states, actions = machine("servo", 2, length=30)
    rows = 3 + torch.arange(COUNT) % 6
    for episode, count in enumerate(rows.tolist()):
        if episode % 2:
            states[episode, -count:] = 0.0 if filler else states[episode, -count - 1]
            actions[episode, -count:] = 0.0 if filler else actions[episode, -count - 1]
    cut = recorded(states[:, 10:] if filler else states[:, :], actions[:, 10:] if filler else actions[:, :])
    finding = blamed(cut)["padding"]
    assert finding.values["kind"] == ("filler" if filler else "repeat")
    assert finding.values["episodes"] == list(range(1, COUNT, 2))
    assert finding.values["rows"] == rows[1::2].tolist()


@pytest.mark.parametrize(
    ("name", "values", "option"),
    [
        ("success", torch.tensor([1.0, 0.0] * (COUNT // 2)), "success=0"),
        ("failed", torch.tensor([False, True] * (COUNT // 2)), "failed=1"),
        ("outcome", ("ok", "failure") * (COUNT // 2), "outcome=failure"),
    ],
)
def test_failures(name, values, option):
    episodes = replace(recorded(*machine()), episode_columns={name: values})
    finding = blamed(episodes)["failures"]
    assert finding.values["episodes"] == list(range(1, COUNT, 2))
    assert f"--drop-episodes {option}" in finding.remedy
    left = prepared(episodes, Preparation(drop_episodes=(option,)))
    assert len(left) == COUNT // 2
    assert "failures" not in blamed(left)


def test_success_of_each_step():
    column = torch.zeros(COUNT, LENGTH)
    column[3:, -1] = 1
    episodes = replace(recorded(*machine()), columns={"is_success": column.flatten()})
    assert blamed(episodes)["failures"].values["episodes"] == [0, 1, 2]


@pytest.mark.parametrize("how", ["motion", "timestamps", "column"])
def test_mixed_rates(how):
    states, actions = machine("servo", 2, length=120, dt=0.02)
    parts = [(s[::3], a[::3]) if e % 4 == 0 else (s, a) for e, (s, a) in enumerate(zip(states, actions, strict=True))]
    steps = torch.tensor([0.15 if e % 4 == 0 else 0.05 for e in range(COUNT)], dtype=torch.float64)
    times = torch.cat([dt * torch.arange(len(s)) for dt, (s, _) in zip(steps, parts, strict=True)])
    mixed = Episodes(
        actions=torch.cat([a for _, a in parts]),
        states=torch.cat([s for s, _ in parts]),
        lengths=torch.tensor([len(s) for s, _ in parts]),
        timestamps=times if how == "timestamps" else None,
        episode_columns={"fps": 1 / steps} if how == "column" else {},
    )
    finding = blamed(mixed)["rates"]
    slow = list(range(0, COUNT, 4))
    # the motion of an episode that hardly moves does not tell its rate
    assert finding.values["episodes"] == slow if how != "motion" else set(finding.values["episodes"]) <= set(slow)
    assert len(finding.values["episodes"]) >= len(slow) - 1
    assert finding.values["ratios"] == pytest.approx([3.0] * len(finding.values["episodes"]), rel=0.05)
    left = prepared(mixed, Preparation(drop_episodes=tuple(map(str, finding.values["episodes"]))))
    assert "rates" not in blamed(left)


def test_no_finding_recommends_noise_or_a_horizon():
    for kind in ("servo", "force"):
        for finding in inspect_episodes(recorded(*machine(kind))).findings:
            assert "--sigma" not in finding.remedy
            assert "--horizon" not in finding.remedy
            assert "--family" not in finding.remedy


def test_regulated_starts_are_no_trigger():
    """An error that every episode begins with and regulates away is no gripper that is closed in the first step."""
    states, actions = machine("servo", 2)
    error = torch.linspace(-1, 1, COUNT, dtype=torch.float64)[:, None] * 0.05 ** torch.arange(LENGTH)
    regulated = torch.cat([actions, error[..., None]], dim=2)
    assert "gripper" not in blamed(recorded(states, regulated))
    assert "gripper" not in blamed(recorded(torch.cat([states, error[..., None]], dim=2), actions))
