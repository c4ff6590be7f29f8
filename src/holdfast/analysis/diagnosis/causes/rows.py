"""Rows of a data set: first observations, and the episode of each row."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....types import Episodes


def first_rows(episodes: Episodes) -> Float[Tensor, "episodes d"]:
    """First observation of each episode."""
    return episodes.observed.vector[episodes.starts].double()


def owners(lengths: Int[Tensor, " episodes"]) -> Int[Tensor, " rows"]:
    """Episode of each row."""
    return torch.repeat_interleave(torch.arange(len(lengths)), lengths)
