"""What actions mean, what leaks, how many answers there are, how near episodes are: planted, and in real sets."""

import itertools
import math
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from holdfast.data import format_of
from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.coverage import effective_starts
from holdfast.data.doctor.modes import bisect
from holdfast.data.doctor.neighbours import neighbours_of
from holdfast.data.doctor.recording import recording_of
from holdfast.data.doctor.regression import explained, fit_each, partial
from holdfast.data.formats.registry import format_named
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
COUNT, LENGTH = 14, 80


def waves(count=COUNT, length=LENGTH, width=2):
    """Smooth random signals [count, length, width]."""
    rng = stream(0, "tests", "doctor", "waves")
    phase = 2 * math.pi * torch.rand(count, 1, width, 3, dtype=torch.float64, generator=rng)
    pace = 0.05 + 0.1 * torch.rand(count, 1, width, 3, dtype=torch.float64, generator=rng)
    times = torch.arange(length, dtype=torch.float64)[None, :, None, None]
    return (pace * times + phase).sin().sum(dim=-1)


def episodes(states, actions, **other):
    lengths = torch.full((len(states),), states.shape[1])
    return Episodes(actions=actions.flatten(0, 1), states=states.flatten(0, 1), lengths=lengths, dt=0.1, **other)


def rolled(actions, start, step):
    """States from x[t + 1] = step(x[t], u[t], t)."""
    states = [start]
    for t in range(actions.shape[1] - 1):
        states.append(step(states[-1], actions[:, t], t))
    return torch.stack(states, dim=1)


def values(made, check):
    return told(inspect_episodes(made), check)


def told(diagnosis, check):
    return next(f.values for f in diagnosis.findings if f.check == check)


def faults(made):
    return blamed(inspect_episodes(made))


def blamed(diagnosis):
    return {f.check: f for f in diagnosis.findings if f.severity in ("error", "warning")}


@pytest.mark.parametrize("delay", [0, 4])
def test_targets_and_their_delay(delay):
    targets = waves()
    states = rolled(targets, targets[:, 0], lambda x, _, t: x + 0.8 * (targets[:, max(t - delay, 0)] - x))
    # the targets in other units than the states
    meant = values(episodes(states, 10 + 3 * targets), "semantics")
    assert meant["kind"] == "target"
    assert [(m["state"], m["lag"]) for m in meant["coordinates"]] == [("state[0]", 1 + delay), ("state[1]", 1 + delay)]
    assert all(m["r2"] > 0.98 for m in meant["coordinates"])


def test_deltas():
    deltas = 0.1 * waves()
    states = rolled(deltas, torch.zeros_like(deltas[:, 0]), lambda x, u, _: x + u)
    meant = values(episodes(states, deltas), "semantics")
    assert meant["kind"] == "velocity"
    assert [(m["state"], m["lag"]) for m in meant["coordinates"]] == [("state[0]", 1), ("state[1]", 1)]
    assert all(m["r2"] == pytest.approx(1.0) for m in meant["coordinates"])


def test_velocities_that_the_state_shows():
    wanted = waves()

    def step(x, u, _):
        rate = x[:, 2:] + 0.8 * (u - x[:, 2:])
        return torch.cat([x[:, :2] + 0.1 * rate, rate], dim=1)

    states = rolled(wanted, torch.zeros(COUNT, 4, dtype=torch.float64), step)
    meant = values(episodes(states, wanted), "semantics")
    assert meant["kind"] == "velocity"
    assert [m["state"] for m in meant["coordinates"]] == ["state[2]", "state[3]"]


@pytest.mark.parametrize("rates", [True, False])
def test_forces_under_feedback(rates, gaussian):
    # a damped feedback law makes the force nearly a function of the state; a little exploration tells them apart
    push = 0.3 * gaussian(1, COUNT, LENGTH, 2)
    x, v = gaussian(2, COUNT, 2), gaussian(3, COUNT, 2)
    states, actions = list[torch.Tensor](), list[torch.Tensor]()
    for t in range(LENGTH):
        u = -4 * x - 2 * v + push[:, t]
        states.append(torch.cat([x, v], dim=1) if rates else x)
        actions.append(u)
        x, v = x + 0.1 * v + 0.005 * u, v + 0.1 * u
    meant = values(episodes(torch.stack(states, 1), torch.stack(actions, 1)), "semantics")
    assert meant["kind"] == "force"
    assert [int(m["state"][6]) % 2 for m in meant["coordinates"]] == [0, 1]


