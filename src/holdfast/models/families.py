"""All families, and the model that a family's options stand for."""

from typing import assert_never

from .base import ChunkModel, Sizes
from .diffusion import Diffusion, DiffusionModel
from .flow import Flow, FlowModel
from .mip import Mip, MipModel
from .regression import Regression, RegressionModel

__all__ = ["Family", "build_family"]

Family = Diffusion | Flow | Regression | Mip


def build_family(options: Family, sizes: Sizes) -> ChunkModel:
    """An untrained model; its first weights come from PyTorch's global generator."""
    match options:
        case Diffusion():
            return DiffusionModel(options, sizes)
        case Flow():
            return FlowModel(options, sizes)
        case Regression():
            return RegressionModel(options, sizes)
        case Mip():
            return MipModel(options, sizes)
        case _:
            assert_never(options)
