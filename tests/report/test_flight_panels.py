"""The window: what it holds, where flights leave it, how a vehicle stands in it."""

import math

import numpy as np
import pytest
import torch

from holdfast.control import Quadrotor2D
from holdfast.errors import ShapeError
from holdfast.report.flight_panels import Frame, arms, flights_of, frame_of, rotors

FRAME = Frame(left=-2.0, right=2.0, bottom=-1.0, top=1.0)


def _flight(*points):
    states = torch.zeros(1, len(points), 6, dtype=torch.float64)
    states[0, :, :2] = torch.tensor(points)
    return states


def test_frame_holds_demonstrations_and_expert_but_not_crashes(panels):
    frame = frame_of(panels, margin=0.5)
    # The expert's starts span x from −1 to 1.5 and z from −1 to 1; the falling policy ends 19.6 m below.
    assert (frame.left, frame.right, frame.bottom, frame.top) == pytest.approx((-1.5, 2.0, -1.5, 1.5))


def test_no_panels():
    with pytest.raises(ShapeError, match="at least one panel"):
        frame_of([])


def test_a_crash_ends_where_it_crosses_the_frame():
    (flight,) = flights_of(_flight((0.0, 0.0), (1.0, 0.5), (5.0, 1.5), (9.0, 2.5)), FRAME)
    assert flight.exit is not None
    np.testing.assert_allclose(flight.exit, (2.0, 0.75))
    assert len(flight.states) == 2
    assert len(flight.path) == 3


def test_a_flight_that_returns_is_not_cut():
    (flight,) = flights_of(_flight((0.0, 0.0), (0.0, 3.0), (0.0, 0.5)), FRAME)
    assert flight.exit is None
    assert len(flight.path) == 3


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_state_that_is_no_number_ends_the_flight(lost):
    (flight,) = flights_of(_flight((0.0, 0.0), (1.0, 0.5), (lost, lost)), FRAME)
    np.testing.assert_array_equal(flight.exit, (1.0, 0.5))


def test_a_flight_never_inside_is_left_out():
    assert flights_of(_flight((7.0, 0.0), (8.0, 0.0)), FRAME) == []


def test_vehicle_tilts_the_way_it_accelerates():
    """At a positive pitch the thrust, which points from the arm to its rotors, drives towards −x."""
    drone = Quadrotor2D()
    rest = torch.tensor([[0.0, 0, 0.5, 0, 0, 0]], dtype=torch.float64)
    pushed = drone.step(rest, torch.tensor([[8.0, 0.0]], dtype=torch.float64))[0, 3]
    states = rest.numpy()
    upward = np.nanmean(rotors(states, 1.0), axis=0) - np.nanmean(arms(states, 1.0), axis=0)
    assert np.sign(upward[0]) == np.sign(float(pushed)) == -1
    assert upward[1] > 0


def test_arms_keep_their_length():
    states = np.zeros((2, 6))
    states[:, 2] = (0.3, -2.0)
    ends = arms(states, 0.25).reshape(2, 3, 2)[:, :2]
    np.testing.assert_allclose(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1), 0.5)
