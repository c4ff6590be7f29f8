"""The obstacle course and its tracker: geometry by hand, constants against the human demonstrations."""

import math
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from scipy.optimize import least_squares
from torch.testing import assert_close

from holdfast.control import System, Tvlqr, closed_loop, linearize, synthesize_episodes
from holdfast.control.systems import SYSTEMS, Avoid
from holdfast.control.systems.avoid_course import (
    AVOID_FINISH,
    AVOID_OBSTACLES,
    AVOID_ROD,
    AVOID_START,
    clearance,
    gaps_passed,
    mode_of,
    mode_of_gaps,
)
from holdfast.types import Episodes

ROOT = Path(__file__).resolve().parents[2]
HUMAN = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data")) / "avoiding" / "avoiding.npz"


class Record(NamedTuple):
    """One human demonstration: desired and actual positions, x and y."""

    desired: torch.Tensor
    actual: torch.Tensor


@pytest.fixture(scope="module")
def human() -> list[Record]:
    if not HUMAN.exists():
        pytest.skip(f"no human demonstrations of obstacle avoidance at {HUMAN}")
    with zipfile.ZipFile(HUMAN) as archive:
        read = lambda name: npy.read_array(archive.open(f"{name}.npy"), allow_pickle=False)  # noqa: E731
        desired, actual = (torch.tensor(read(name)[:, :2]).double() for name in ("des_c_pos", "c_pos"))
        lengths = np.diff(read("episode_ends"), prepend=0).tolist()
    return [Record(*parts) for parts in zip(desired.split(lengths), actual.split(lengths), strict=True)]


def _until_finish(record: Record) -> Record:
    last = int((record.actual[:, 1] > AVOID_FINISH).double().argmax())
    return Record(record.desired[: last + 1], record.actual[: last + 1])


# --- the system


def test_it_is_a_system_but_no_task():
    arm = Avoid()
    assert isinstance(arm, System)
    assert arm.name not in SYSTEMS
    assert (len(arm.state_names), len(arm.action_names)) == (arm.n_states, arm.n_actions) == (6, 2)


