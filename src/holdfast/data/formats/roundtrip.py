"""Comparison of a data set with what was read back after writing it."""

import torch
from torch import Tensor

from ...types import Episodes
from .stored import description_of, tensors_of


def differences(written: Episodes, again: Episodes) -> list[str]:
    """Names of everything that differs between two data sets, to the bit; three pictures of each camera are compared.

    >>> short = Episodes(actions=torch.zeros(2, 1), states=torch.ones(2, 3), lengths=torch.tensor([2]), dt=0.1)
    >>> differences(short, short)
    []
    """
    before, after = ({"lengths": episodes.lengths, **tensors_of(episodes)} for episodes in (written, again))
    found = [name for name in before | after if not _equal(before.get(name), after.get(name))]
    before, after = description_of(written), description_of(again)
    found += [name for name in before | after if before.get(name) != after.get(name)]
    cameras = sorted(written.cameras.keys() | again.cameras.keys())
    return found + [f"camera {name}" for name in cameras if not _equal(_sample(written, name), _sample(again, name))]


def _sample(episodes: Episodes, camera: str) -> Tensor | None:
    pictures = episodes.cameras.get(camera)
    last = len(episodes.states) - 1
    return None if pictures is None else pictures.read(torch.tensor([0, last // 2, last]))


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    """Equal to the bit, so that NaN equals itself."""
    if a is None or b is None:
        return a is b
    a, b = a.cpu().contiguous(), b.cpu().contiguous()
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))
