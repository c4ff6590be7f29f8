"""What of a set came back from where it was written."""

import torch
from torch import Tensor

from ...types import Episodes
from . import columns

__all__ = ["not_kept"]


def not_kept(written: Episodes, again: Episodes) -> list[str]:
    """Names of what differs between a set and what was read again: bits, dtypes, words, sizes of pictures.

    Of each camera three pictures are compared.

    >>> short = Episodes(actions=torch.zeros(2, 1), states=torch.ones(2, 3), lengths=torch.tensor([2]), dt=0.1)
    >>> not_kept(short, short)
    []
    """
    before, after = columns.arrays(written), columns.arrays(again)
    before |= {"lengths": written.lengths}
    after |= {"lengths": again.lengths}
    lost = [name for name in before | after if not _same(before.get(name), after.get(name))]
    told, found = columns.describe(written), columns.describe(again)
    lost += [name for name in told if told[name] != found[name]]
    cameras = written.cameras.keys() | again.cameras.keys()
    seen = [camera for camera in cameras if _same(_sample(written, camera), _sample(again, camera))]
    return lost + sorted(f"camera {camera}" for camera in cameras - set(seen))


def _sample(episodes: Episodes, camera: str) -> Tensor | None:
    pictures = episodes.cameras.get(camera)
    last = len(episodes.states) - 1
    return None if pictures is None else pictures.read(torch.tensor([0, last // 2, last]))


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
