from pathlib import Path

import pytest
import torch

from holdfast.report import Panel
from holdfast.report.palette import GAINS, RAW_ACTIONS


def _glide(starts: torch.Tensor, steps: int) -> torch.Tensor:
    """From each start straight and ever slower to the origin."""
    shares = 0.9 ** torch.arange(steps + 1, dtype=torch.float64)
    return shares[None, :, None] * starts[:, None, :]


def _fall(starts: torch.Tensor, steps: int) -> torch.Tensor:
    """Free fall from each start, soon far below any picture."""
    seconds = 0.1 * torch.arange(steps + 1, dtype=torch.float64)
    flights = starts[:, None, :].repeat(1, steps + 1, 1)
    flights[..., 1] -= 4.9 * seconds.square()
    return flights


@pytest.fixture
def panels() -> list[Panel]:
    """Three starts, twenty steps: one policy falls, the other glides to the goal."""
    starts = torch.tensor([[1.5, 1.0, 0.4, 0, 0, 0], [-1.0, 0.5, -0.3, 0, 0, 0], [0.5, -1.0, 0.0, 0, 0, 0]]).double()
    expert = _glide(starts, 20)
    falls = Panel("falls", "no feedback", expert[:2, :11], _fall(starts, 20), expert, RAW_ACTIONS)
    return [falls, Panel("holds", "feedback", expert[:2, :11], expert + 0.05, expert, GAINS)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small PNG."""
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.new("RGB", (8, 6), "white").save(path)
    return path
