"""One seed, many independent random streams, each with a name.

A stream's numbers depend on the seed and on its name alone, so that code which draws more from one stream leaves
all others as they were.
"""

import hashlib
from collections.abc import Sequence

import torch

__all__ = ["Streams", "stream"]


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random stream of a seed that carries the given names.

    Args:
        seed: Any integer.
        names: What the stream is for, from general to special, as in `stream(0, "rollout", 3)`.
        device: Where the generator lives.

    >>> a, b = stream(0, "weights"), stream(0, "weights")
    >>> bool((torch.randn(3, generator=a) == torch.randn(3, generator=b)).all())
    True
    >>> stream(0, "weights").initial_seed() == stream(0, "noise").initial_seed()
    False
    """
    text = "/".join([str(int(seed)), *map(str, names)])
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Streams(torch.Generator):
    """The streams of several things that run as one batch, in equal parts: each sees what it would see alone.

    Attributes:
        each: Their streams, in order.
    """

    each: tuple[torch.Generator, ...] = ()

    @classmethod
    def of(cls, each: Sequence[torch.Generator]) -> "Streams":
        """The given streams; nothing is drawn from the generator that holds them."""
        made = cls(device=each[0].device)
        made.each = tuple(each)
        return made
