"""Orders of a dictionary's keys in which first observations would lie within the demonstrations."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, permutations

from jaxtyping import Float
from torch import Tensor

from .coordinate_names import words_of
from .first_observations import outside
from .interface import PolicyInterface
from .mismatch import Mismatch, listed

MOST_KEYS = 5
"""Largest number of keys whose orders are all tried."""


def with_orders(
    mismatch: Mismatch, interface: PolicyInterface, seen: Float[Tensor, "b d"], names: Sequence[str]
) -> Mismatch:
    """A mismatch of ranges with the order of a dictionary, and the other orders that would explain it.

    Args:
        mismatch: First observations outside every demonstration.
        interface: What the policy was trained on, without names.
        seen: First observations `[b, d]`.
        names: Names of their coordinates, by key and index.
    """
    if mismatch.kind != "range" or interface.observation.names is not None or len(names) != seen.shape[-1]:
        return mismatch
    blocks = _blocks(names)
    order = [name for name, _ in blocks]
    fitting = [other for other in _orders(blocks) if _fits(interface, seen, other)]
    found = [[name for name, _ in other] for other in fitting]
    within = f" In the order {listed(found[0])} it would lie within." if len(found) == 1 else ""
    what = f"{mismatch.what} The keys have the order {listed(order)}; the data have no names.{within}"
    return replace(mismatch, what=what, values={**mismatch.values, "order": order, "fitting": found})


def _blocks(names: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Each key with the positions of its coordinates, which follow one another."""

    def key_of(place: int) -> str:
        words = words_of(names[place])
        return ".".join(words[:-1] if len(words) > 1 and words[-1].isdecimal() else words)

    return [(key, tuple(places)) for key, places in groupby(range(len(names)), key_of)]


def _orders(blocks: list[tuple[str, tuple[int, ...]]]) -> list[tuple[tuple[str, tuple[int, ...]], ...]]:
    return list(permutations(blocks))[1:] if 1 < len(blocks) <= MOST_KEYS else []


def _fits(
    interface: PolicyInterface, seen: Float[Tensor, "b d"], order: tuple[tuple[str, tuple[int, ...]], ...]
) -> bool:
    index = [place for _, places in order for place in places]
    return not outside(interface.observation, interface.episodes, seen[..., index])
