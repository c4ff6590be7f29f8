"""Networks: plain modules from tensors to tensors, ignorant of what the tensors mean."""

from .mlp import FilmMlp, FilmMlpNet
from .residual import ResidualMlp, ResidualMlpNet

__all__ = ["FilmMlp", "FilmMlpNet", "ResidualMlp", "ResidualMlpNet"]
