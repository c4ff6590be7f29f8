"""Options that prepare demonstrations: values that are needed are asked for before any work."""

import pytest

from holdfast.cli.preparing import preparation_changes, preparation_of
from holdfast.data import Preparation


def test_options_that_were_not_given_change_nothing():
    assert preparation_changes(None, None, None, None) == {}
    assert preparation_of(None, None, None, None) == Preparation()


@pytest.mark.parametrize("option", ["--drop-episodes", "--drop-idle"])
@pytest.mark.parametrize("verb", ["train", "inspect"])
def test_an_option_without_values_is_refused(cli, demos_folder, tmp_path, verb, option):
    out = tmp_path / "out"
    status, said = cli(verb, demos_folder, "--out", out, option)
    assert status == 1
    assert said.startswith(f"error: expected at least one value after {option}, got none.")
    assert not out.exists()


def test_given_options_are_fields_of_a_preparation():
    found = preparation_of(("0", "3-7"), ("start", "end"), -2, None)
    assert found == Preparation(drop_episodes=("0", "3-7"), drop_idle=("start", "end"), shift_actions=-2)
