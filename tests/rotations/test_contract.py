"""Every representation: the way to six numbers and back, signs, nearest numbers, batches, refusals."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation as Reference

from holdfast.errors import RecipeError
from holdfast.rotations import (
    FORMS,
    Rotation,
    angle,
    are_rotations,
    check_rotations,
    decoded,
    difference,
    encoded,
    encoded_width,
    mean,
    nearest,
    relative,
)
from holdfast.seeding import stream

REFERENCES = {
    "quaternion": lambda r: r.as_quat(),
    "quaternion-wxyz": lambda r: r.as_quat(scalar_first=True),
    "axis-angle": lambda r: r.as_rotvec(),
    "matrix": lambda r: r.as_matrix().reshape(-1, 9),
    "6d": lambda r: r.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(-1, 6),
}


def drawn(form, count=40, seed=0):
    """Rotations in a representation, between two further coordinates and one; SciPy's numbers and matrices."""
    quaternions = torch.randn(count, 4, generator=stream(seed, "q"), dtype=torch.float64)
    reference = Reference.from_quat(quaternions.numpy())
    rest = torch.randn(count, 3, generator=stream(seed, "rest"), dtype=torch.float64)
    numbers = torch.tensor(REFERENCES[form](reference))
    return torch.cat([rest[:, :2], numbers, rest[:, 2:]], dim=1), torch.tensor(reference.as_matrix())


def test_every_form_is_tested():
    assert set(REFERENCES) == set(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_six_numbers_and_back(form):
    values, matrices = drawn(form)
    one = Rotation(2, form)
    code = encoded(values, [one])
    assert code.shape[1] == encoded_width([one], values.shape[1]) == 9
    assert torch.allclose(code[:, 2:8], matrices[:, :, :2].transpose(1, 2).flatten(1), atol=1e-15)
    again = decoded(code, [one])
    assert torch.allclose(one.matrices(again), matrices, atol=1e-14)
    assert torch.equal(again[:, [0, 1, -1]], values[:, [0, 1, -1]])
    # a network's numbers are no rotation: lengths do not matter
    scaled = code * torch.tensor([1, 1, 3, 3, 3, 0.2, 0.2, 0.2, 1])
    assert torch.allclose(decoded(scaled, [one]), again, atol=1e-13)
    assert are_rotations(again, one, within=1e-12).all()


@pytest.mark.parametrize("form", FORMS)
def test_several_rotations_and_axes(form):
    values, _ = drawn(form, 12)
    two = torch.cat([values, values.roll(1, 0)], dim=1).unflatten(0, (3, 4))
    width = values.shape[1]
    both = [Rotation(2, form), Rotation(width + 2, form)]
    code = encoded(two, both)
    assert torch.equal(code[..., :9].flatten(0, 1), encoded(values, both[:1]))
    assert torch.allclose(
        decoded(code, both)[..., width:].flatten(0, 1), decoded(encoded(values, both[:1]).roll(1, 0), both[:1])
    )


@pytest.mark.parametrize("form", FORMS)
def test_other_numbers_of_the_same_rotation(form):
    values, _ = drawn(form)
    one = Rotation(2, form)
    other = values.clone()
    if form.startswith("quaternion"):
        other[:, 2:6] *= -1
    elif form == "axis-angle":
        lengths = values[:, 2:5].norm(dim=1, keepdim=True)
        other[:, 2:5] *= 1 - 2 * math.pi / lengths
    assert torch.allclose(encoded(other, [one]), encoded(values, [one]), atol=1e-14)
    assert float(angle(other, values, one).max()) < 1e-14
    assert torch.allclose(nearest(other, values, [one]), values, atol=1e-14)
    assert torch.allclose(difference(other, values, [one])[:, 2:5], torch.zeros(3, dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_differences_are_those_of_scipy(form):
    (x, first), (y, second) = drawn(form), drawn(form, seed=1)
    one = Rotation(2, form)
    expected = Reference.from_matrix(second.numpy()).inv() * Reference.from_matrix(first.numpy())
    assert torch.allclose(relative(x, y, one), torch.tensor(expected.as_rotvec()), atol=1e-13)
    assert torch.allclose(angle(x, y, one), torch.tensor(expected.magnitude()), atol=1e-14)
    assert torch.equal(difference(x, y, [one])[:, [0, 1, -1]], (x - y)[:, [0, 1, -1]])


@pytest.mark.parametrize("form", FORMS)
def test_the_mean_is_that_of_scipy(form):
    several = torch.stack([drawn(form, seed=seed)[0] for seed in range(4)])
    one = Rotation(2, form)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)[:, None].expand(4, 40)
    found = mean(several, weights, [one])
    for row in range(40):
        expected = Reference.from_matrix(one.matrices(several)[:, row].numpy()).mean(weights[:, row].numpy())
        assert torch.allclose(one.matrices(found)[row], torch.tensor(expected.as_matrix()), atol=1e-12)
    assert torch.allclose(found[:, 0], (weights * several[..., 0]).sum(0))


def test_the_mean_of_two_halves_of_a_half_turn():
    """3.1 and −3.1 about one axis are 0.083 apart; the mean of their numbers is the identity, the opposite rotation."""
    two = torch.tensor([[[0.0, 0.0, 3.1]], [[0.0, 0.0, -3.1]]], dtype=torch.float64)
    found = mean(two, torch.full((2, 1), 0.5, dtype=torch.float64), [Rotation(0, "axis-angle")])
    assert torch.allclose(found.abs(), torch.tensor([[0.0, 0.0, math.pi]], dtype=torch.float64))


def test_angles_have_all_digits():
    one = Rotation(0, "axis-angle")
    for size in (1e-200, 1e-12, 1e-8, 1e-4, 1.0, math.pi - 1e-8):
        x, y = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, size, 0.0], dtype=torch.float64)
        assert float(relative(y, x, one)[1]) == pytest.approx(size, rel=1e-14)
    for size in (1e-8, 1e-4, 1.0, math.pi - 1e-8):
        assert float(angle(torch.tensor([0.0, size, 0.0], dtype=torch.float64), x, one)) == pytest.approx(
            size, rel=1e-7
        )


