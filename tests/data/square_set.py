"""The Square demonstrations, for tests that need them."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("HOLDFAST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SQUARE = DATA / "robomimic_square" / "square_ph_low_dim.hdf5"

needs_square = pytest.mark.skipif(
    not SQUARE.exists(), reason="needs robomimic_square in HOLDFAST_DATA or ../shared/data"
)
