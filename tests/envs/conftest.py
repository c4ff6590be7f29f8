"""Fixtures of environments that are drawn."""

import pytest

from holdfast.envs import make_environment
from holdfast.errors import RecipeError


@pytest.fixture(scope="module")
def drawing():
    """Skips where MuJoCo cannot draw, saying so."""
    pytest.importorskip("mujoco")
    from .puck import PUCK

    try:
        make_environment(PUCK, 1, images=True, cameras={"top": (8, 8)}).close()
    except RecipeError as error:
        if "pictures cannot be drawn here" not in str(error):
            raise
        pytest.skip(f"MuJoCo draws nothing on this machine: {error}")
