"""The noise schedule: monotone, as published, and the second moments that it promises."""

import math

import pytest
import torch

from holdfast.models import cosine_schedule
from holdfast.models.schedule import diffused


@pytest.mark.parametrize("levels", [1, 2, 20, 100, 1000])
def test_signal_falls_from_almost_one_to_almost_zero(levels):
    signal = cosine_schedule(levels).signal
    assert signal.shape == (levels,)
    assert bool((signal.diff() < 0).all())
    assert 0 < float(signal[-1]) <= 0.02
    assert float(signal[0]) < 1
    ratio = signal / (1 - signal)
    assert bool((ratio.diff() < 0).all())


def test_follows_the_published_cosine_until_the_last_step():
    levels = 50
    signal = cosine_schedule(levels).signal
    for level in range(levels - 1):
        cos = [math.cos(((t / levels) + 0.008) / 1.008 * math.pi / 2) for t in (level + 1, 0)]
        assert float(signal[level]) == pytest.approx((cos[0] / cos[1]) ** 2, rel=1e-10)
    # the cosine would end at zero signal; the last step is limited instead
    assert float(signal[-1] / signal[-2]) == pytest.approx(0.001, rel=1e-9)


def test_diffusing_mixes_signal_and_noise_by_power(gaussian):
    schedule = cosine_schedule(10)
    clean, noise = gaussian(0, 4, 3, 2), gaussian(1, 4, 3, 2)
    level = torch.tensor([0, 3, 9, 3])
    noisy = diffused(clean, noise, schedule.signal[level][:, None, None])
    for row, k in enumerate(level.tolist()):
        angle = math.acos(math.sqrt(float(schedule.signal[k])))
        expected = math.cos(angle) * clean[row] + math.sin(angle) * noise[row]
        torch.testing.assert_close(noisy[row], expected, rtol=0, atol=1e-12)
