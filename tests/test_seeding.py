"""Named random streams: reproducible, independent of one another."""

import pytest
import torch

from holdfast.seeding import Draw, Given, Noted, drawn, stream


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


def test_noted_numbers_are_those_of_the_generator_and_can_be_given_again():
    noted = Noted.of(stream(0, "a"))
    first = drawn("normal", (2, 3), rng=noted, dtype=torch.float64)
    second = drawn("uniform", (2,), rng=noted)
    rng = stream(0, "a")
    assert torch.equal(first, torch.randn(2, 3, generator=rng, dtype=torch.float64))
    assert torch.equal(second, torch.rand(2, generator=rng))
    given = Given.of(noted.draws)
    assert torch.equal(drawn("normal", (2, 3), rng=given, dtype=torch.float64), first)
    assert torch.equal(drawn("uniform", (2,), rng=given), second)
    with pytest.raises(ValueError, match="no further draw"):
        drawn("normal", (1,), rng=given)


@pytest.mark.parametrize(("law", "shape"), [("uniform", (2, 3)), ("normal", (2, 4))])
def test_given_numbers_of_another_kind_are_refused(law, shape):
    given = Given.of([Draw("normal", torch.zeros(2, 3))])
    with pytest.raises(ValueError, match=r"expected a draw of normal numbers of shape \[2, 3\]"):
        drawn(law, shape, rng=given)
