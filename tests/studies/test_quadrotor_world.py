"""The world that the arms of a quadrotor study share."""

import shutil

import pytest

from holdfast.errors import DataError
from holdfast.studies.quadrotor.world import digest_of_world, make_world


def test_a_world_is_made_once_and_told_from_another(tmp_path):
    """Results are kept under the world's digest: other starts, another digest; the same bits elsewhere, the same."""
    first = make_world(tmp_path / "a", demonstrations=1, starts=2)
    again = make_world(tmp_path / "a", demonstrations=1, starts=2)
    assert first.held_out.states.equal(again.held_out.states)
    make_world(tmp_path / "b", demonstrations=1, starts=2, seed=1)
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    one, other, copied = (digest_of_world(tmp_path / name) for name in "abc")
    assert one == copied != other
    with pytest.raises(DataError, match="holds 2 episodes, expected 3"):
        make_world(tmp_path / "a", demonstrations=1, starts=3)