@pytest.mark.parametrize(
    ("rotations", "said"),
    [
        ((Rotation(0, "6d"), Rotation(5, "axis-angle")), "overlap or are out of order: 6d of coordinates 0 to 5"),
        ((Rotation(4, "axis-angle"), Rotation(0, "quaternion")), "out of order"),
        ((Rotation(5, "axis-angle"),), "axis-angle of coordinates 5 to 7 reaches beyond the 7 coordinates of actions"),
    ],
)
def test_impossible_layouts_are_refused(rotations, said):
    with pytest.raises(RecipeError, match=said):
        check_rotations(rotations, 7, "actions")


def test_unknown_forms_and_places_are_refused():
    with pytest.raises(RecipeError, match="expected a rotation as quaternion, quaternion-wxyz"):
        Rotation(0, "euler")
    with pytest.raises(RecipeError, match="0 or above, got -1"):
        Rotation(-1, "6d")
    check_rotations((Rotation(0, "axis-angle"), Rotation(3, "quaternion")), 7, "actions")


def test_numbers_that_are_no_rotation_are_found():
    assert are_rotations(
        torch.tensor([[0.0, 0.6, 0.0, 0.8], [0.0, 0.6, 0.0, 0.9]]), Rotation(0, "quaternion"), within=1e-3
    ).tolist() == [True, False]
    assert are_rotations(
        torch.tensor([[1.0, 0, 0, 0, 1, 0], [1, 0, 0, 0.1, 1, 0]]), Rotation(0, "6d"), within=1e-3
    ).tolist() == [True, False]
    assert are_rotations(torch.full((1, 9), 0.5), Rotation(0, "matrix"), within=1e-3).tolist() == [False]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_mean_of_numbers_that_are_not_finite_is_nan_in_its_own_row(form, bad):
    """The other rows of the batch have the mean that they have without it."""
    several = torch.stack([drawn(form, 3, seed=seed)[0] for seed in range(2)])
    one, weights = Rotation(2, form), torch.full((2, 3), 0.5, dtype=torch.float64)
    sound = mean(several, weights, [one])
    several[0, 1, 3] = bad
    found = mean(several, weights, [one])
    assert found[1, 2:-1].isnan().all()
    assert torch.allclose(found[[0, 2]], sound[[0, 2]], rtol=0, atol=1e-15)
