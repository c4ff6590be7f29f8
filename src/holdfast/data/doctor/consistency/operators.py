"""Episodes that differ in manner: by a column such as `operator`, from some episode on, or in two clusters.

The numbers of `manners` are compared over the episodes:

    η² = Var(means of the groups) / Var(all)

A column counts if one number has a larger η² than any number has in 499 random assignments of the column's values; a
step over the episodes as a drift does; and two clusters if η² of the best split of a number is far above 2/π, that of a
normal distribution, or if several numbers together have two clusters (`crews`). One who takes over from another, or two
who alternate, show so where no column names them. These are notes: a manner is no fault, and what it costs is decided
by flying.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from ....seeding import stream
from ....types import Episodes
from ...choosing import dropping, dropping_values
from ..findings import DataFinding, listed, note, share
from ..recording import Recording
from .changes import from_on
from .crews import crews_of
from .drifting import series_of, significant
from .manners import Manners
from .moments import FEWEST

GROUPS = 6
"""Largest number of values of a column that names groups."""
ORDERS = 499
LEAST, STEP = 0.1, 0.3
"""Smallest η² by a column, and by a step over the episodes."""
SHOWN = 0.6
"""Smallest η² of the clearest manner of two clusters in several manners."""
SPLIT, SMALLEST, ENOUGH = 0.86, 0.2, 20
"""Smallest η² of two clusters, fraction of the episodes in the smaller one, and number of episodes."""
WAYS = ("way taken", "direction of the action")
"""Numbers that have two clusters where there are two ways, which another check reports."""
NO_CLUSTERS = (*WAYS, "share of pauses", "length")
"""Further numbers with clusters in good demonstrations: those with a pause and without, and rounded ones."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Groups of episodes that differ in manner.

    Attributes:
        by: A column, the order of the episodes, or clusters.
        column: Name of the column, or "".
        groups: Number of the group of each episode of the sample.
        manners: Index of the numbers in which they differ, the clearest first.
        explained: η² of each.
    """

    by: Literal["column", "order", "clusters"]
    column: str
    groups: Int[ndarray, " episodes"]
    manners: tuple[int, ...]
    explained: tuple[float, ...]


def columns_of(episodes: Episodes, recording: Recording) -> Iterator[tuple[str, Int[ndarray, " episodes"]]]:
    """Columns with a few values, as the number of the value of each episode of the sample."""
    chosen = recording.episodes
    for name, values in episodes.episode_columns.items():
        texts = texts_of(values)
        kinds = sorted({texts[int(e)] for e in chosen})
        numbers = np.array([kinds.index(texts[int(e)]) for e in chosen])
        if 2 <= len(kinds) <= GROUPS and np.bincount(numbers).min() >= FEWEST and not _outcome(name):
            yield name, numbers


def texts_of(values: Tensor | tuple[str, ...]) -> list[str]:
    """Values of a column as they are written in --drop-episodes."""
    return [f"{float(value):g}" for value in values] if isinstance(values, Tensor) else list(values)


def _outcome(name: str) -> bool:
    """Whether a column says how an episode ended, which its actions determine."""
    word = name.lower()
    return any(part in word for part in ("success", "fail", "outcome", "result", "solved", "status", "complete"))


def difference_of(manners: Manners, episodes: Episodes, recording: Recording) -> Difference | None:
    """Groups of episodes that differ in manner; `None` if there are none."""
    for name, numbers in columns_of(episodes, recording):
        own = _explained(manners.values, numbers)
        least = max(LEAST, _by_chance(manners.values, numbers))
        if (own > least).any():
            return _difference("column", name, numbers, own, least)
    return _ordered(manners) or _clustered(manners)


def _explained(values: Float[ndarray, "episodes k"], numbers: Int[ndarray, " episodes"]) -> Float[ndarray, " k"]:
    """η² of each number."""
    centred = values - values.mean(axis=0)
    member = (numbers[:, None] == np.unique(numbers)[None]).astype(float)
    between = ((member.T @ centred) ** 2 / member.sum(axis=0)[:, None]).sum(axis=0)
    return between / np.maximum((centred**2).sum(axis=0), 1e-300)


def _by_chance(values: Float[ndarray, "episodes k"], numbers: Int[ndarray, " episodes"]) -> float:
    """The largest η² of any number in random assignments."""
    rng = stream(0, "doctor", "consistency", "operators")
    orders = (torch.randperm(len(numbers), generator=rng).numpy() for _ in range(ORDERS))
    return max(float(_explained(values, numbers[order]).max()) for order in orders)


def _difference(
    by: Literal["column", "order", "clusters"], column: str, numbers: ndarray, own: Float[ndarray, " k"], least: float
) -> Difference:
    chosen = [int(n) for n in np.argsort(-own) if own[n] > least]
    return Difference(
        by=by, column=column, groups=numbers, manners=tuple(chosen), explained=tuple(float(own[n]) for n in chosen)
    )


def _ordered(manners: Manners) -> Difference | None:
    """A manner that steps at an episode."""
    count, width = manners.values.shape
    found = [series_of(manners.values[:, n]) for n in range(width)] if count >= 2 * FEWEST else []
    clear = [
        n
        for n, one in enumerate(found)
        if one.stepped and one.step >= STEP and significant(one.step, count, width * (count - 2 * FEWEST + 1))
    ]
    if not clear:
        return None
    best = max(clear, key=lambda n: found[n].step)
    numbers = from_on(count, found[best].first).astype(int)
    return _difference("order", "", numbers, _explained(manners.values, numbers), STEP)


def _clustered(manners: Manners) -> Difference | None:
    """Two clusters, in one manner or in several at once."""
    count = len(manners.values)
    if count < ENOUGH:
        return None
    if (second := crews_of(manners)) is not None:
        own = _explained(manners.values, second.astype(int))
        # clusters that no single manner shows are differences of manners that are nearly one
        if own.max() >= SHOWN:
            return _difference("clusters", "", second.astype(int), own, LEAST)
    some = [n for n, name in enumerate(manners.names) if name not in NO_CLUSTERS]
    if not some:
        return None
    splits = [_split(manners.values[:, n]) for n in some]
    best = max(range(len(some)), key=lambda n: splits[n][0])
    if splits[best][0] < SPLIT:
        return None
    own = _explained(manners.values, splits[best][1])
    return _difference("clusters", "", splits[best][1], own, LEAST)


def _split(values: Float[ndarray, " episodes"]) -> tuple[float, Int[ndarray, " episodes"]]:
    """η² of the best split of a number in two, and the group of each episode."""
    order = np.argsort(values)
    sums = np.cumsum(values[order] - values.mean())[:-1]
    rows = np.arange(1, len(values))
    between = (
        sums**2 * (1 / rows + 1 / (len(values) - rows)) / max(float(((values - values.mean()) ** 2).sum()), 1e-300)
    )
    between[np.minimum(rows, len(values) - rows) < SMALLEST * len(values)] = 0.0
    best = int(between.argmax())
    groups = np.zeros(len(values), dtype=int)
    groups[order[best + 1 :]] = 1
    return float(between[best]), groups


def check_manners(
    found: Difference | None, manners: Manners | None, episodes: Episodes, recording: Recording
) -> Iterator[DataFinding]:
    """Groups of episodes that differ in manner, as a note."""
    if found is None or manners is None:
        return
    names = _names(found, episodes, recording)
    groups = {name: recording.episodes[found.groups == n].tolist() for n, name in enumerate(names)}
    sizes = {
        manners.names[n]: [float(manners.plain[found.groups == kind, n].mean()) for kind in range(len(names))]
        for n in found.manners
    }
    texts = [_text(name, size, names) for name, size in sizes.items()]
    yield note(
        "styles",
        f"The demonstrations differ in manner {_BY[found.by].format(column=found.column, first=names[-1])}: "
        f"{listed(texts)}; {share(found.explained[0])} of the variance of the first is between the groups.",
        effect="Several demonstrators, or one who changed. A regression learns the mean of their manners; a policy "
        "that can represent all of them may change between them.",
        remedy=f"Compare in closed loop with training on one group ({_drop(found, groups)}), or record who "
        "demonstrated as an observation.",
        values={
            "column": found.column,
            "by": found.by,
            "groups": groups,
            "manners": sizes,
            "explained": _shares(found, manners),
        },
    )


def _shares(found: Difference, manners: Manners) -> dict[str, float]:
    """η² by number; of several directions, that of the clearest."""
    shares = dict[str, float]()
    for n, part in zip(found.manners, found.explained, strict=True):
        shares.setdefault(manners.names[n], part)
    return shares


_BY = {
    "column": "by the column {column}",
    "order": "{first}",
    "clusters": "in two clusters of episodes, which no column identifies",
}


def _names(found: Difference, episodes: Episodes, recording: Recording) -> list[str]:
    """Names of the groups: the values of the column, a place in the order, or letters."""
    if found.by == "column":
        texts = texts_of(episodes.episode_columns[found.column])
        return sorted({texts[int(e)] for e in recording.episodes})
    if found.by == "order":
        first = int(recording.episodes[int((found.groups == 0).sum())])
        return [f"before episode {first}", f"from episode {first} on"]
    return ["group A", "group B"]


def _text(name: str, size: list[float], names: list[str]) -> str:
    """A manner with its mean in each group; the scores of ways mean nothing by themselves."""
    if name in WAYS:
        return name
    return f"{name} ({', '.join(f'{mean:.3g} {group}' for mean, group in zip(size, names, strict=True))})"


def _drop(found: Difference, groups: dict[str, list[int]]) -> str:
    """The option that leaves the smallest group out."""
    least = min(groups, key=lambda name: len(groups[name]))
    if found.by == "column":
        return dropping_values(found.column, least)
    return dropping(groups[least])