def test_a_step_is_its_formula_coordinate_by_coordinate():
    arm = Avoid(pull=(0.5, 0.25), lead=(0.125, 0.0625), carry=(0.75, 0.5), dt=0.5)
    after = arm.step(torch.tensor([1.0, 2.0, 0.0, 0.0, 4.0, 8.0]), torch.tensor([8.0, 16.0]))
    # x: 0.5 · 1 + 0.125 · 8 + 0.75 · 0.5 · 4 = 3;  y: 0.25 · 2 + 0.0625 · 16 + 0.5 · 0.5 · 8 = 3.5
    assert after.tolist() == [9.0, 18.0, 3.0, 3.5, 6.0, 7.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batched_step_is_a_loop_of_steps_in_its_dtype(dtype, gaussian):
    states, actions = gaussian(2, 3, 4, 6).to(dtype), gaussian(3, 3, 4, 2).to(dtype)
    batched = Avoid().step(states, actions)
    assert batched.dtype == dtype
    assert_close(batched[2, 1], Avoid().step(states[2, 1], actions[2, 1]))


def test_it_is_differentiable(gaussian):
    points = gaussian(4, 2, 6).requires_grad_(), gaussian(5, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(Avoid().step, points)


def test_the_rod_comes_to_rest_where_it_is_told_to_be():
    arm, state = Avoid(), torch.zeros(6, dtype=torch.float64)
    state = arm.step(state, torch.tensor([0.01, 0.02], dtype=torch.float64))
    for _ in range(400):
        state = arm.step(state, torch.zeros(2, dtype=torch.float64))
    assert_close(state, torch.tensor([0.01, 0.02, 0.01, 0.02, 0, 0], dtype=torch.float64), rtol=0, atol=1e-9)


# --- the course


def test_clearance_is_that_of_the_nearest_point_on_the_way(gaussian):
    before, after = 0.1 * gaussian(6, 200, 2) + 0.3, 0.1 * gaussian(7, 200, 2) + 0.3
    shares = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None, None]
    points = before + shares * (after - before)
    cylinders = torch.tensor(AVOID_OBSTACLES, dtype=torch.float64)
    apart = (points[..., None, :] - cylinders[:, :2]).norm(dim=-1) - cylinders[:, 2]
    assert_close(clearance(before, after), apart.amin(-1).amin(0), rtol=0, atol=2e-4)


def test_clearance_of_standing_still_is_that_of_the_point():
    assert_close(clearance(torch.tensor([0.5, -0.2]), torch.tensor([0.5, -0.2])), torch.tensor(0.07))


def test_a_row_counts_where_it_is_first_reached():
    # begins the first row on its left side and ends it on its right: left
    path = torch.tensor([[0.52, -0.28], [0.49, -0.125], [0.51, -0.075], [0.3, 0.06], [0.6, 0.09], [0.66, 0.27]])
    assert float(mode_of(path)) == 12 * 0 + 4 * 0 + 3
    assert float(mode_of(path[[0, 2, 1, 3, 4, 5]])) == 12 + 3


def test_every_combination_of_gaps_is_a_mode_of_its_own():
    gates = ((0.45, 0.55), (0.4, 0.5, 0.6), (0.3, 0.4, 0.6, 0.7))
    paths = [
        [(0.52, -0.28), (first, -0.1), (second, 0.08), (third, 0.28)]
        for first in gates[0]
        for second in gates[1]
        for third in gates[2]
    ]
    assert mode_of(torch.tensor(paths)).tolist() == list(range(24))


@pytest.mark.parametrize("stops_after", [1, 2, 3])
def test_a_path_that_misses_a_row_has_no_mode(stops_after):
    path = torch.tensor([[0.52, -0.28], [0.45, -0.1], [0.5, 0.08], [0.4, 0.28]])
    assert math.isnan(float(mode_of(path[:stops_after])))
    assert math.isnan(float(mode_of(path[torch.arange(4) != stops_after])))


def test_gaps_row_by_row_agree_with_modes(gaussian):
    path = torch.tensor(AVOID_START) + 0.1 * gaussian(8, 50, 30, 2).cumsum(1).abs()
    seen = torch.full((50, 3), -1)
    for point in path.unbind(1):
        seen = torch.where(seen < 0, gaps_passed(point), seen)
    expected = mode_of_gaps(seen)
    assert int(expected.isfinite().sum()) > 0
    assert_close(mode_of(path), expected, equal_nan=True, rtol=0, atol=0)


# --- against what people did


def test_people_go_all_ways_and_touch_nothing(human):
    modes = torch.stack([mode_of(record.actual) for record in human])
    counts = torch.bincount(modes.long(), minlength=24)
    assert (len(human), counts.min(), counts.max()) == (96, 3, 5)
    free = torch.stack([clearance(record.actual[:-1], record.actual[1:]).min() for record in human])
    assert float(free.min()) == pytest.approx(0.0116, abs=1e-4)


def test_constants_are_those_that_the_demonstrations_give(human):
    """The fit, made again in numpy from its description: least squares over free runs, and no run may touch."""
    records = [_until_finish(record) for record in human]
    steps = max(len(record.actual) for record in records)
    index = np.array([np.minimum(np.arange(steps), len(record.actual) - 1) for record in records])
    desired, actual = (
        np.stack([record[which].numpy()[rows] for record, rows in zip(records, index, strict=True)]) for which in (0, 1)
    )
    inside = np.array([np.arange(steps) < len(record.actual) for record in records])

    def run(constants):
        pull, lead, carry = constants.reshape(3, 2)
        path = [actual[:, 0], actual[:, 0]]
        for t in range(steps - 1):
            moved = pull * (desired[:, t] - path[-1]) + lead * (desired[:, t + 1] - desired[:, t])
            path.append(path[-1] + moved + carry * (path[-1] - path[-2]))
        return np.stack(path[1:], axis=1)

    def errors(constants):
        path = run(constants)
        free = clearance(torch.tensor(path[:, :-1]), torch.tensor(path[:, 1:])).numpy()
        too_close = np.clip(0.011 - np.where(inside[:, 1:], free, 1.0).min(1), 0, None)
        return 1e3 * np.concatenate([(path - actual)[inside].ravel(), 100 * too_close])

    arm = Avoid()
    fitted = least_squares(errors, np.array([0.1, 0.05, 0.3, 0.1, 0.6, 0.9])).x.reshape(3, 2)
    np.testing.assert_allclose(np.array([arm.pull, arm.lead, arm.carry]), fitted, atol=2e-4)
    off = 1e3 * np.sqrt(np.square((run(fitted) - actual)[inside]).mean(0))
    np.testing.assert_allclose(off, [7.24, 8.58], atol=0.02)


def test_one_step_is_explained_as_well_as_the_system_says(human):
    arm = Avoid()
    moved, predicted = list[torch.Tensor](), list[torch.Tensor]()
    for record in map(_until_finish, human):
        states = arm.states_along(record.desired, record.actual)
        following = arm.step(states[:-1], record.desired.diff(dim=0))
        moved.append(record.actual.diff(dim=0))
        predicted.append(following[:, 2:4] - record.actual[:-1])
    left = torch.cat(moved) - torch.cat(predicted)
    explained = 1 - left.square().sum(0) / (torch.cat(moved) - torch.cat(moved).mean(0)).square().sum(0)
    assert_close(explained, torch.tensor([0.979, 0.986]).double(), rtol=0, atol=1e-3)
    assert_close(1e3 * left.square().mean(0).sqrt(), torch.tensor([1.10, 0.68]).double(), rtol=0, atol=0.01)


def test_gains_hold_on_to_human_demonstrations(human):
    arm = Avoid()
    states = [arm.states_along(record.desired, record.actual)[:-1] for record in human]
    episodes = Episodes(
        actions=torch.cat([record.desired.diff(dim=0) for record in human]),
        states=torch.cat(states),
        lengths=torch.tensor([len(part) for part in states]),
    )
    gains = synthesize_episodes(Tvlqr(state_weight=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0)), arm, episodes).gains
    # the system is linear, so all steps share one gain
    assert_close(gains, gains[:1].expand_as(gains), rtol=0, atol=1e-9)
    along = linearize(arm, episodes.states[:1], episodes.actions[:1])
    open_loop = torch.linalg.eigvals(along.A[0]).abs().max()
    closed = torch.linalg.eigvals(closed_loop(along.A, along.B, gains[:1])[0]).abs().max()
    assert float(open_loop) == pytest.approx(1.0)
    assert float(closed) < 0.85


def test_the_rod_clears_every_replayed_demonstration(human):
    arm = Avoid()
    for record in human:
        state = torch.tensor([*AVOID_START, *AVOID_START, 0, 0]).double()
        path = [state[2:4]]
        for action in torch.cat([record.desired[:1] - state[:2], record.desired.diff(dim=0)]):
            state = arm.step(state, action)
            path.append(state[2:4])
        flown = _until_finish(Record(torch.stack(path), torch.stack(path))).actual
        assert float(flown[-1, 1]) > AVOID_FINISH
        assert float(clearance(flown[:-1], flown[1:]).min()) > AVOID_ROD
        assert float(mode_of(flown)) == float(mode_of(record.actual))
