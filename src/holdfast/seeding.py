"""One seed, many independent random streams, each with a name; and random numbers that are noted or given.

A stream's numbers depend on the seed and on its name alone: drawing more from one stream does not change the others.

Everything that plans draws through `drawn`. In place of a random generator it accepts a `Source`: one that notes what
is drawn (`Noted`), or one that returns given numbers (`Given`), so that a plan is a function of its random numbers.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

Shape = torch.Size | tuple[int | torch.SymInt, ...]
"""A shape, also one whose batch is a symbol while a plan is traced."""
RandomLaw = Literal["normal", "uniform"]
"""N(0, 1), or uniform on [0, 1)."""


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


@dataclass(frozen=True)
class Draw:
    """Random numbers that were drawn at once."""

    law: RandomLaw
    values: Tensor


class Source(torch.Generator):
    """Where `drawn` gets its numbers from, in place of a random generator."""

    def draw(self, law: RandomLaw, shape: Shape, dtype: torch.dtype | None) -> Tensor:
        """Random numbers of a law, on the source's device."""
        # a generator's metaclass allows no abstract method
        raise NotImplementedError


class Noted(Source):
    """A random generator that notes what is drawn from it.

    Attributes:
        rng: Generator that is drawn from.
        draws: What was drawn, in order.
    """

    rng: torch.Generator
    draws: list[Draw]

    @classmethod
    def of(cls, rng: torch.Generator) -> "Noted":
        """Draws from `rng`, whose numbers are unchanged.

        >>> noted = Noted.of(stream(0, "noise"))
        >>> bool((drawn("normal", (2,), rng=noted) == drawn("normal", (2,), rng=stream(0, "noise"))).all())
        True
        >>> [draw.law for draw in noted.draws]
        ['normal']
        """
        made = cls(device=rng.device)
        made.rng, made.draws = rng, []
        return made

    def draw(self, law: RandomLaw, shape: Shape, dtype: torch.dtype | None) -> Tensor:
        self.draws.append(Draw(law, drawn(law, shape, rng=self.rng, dtype=dtype)))
        return self.draws[-1].values


class Given(Source):
    """Random numbers that are given in advance, in the order in which they are drawn.

    Attributes:
        left: What was not drawn yet.
    """

    left: list[Draw]

    @classmethod
    def of(cls, draws: Iterable[Draw], device: torch.device | str = "cpu") -> "Given":
        """These numbers, each once."""
        made = cls(device=device)
        made.left = list(draws)
        return made

    def draw(self, law: RandomLaw, shape: Shape, dtype: torch.dtype | None) -> Tensor:
        """The next numbers.

        Raises:
            ValueError: None are left, or the next ones have another law or shape.
        """
        if not self.left:
            raise ValueError(f"expected no further draw, got one of {law} numbers of shape {list(shape)}")
        given = self.left.pop(0)
        if given.law != law or tuple(given.values.shape[1:]) != tuple(shape[1:]):
            raise ValueError(
                f"expected a draw of {given.law} numbers of shape {list(given.values.shape)}, got one of {law} numbers "
                f"of shape {list(shape)}"
            )
        return given.values if dtype is None else given.values.to(dtype)


def drawn(law: RandomLaw, shape: Shape, *, rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """Random numbers on the generator's device; a `Source` determines them itself."""
    if isinstance(rng, Source):
        return rng.draw(law, tuple(shape), dtype)
    match law:
        case "normal":
            return torch.randn(shape, generator=rng, device=rng.device, dtype=dtype)
        case "uniform":
            return torch.rand(shape, generator=rng, device=rng.device, dtype=dtype)
        case _:
            assert_never(law)
