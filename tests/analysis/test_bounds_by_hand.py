"""Theorems 1 and 2 by hand: every term of the statements in docs/theory.md, sections 3 and 4, in numbers."""

import math

import pytest
from scipy.stats import norm

from holdfast.analysis.bounds import tvc_bound
from holdfast.analysis.chunk_bounds import AffineLoop, theorem1_bound, theorem2_bound

LOG2 = math.log(2)
# deviations double at once and halve at every step: after k steps 2 · 2^-k are left
HALVING = AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=0.5)


@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_theorem1(chunks):
    """A chunk of 3 leaves ¼, so q = 3 (1 + 1 / ¾) = 7 and c₁ = 7; γ(0.4) = 0.04; Δ_δ = δ: (H − 1) 0.04 + 0.4/7."""
    loop = AffineLoop(2.0, LOG2, 3.0, chunk=3, gain_radius=0.5)
    bound = theorem1_bound(0.4, loop=loop, chunks=chunks, modulus=lambda r: r / 10, policy_error=lambda d: d)
    assert bound.value == pytest.approx((chunks - 1) * 0.04 + 0.4 / 7)


@pytest.mark.parametrize(
    ("loop", "tolerance", "eps", "expected"),
    [
        (HALVING, 0.1, 0.2, 1.0),  # all below 1
        (AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=1.5), 0.2, 1.0, 1.7),  # R_K + δ
        (AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=1.5), 0.2, 2.5, 2.5),  # ε
        (AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=1.5, offset=0.9), 0.2, 1.0, 1.9),  # ε + r₀
        (AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=1.5, offset=0.9, same_gains=True), 0.2, 2.5, 1.5),  # R_K
    ],
)
def test_mismatch(loop, tolerance, eps, expected):
    assert loop.mismatch(tolerance, eps) == pytest.approx(expected)


def test_c1_with_other_gains_and_an_offset():
    """R_K = 0.9, ε = 0.4, r₀ = 2: m = 2.4, q = 7, |u| ≤ 0.9 · 7 + 1 = 7.3, c₁ = 2.4 · 7.3."""
    loop = AffineLoop(2.0, LOG2, 3.0, chunk=3, gain_radius=0.9, offset=2.0)
    assert loop.c1(0.4) == pytest.approx(2.4 * 7.3)


def least(radius, continuity, tail):
    """Smallest sum over the two hundred radii, and its parts."""
    radii = [radius * (i + 1) / 200 for i in range(200)]
    return min(continuity(r) + tail(r) for r in radii)


def test_theorem2_with_a_window_of_two_states():
    """τ = 5, w = 2: η = 2 · 2⁻⁴ = 1/8. δ = 0.01, m = 1: p = 0.01, g = 0.03. ε = 1, R_K = ½: X ≤ 1, as ½ X + 0.01 ≤ 1.

    X = 2 (0.02 r + 0.03) · 8/7 + 0.03 ≤ 1 at σ = 0.01;  D = (r/400 + 0.03) · 8/7;  O² = 2 D².  Two states: e^(−r²/2).
    """
    found = theorem2_bound(
        1.0, loop=HALVING, chunks=3, sigma=0.01, n_states=2, tolerance=0.01, policy_error=0.05, window=2
    )
    radius = (0.97 * 7 / 16 - 0.03) / 0.02

    def continuity(r):
        return 2 * (2 * norm.cdf(math.sqrt(2) * (r / 400 + 0.03) * 8 / 7 / 0.02) - 1)

    expected = least(radius, continuity, lambda r: 6 * math.exp(-(r**2) / 2)) + 0.05
    assert found.value == pytest.approx(expected)
    assert found.ingredients["left"] == pytest.approx(1 / 8)


def test_theorem2_that_observes_actions():
    """With σ = 0.2, δ = 0, three states and two actions: η = 2 · 2⁻³, p = g = 0, D = 2ησr/(1 − η) = 2r/15."""
    found = theorem2_bound(
        4.0,
        loop=HALVING,
        chunks=2,
        sigma=0.2,
        n_states=1,
        tolerance=0.0,
        policy_error=0.0,
        window=3,
        actions_observed=True,
    )

    def continuity(r):
        drift = 2 * r / 15
        return 2 * norm.cdf(math.sqrt(3 * drift**2 + 2 * (drift / 2) ** 2) / 0.4) - 1

    # 2 · 0.4 r · 4/3 ≤ 4
    assert found.value == pytest.approx(least(4 * 3 / 3.2, continuity, lambda r: 4 * 2 * norm.sf(r)))


def test_theorem2_with_other_gains():
    """R_K = 1.5, ε = 2, δ = 0.01: m = 2, p = 0.02, g = 0.06; |u| ≤ 1.5 X + 0.02 ≤ 2, so X ≤ 1.32; η = 2 · 2⁻⁵."""
    loop = AffineLoop(2.0, LOG2, 3.0, chunk=5, gain_radius=1.5)
    found = theorem2_bound(2.0, loop=loop, chunks=4, sigma=0.05, n_states=1, tolerance=0.01, policy_error=0.1)
    radius = ((1.32 - 0.06) * 15 / 32 - 0.06) / 0.1

    def continuity(r):
        return 3 * (2 * norm.cdf((r / 160 + 0.06) * 16 / 15 / 0.1) - 1)

    assert found.value == pytest.approx(least(radius, continuity, lambda r: 8 * 2 * norm.sf(r)) + 0.1)


def test_a_window_as_long_as_the_chunk_leaves_one_step():
    """τ = w = 5: η = 2 · 2⁻¹ = 1, so nothing contracts, although a whole chunk leaves 1/16."""
    found = theorem2_bound(
        1.0, loop=HALVING, chunks=1, sigma=0.01, n_states=1, tolerance=0.0, policy_error=0.0, window=5
    )
    assert found.value == math.inf
    assert "its factor is 1: lengthen it" in found.violated[0]


def test_radii_within_which_constants_hold():
    """Input errors are m δ = 1.7 · 0.2 = 0.34; deviations reach ε = 1."""
    constants = {"chunk": 5, "gain_radius": 1.5}
    for radii, broken in (
        ({"c_xi": 1.0, "input_radius": 0.34001}, ()),
        ({"c_xi": 0.99, "input_radius": 1.0}, ("deviations within",)),
        ({"c_xi": 2.0, "input_radius": 0.33}, ("input errors of at most",)),
    ):
        loop = AffineLoop(2.0, LOG2, 3.0, **constants, **radii)
        found = loop.violations(1.0, 0.2, 1.0, 0.5)
        assert len(found) == len(broken)
        assert all(text.startswith(start) for text, start in zip(found, broken, strict=True))


@pytest.mark.parametrize("steps", [1, 4])
def test_tvc_bound(steps):
    """β/(1 − α) = 2, so ε' = 0.2; γ(0.4) = 0.04: (T − 1) 0.04 + 0.2."""
    bound = tvc_bound(0.4, alpha=0.75, beta=0.5, steps=steps, modulus=lambda r: r / 10, policy_error=lambda d: d)
    assert bound.value == pytest.approx((steps - 1) * 0.04 + 0.2)