def test_actions_that_nothing_answers(gaussian):
    made = episodes(waves(), gaussian(9, COUNT, LENGTH, 1))
    assert values(made, "semantics")["kind"] == "unknown"


def test_the_regressions_are_those_of_numpy(gaussian):
    x, y = gaussian(1, 300, 3).numpy(), gaussian(2, 300, 2).numpy()
    y[:, 0] += 2 * x[:, 1]
    held = np.arange(300) >= 200
    fits = fit_each(x, y, held)
    slope, offset = np.polyfit(x[:200, 1], y[:200, 0], 1)
    assert (fits.slope[1, 0], fits.offset[1, 0]) == pytest.approx((slope, offset))
    error = y[200:, 0] - slope * x[200:, 1] - offset
    assert fits.r2[1, 0] == pytest.approx(1 - (error**2).sum() / ((y[200:, 0] - y[:200, 0].mean()) ** 2).sum())
    wide = np.c_[x, np.ones(300)]
    weights = np.linalg.lstsq(wide[:200], y[:200], rcond=None)[0]
    error = ((y - wide @ weights)[200:] ** 2).sum(axis=0)
    spread = ((y[200:] - y[:200].mean(axis=0)) ** 2).sum(axis=0)
    assert explained(x, y, held) == pytest.approx(1 - error / spread, abs=1e-6)


def test_partial_is_what_is_lost_without(gaussian):
    x, others, y = gaussian(1, 200, 2).numpy(), gaussian(2, 200, 3).numpy(), gaussian(3, 200, 1).numpy()
    y = y + x[:, :1] + others[:, 1:2]

    def sse(*parts):
        wide = np.column_stack([*parts, np.ones(200)])
        return float(((y - wide @ np.linalg.lstsq(wide, y, rcond=None)[0]) ** 2).sum())

    whole = sse(x, others)
    assert partial(x, others, y)[0, 0] == pytest.approx(1 - whole / sse(x[:, 1], others), rel=1e-4)
    assert partial(x, others, y)[1, 0] == pytest.approx(1 - whole / sse(x[:, 0], others), rel=1e-4)


def seen(made, column):
    state = torch.cat([made.states, column], dim=1)
    return replace(made, observations=Observation(state=state))


def test_leaks(gaussian):
    targets = waves()
    states = rolled(targets, targets[:, 0], lambda x, u, _: x + 0.8 * (u - x))
    made = episodes(states, targets)
    # targets that the state is near are no leak
    assert "leaks" not in faults(made)
    copy = faults(seen(made, 5 - 2 * made.actions[:, :1]))["leaks"]
    assert copy.severity == "error"
    assert {k: copy.values[k] for k in ("which", "coordinates", "noisy")} == {
        "which": "current",
        "coordinates": ["observation[2]"],
        "noisy": [False],
    }
    late = torch.cat([targets[:, :1], targets[:, :-1]], dim=1).flatten(0, 1)
    past = faults(seen(made, late[:, 1:]))["leaks"]
    assert past.severity == "warning"
    assert (past.values["which"], past.values["back"], past.values["coordinates"]) == (
        "previous",
        1,
        ["observation[2]"],
    )
    noisy = made.actions[:, :1] + made.actions[:, :1].std() * 0.3 * gaussian(4, len(made.actions), 1)
    assert "leaks" not in faults(seen(made, noisy))


def test_a_linear_law_is_no_leak():
    """Where u = -k x, the one coordinate is the action but for scale; it is a state all the same."""
    start = torch.linspace(-2, 2, COUNT, dtype=torch.float64)[:, None]
    states = torch.stack([start * 0.9**t for t in range(LENGTH)], dim=1)
    assert "leaks" not in faults(episodes(states, -0.1 * states))


