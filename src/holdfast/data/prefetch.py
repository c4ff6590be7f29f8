"""Pictures decoded ahead of use by threads; decoding releases Python's lock, so it overlaps with training."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..errors import RecipeError
from ..types import Pictures

Decoded = dict[str, Tensor]


def read_windows(pictures: Pictures, rows: Int[Tensor, "*window"]) -> UInt8[Tensor, "*window height width channels"]:
    """The pictures of windows of rows; a row that several windows share is decoded once.

    >>> from holdfast.data import Frames
    >>> pictures = Frames(torch.zeros(5, 8, 10, 3, dtype=torch.uint8))
    >>> read_windows(pictures, torch.tensor([[0, 0], [1, 2]])).shape
    torch.Size([2, 2, 8, 10, 3])
    """
    distinct, places = np.unique(rows.numpy(), return_inverse=True)
    return pictures.read(torch.as_tensor(distinct))[torch.as_tensor(places).reshape(rows.shape)]


def prefetched(
    cameras: Mapping[str, Pictures],
    batches: Iterable[Int[Tensor, "*window"]],
    *,
    threads: int = 2,
    ahead: int = 4,
) -> Iterator[tuple[Tensor, Decoded]]:
    """Each batch of rows with its pictures by camera, in order; later batches are decoded in the background.

    The pictures and their order do not depend on the number of threads. An error in a thread is raised when its batch
    is due. When the iterator is closed or discarded, batches that were not started are not decoded.

    >>> from holdfast.data import Frames
    >>> top = Frames(torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1))
    >>> [pictures["top"].flatten().tolist() for _, pictures in prefetched({"top": top}, torch.tensor([[2, 0], [1, 1]]))]
    [[2, 0], [1, 1]]
    """
    if threads < 1 or ahead < 1:
        raise RecipeError(f"prefetching needs threads >= 1 and ahead >= 1, got {threads} and {ahead}.")
    return _prefetched(cameras, iter(batches), threads, ahead)


def _prefetched(
    cameras: Mapping[str, Pictures], batches: Iterator[Tensor], threads: int, ahead: int
) -> Iterator[tuple[Tensor, Decoded]]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    waiting = deque[tuple[Tensor, Future[Decoded]]]()
    try:
        for rows in batches:
            waiting.append((rows, pool.submit(_decoded, cameras, rows)))
            if len(waiting) == ahead:
                yield _due(waiting)
        while waiting:
            yield _due(waiting)
    finally:
        # also reached when the consumer stops: a discarded generator is closed
        pool.shutdown(cancel_futures=True)


def _due(waiting: deque[tuple[Tensor, Future[Decoded]]]) -> tuple[Tensor, Decoded]:
    rows, pictures = waiting.popleft()
    return rows, pictures.result()


def _decoded(cameras: Mapping[str, Pictures], rows: Tensor) -> Decoded:
    return {camera: read_windows(pictures, rows) for camera, pictures in cameras.items()}
