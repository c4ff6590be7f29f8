import pytest
import torch

from holdfast.control import MpcExpert, Quadrotor2D
from holdfast.seeding import stream
from holdfast.types import Trajectory


@pytest.fixture(scope="session")
def quadrotor() -> Quadrotor2D:
    return Quadrotor2D()


@pytest.fixture(scope="session")
def demonstrations(quadrotor: Quadrotor2D) -> Trajectory:
    """Forty expert flights of 100 steps."""
    return MpcExpert(quadrotor).rollout(quadrotor.initial_states(40, rng=stream(0, "tests", "control")), 100)


@pytest.fixture(scope="session")
def rng() -> torch.Generator:
    return stream(0, "tests", "control", "points")
