"""Fingerprints of training sets: other demonstrations are refused, gains may differ in their last bits."""

from dataclasses import replace

import pytest
import torch

from holdfast.control import NoFeedback
from holdfast.data import Actions
from holdfast.errors import RunError, RunWarning
from holdfast.learn import prepare
from holdfast.learn.fingerprint import Fingerprint, check_same_data


@pytest.fixture
def known(tiny_data):
    return Fingerprint.of(tiny_data)


def with_gains(data, factor):
    """The training set with all gains multiplied, and nothing else changed."""
    codes = data.codes.clone()
    codes[:, data.copied :] *= factor
    return replace(data, codes=codes)


def test_the_copied_columns_of_affine_codes_are_actions_and_states(tiny_data, demos):
    assert tiny_data.copied == demos.actions.shape[1] + demos.states.shape[1]


def test_gains_of_another_processor_are_the_same_data(tiny_data, known, tmp_path):
    other = Fingerprint.of(with_gains(tiny_data, 1 + 1e-9))
    assert other.rows == known.rows
    assert other.whole != known.whole
    check_same_data(other, known.stored(), tmp_path)


def test_other_gains_are_refused(tiny_data, known, tmp_path):
    with pytest.raises(RunError, match=r"the gains of the demonstrations differ .* version of holdfast"):
        check_same_data(Fingerprint.of(with_gains(tiny_data, 1.01)), known.stored(), tmp_path)


def test_one_other_action_is_refused(tiny_data, known, tmp_path):
    codes = tiny_data.codes.clone()
    codes[3, 0] = torch.nextafter(codes[3, 0], torch.tensor(torch.inf, dtype=codes.dtype))
    with pytest.raises(RunError, match="the demonstrations differ"):
        check_same_data(Fingerprint.of(replace(tiny_data, codes=codes)), known.stored(), tmp_path)


@pytest.mark.parametrize("stored", [None, 3, {}, {"rows": 1, "gains": 0.0}, {"rows": None}])
def test_a_damaged_fingerprint_is_refused(known, stored, tmp_path):
    with pytest.raises(RunError, match="Restore the data"):
        check_same_data(known, stored, tmp_path)


@pytest.mark.parametrize("gains", [None, "large", float("nan")])
def test_a_fingerprint_without_a_norm_is_refused(known, gains, tmp_path):
    with pytest.raises(RunError, match="gains"):
        check_same_data(known, {"rows": known.rows, "gains": gains}, tmp_path)


def test_an_old_digest_with_gains_is_compared_where_it_can_be(tiny_data, known, tmp_path):
    check_same_data(known, known.whole, tmp_path)
    with pytest.warns(RunWarning, match="cannot be checked here"):
        check_same_data(Fingerprint.of(with_gains(tiny_data, 1 + 1e-9)), known.whole, tmp_path)


def test_an_old_digest_without_gains_is_always_compared(tiny_recipe, demos, tmp_path):
    policy = replace(tiny_recipe.policy, codec=Actions())
    data = prepare(replace(tiny_recipe, policy=policy, synthesis=NoFeedback()), demos)
    found = Fingerprint.of(data)
    assert found.gains == 0.0
    check_same_data(found, found.whole, tmp_path)
    with pytest.raises(RunError, match="the demonstrations differ"):
        check_same_data(found, "0" * 16, tmp_path)
