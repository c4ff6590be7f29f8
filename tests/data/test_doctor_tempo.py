"""Rates of recording against the speed of the motion: only the former differ between episodes of one recorder."""

import numpy as np
import pytest

from holdfast.data.doctor.rates import check_rates
from holdfast.data.doctor.recording import recording_of

from .robot_parts import joined

DT, COUNT = 0.05, 20
TEMPI = {
    "any": np.random.default_rng(1).uniform(0.3, 0.7, COUNT),
    "two": np.where(np.arange(COUNT) % 3 == 0, 0.6, 0.3),
    "one": np.full(COUNT, 0.4),
}
SLOW = [1, 4, 9, 14, 15]


def swinging(tempo, *, rate=False, slow=()):
    """Two coordinates a quarter of a period apart, or a position with its velocity, at a frequency for each episode."""
    rng, parts = np.random.default_rng(3), []
    for e, frequency in enumerate(2 * np.pi * TEMPI[tempo]):
        t = DT * np.arange(160) * (2 if e in slow else 1)
        w = frequency * t + rng.uniform(0, 2 * np.pi)
        second = (frequency if rate else 1.0) * np.cos(w)
        states = np.stack([np.sin(w), second], axis=1) + 0.002 * rng.normal(size=(len(t), 2))
        parts.append((states, np.sin(w + 0.2)[:, None]))
    return joined(parts, DT)


def blamed(episodes):
    return [finding.values for finding in check_rates(episodes, recording_of(episodes))]


@pytest.mark.parametrize("tempo", TEMPI)
@pytest.mark.parametrize("rate", [True, False])
def test_quick_and_slow_motions_have_one_rate(tempo, rate):
    assert blamed(swinging(tempo, rate=rate)) == []


def test_a_velocity_shows_the_rate_at_every_tempo():
    (values,) = blamed(swinging("any", rate=True, slow=SLOW))
    assert (values["episodes"], values["source"]) == (SLOW, "the motion")
    assert values["ratios"] == pytest.approx([2.0] * len(SLOW), rel=0.03)


def test_one_tempo_cannot_tell_a_velocity_from_a_coordinate_a_quarter_of_a_period_ahead():
    assert blamed(swinging("one", slow=SLOW)) == []


def test_time_steps_that_all_differ_are_no_rates():
    """A gain that differs in every episode moves a coordinate by other amounts, as no recorder does."""
    rng, parts = np.random.default_rng(5), []
    for gain in rng.uniform(0.5, 1.5, COUNT):
        speed = rng.normal(size=(90, 1)).cumsum(axis=0)
        parts.append((np.concatenate([0.05 * gain * np.cumsum(speed, axis=0), speed], axis=1), speed))
    assert blamed(joined(parts, DT)) == []
