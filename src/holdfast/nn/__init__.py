"""Networks: plain modules from tensors to tensors, ignorant of what the tensors mean."""

from .mlp import FilmMlp, FilmMlpNet

__all__ = ["FilmMlp", "FilmMlpNet"]
