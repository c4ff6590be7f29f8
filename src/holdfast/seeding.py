"""One seed, many independent random streams, each with a name.

A stream's numbers depend on the seed and on its name alone: drawing more from one stream does not change the others.
"""

import hashlib
from collections.abc import Sequence

import torch


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random generator of a seed and a name.

    Args:
        seed: Any integer.
        names: Purpose of the stream, from general to specific, as in `stream(0, "rollout", 3)`.
        device: Device of the generator.

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
    """Streams of several policies whose rows form one batch in equal parts: each policy draws what it would draw alone.

    Attributes:
        each: One stream per policy, in order.
    """

    each: tuple[torch.Generator, ...] = ()

    @classmethod
    def of(cls, each: Sequence[torch.Generator]) -> "Streams":
        """The given streams. Never draw from the result itself; `models.base.standard_normal` draws from its parts."""
        made = cls(device=each[0].device)
        made.each = tuple(each)
        return made
