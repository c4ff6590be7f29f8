"""Named random streams: reproducible, independent of one another."""

import torch

from holdfast.seeding import stream


def test_equal_names_repeat_and_others_differ():
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", "b"), (0, "a", 0), (0, "a", 1), (-1, "a")]
    draws = [torch.rand(4, generator=stream(*name)) for name in names]
    for index, name in enumerate(names):
        assert torch.equal(draws[index], torch.rand(4, generator=stream(*name)))
        assert not any(torch.equal(draws[index], other) for other in draws[:index])


def test_streams_are_uncorrelated_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    a, b = (torch.randn(20_000, dtype=torch.float64, generator=stream(0, name)) for name in ("a", "b"))
    assert abs(float((a * b).mean())) < 4 / 20_000**0.5
    assert torch.equal(torch.get_rng_state(), before)