def forked(shown, count=40, length=40):
    """Half the episodes turn left, half right, from equal starts; `shown` writes the choice into the observation."""
    rng = stream(0, "tests", "doctor", "fork")
    side = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0).double()[:, None]
    along = torch.linspace(0, 1, length, dtype=torch.float64)[None].repeat(count, 1)
    noise = 0.01 * torch.randn(count, length, 2, dtype=torch.float64, generator=rng)
    states = torch.stack([along, torch.zeros_like(along)], dim=-1) + noise
    turn = side.expand(count, length) + 0.05 * torch.randn(count, length, dtype=torch.float64, generator=rng)
    made = episodes(states, turn[..., None])
    choice = 0.2 * side.repeat_interleave(length, 0) + noise[..., :1].flatten(0, 1)
    return seen(made, choice) if shown else made


def test_two_answers():
    two = values(forked(shown=False), "modes")
    assert two["share"] > 0.9
    assert two["left_open"] > 0.8
    one = values(forked(shown=True), "modes")
    assert one["share"] < 0.01


def test_wide_answers_are_not_two(gaussian):
    # uniform answers that have nothing to do with the observation: a spread, not two
    rng = stream(0, "tests", "doctor", "wide")
    answers = torch.rand(40, 1, 1, dtype=torch.float64, generator=rng).expand(40, 40, 1)
    made = episodes(gaussian(5, 40, 40, 2), answers)
    wide = values(made, "modes")
    assert wide["share"] < 0.05
    assert wide["left_open"] > 0.8


def test_splits_go_between_the_parts():
    chunks = np.array([[[0.0, 0], [1, 1], [0.1, 0], [1, 0.9], [0, 0.1], [0.9, 1], [1, 1], [0, 0]]], dtype=np.float32)
    found = bisect(chunks)
    parts = {tuple(np.flatnonzero(found.right[0])), tuple(np.flatnonzero(~found.right[0]))}
    assert parts == {(1, 3, 5, 6), (0, 2, 4, 7)}
    # means (0.025, 0.025) and (0.975, 0.975)
    assert found.apart[0] == pytest.approx(0.95)
    assert found.eta[0] > 0.98


def test_neighbours_are_those_of_brute_force():
    made = episodes(waves(6, 30), waves(6, 30))
    near = neighbours_of(recording_of(made), horizon=4)
    z = made.states / ((made.states.amax(0) - made.states.amin(0)) / 2)
    gaps = torch.cdist(z, z) / math.sqrt(2)
    rows = torch.as_tensor(near.rows)
    for episode in range(6):
        others = (rows // 30 != episode).nonzero().flatten()
        wanted = gaps[rows[others]][:, 30 * episode : 30 * (episode + 1)].amin(dim=1)
        assert near.distance[others, episode] == pytest.approx(wanted.numpy(), abs=1e-5)
    assert np.isinf(near.distance[np.arange(len(rows)), near.rows // 30]).all()
    # a chunk repeats the last action beyond the end
    last = near.chunks.of(np.array([29]))[0].reshape(4, 2)
    assert np.allclose(last, last[0])


def test_coverage():
    line = torch.linspace(0, 1, LENGTH, dtype=torch.float64)
    # parallel paths at heights 0, 0.1, …, 0.9; scaled to [-1, 1] neighbours are 2 / 9 apart in one of two coordinates
    states = torch.stack([torch.stack([line, torch.full_like(line, 0.1 * n)], dim=1) for n in range(10)])
    made = episodes(states, states.flip(-1))
    between = 2 / 9 / math.sqrt(2)
    diagnosis = inspect_episodes(made)
    assert diagnosis.coverage.paths == pytest.approx(between, rel=1e-4)
    assert diagnosis.coverage.starts == pytest.approx(between, rel=1e-4)
    starts = next(f.values for f in diagnosis.findings if f.check == "starts covered")
    assert (starts["within_0.1"], starts["within_0.3"]) == (0.0, 1.0)
    kernel = [[math.exp(-(((i - j) * between) ** 2) / 0.02) for i in range(10)] for j in range(10)]
    assert starts["effective"] == pytest.approx(100 / sum(map(sum, kernel)), rel=1e-4)


def test_effective_starts_of_twins():
    states = waves(4, 30).repeat(5, 1, 1)
    twins = neighbours_of(recording_of(episodes(states, states)), horizon=4)
    assert effective_starts(twins) <= 4 + 1e-6


def test_an_odd_episode():
    states = waves(COUNT, LENGTH) * 0.1
    states[6] += 2.0
    found = values(episodes(states, states), "odd episodes")
    assert found["episodes"] == [6]


# ---- real sets ----


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real demonstrations are not at {path}")
    return path


def arrays(path):
    with zipfile.ZipFile(path) as file:
        return {
            name.removesuffix(".npy"): npy.read_array(file.open(name), allow_pickle=False) for name in file.namelist()
        }


def test_real_pusht():
    path = real("pusht/pusht_cchi_v7_replay.zarr")
    found = inspect_episodes(format_named(format_of(path)).read(path))
    assert blamed(found) == {}
    meant = told(found, "semantics")
    assert meant["kind"] == "target"
    assert [(m["state"], m["lag"]) for m in meant["coordinates"]] == [("state agent_x", 2), ("state agent_y", 2)]
    assert told(found, "starts covered")["within_0.3"] == 1.0


def test_real_g1():
    path = real("lerobot_v21_g1")
    found = inspect_episodes(format_named(format_of(path)).read(path))
    # finger targets stand at their ends; nothing else is amiss
    assert set(blamed(found)) == {"limits"}
    meant = told(found, "semantics")
    targets = [m for m in meant["coordinates"] if m["kind"] == "target"]
    assert len(targets) >= 24
    # each joint follows the action of its own name
    assert all(m["state"].split()[-1] == m["action"].split()[-1] for m in targets)
    lags = {m["action"].split()[-1]: m["lag"] for m in targets}
    assert 3 <= lags["kRightElbow"] <= 5 < 8 <= lags["kRightHandPinky"] <= 13


def test_real_avoiding():
    raw = arrays(real("avoiding/avoiding.npz"))
    ends = [0, *raw["episode_ends"].tolist()]
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    wanted = [torch.tensor(raw["des_c_pos"][part, :2]) for part in parts]
    actual = [torch.tensor(raw["c_pos"][part, :2]) for part in parts]
    made = Episodes(
        actions=torch.cat([x.diff(dim=0) for x in wanted]),
        states=torch.cat([torch.cat([x, y], dim=1)[:-1] for x, y in zip(wanted, actual, strict=True)]),
        lengths=torch.tensor([len(x) - 1 for x in wanted]),
    )
    found = inspect_episodes(made)
    meant = told(found, "semantics")
    assert meant["kind"] == "velocity"
    assert [(m["state"], m["lag"]) for m in meant["coordinates"]] == [("state[0]", 1), ("state[1]", 1)]
    # 24 ways around the obstacles
    assert told(found, "modes")["share"] > 0.1
    assert set(blamed(found)) == {"limits"}


@pytest.mark.parametrize("name", ["Hopper", "HalfCheetah"])
def test_real_torques(name):
    raw = arrays(real(f"mujoco_experts/{name}_v4_demos.npz"))
    made = Episodes(
        actions=torch.tensor(raw["action"]).double(),
        states=torch.tensor(raw["observation"]),
        lengths=torch.tensor(np.diff(raw["episode_ends"], prepend=0)),
    )
    found = inspect_episodes(made)
    assert blamed(found) == {}
    meant = told(found, "semantics")
    assert {m["kind"] for m in meant["coordinates"]} == {"force"}


def test_expert_flights(demos):
    """Expert flights of a quadrotor are without fault; thrust moves z, torque turns the vehicle."""
    found = inspect_episodes(demos)
    # four starts drawn from a wide range are far from one another
    assert set(blamed(found)) <= {"starts covered"}
    meant = told(found, "semantics")
    assert meant["kind"] == "force"
    assert [m["state"] for m in meant["coordinates"]] == ["state[4]", "state[5]"]
