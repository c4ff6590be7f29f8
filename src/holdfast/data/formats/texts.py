"""Texts among named arrays: instructions, and other texts that belong to episodes.

language_instruction, task, …     one text a row, the same in all rows of an episode; or one an episode; or one for all
tasks with task_index             a list of texts, and one number a row or an episode
operator, …                       other texts, one a row or an episode: columns of episodes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray

from ...errors import DataError
from .annotations import INSTRUCTIONS, instructions_of

LIST, INDEX = "tasks", "task_index"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts by episode.

    Attributes:
        tasks: Instruction of each episode; `None` if there is none.
        by_episode: Other texts by name, one an episode.
        used: Names of the arrays that were read.
        notes: Sentences on texts that change within episodes.
    """

    tasks: list[str] | None
    by_episode: dict[str, list[str]]
    used: tuple[str, ...]
    notes: tuple[str, ...]


def texts_of(found: Mapping[str, NDArray[Any]], lengths: Int[ndarray, " episodes"], source: str) -> Texts:
    """The instructions and texts of arrays by name.

    Raises:
        DataError: A number of a task is not in the list of tasks.

    >>> texts_of({"task": np.array(["a", "a", "b"]), "force": np.zeros(3)}, np.array([2, 1]), "log.npz").tasks
    ['a', 'b']
    """
    by_name, notes = dict[str, list[str]](), list[str]()
    for name, values in found.items():
        if values.dtype.kind not in "US" or (name == LIST and INDEX in found):
            continue
        if (one := by_episode(values, lengths)) is not None:
            by_name[name] = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in one]
        elif values.size == int(lengths.sum()):
            notes.append(f"{name} changes within episodes, so it is not read.")
    used = [*by_name]
    tasks = instructions_of(_by_lower(by_name, len(lengths)), {})
    if tasks is None and LIST in by_name:
        tasks = by_name[LIST]
    if tasks is None and LIST in found and INDEX in found:
        tasks, more, said = _listed(found[LIST], found[INDEX], lengths, source)
        used, notes = [*used, *more], [*notes, *said]
    others = {name: texts for name, texts in by_name.items() if name.lower() not in (*INSTRUCTIONS, LIST)}
    return Texts(tasks=tasks, by_episode=others, used=tuple(used), notes=tuple(notes))


def by_episode(values: NDArray[Any], lengths: Int[ndarray, " episodes"]) -> list[Any] | None:
    """One entry an episode, of values with one a row that are the same within episodes, one an episode, or one for all.

    >>> by_episode(np.array([3, 3, 5]), np.array([2, 1])), by_episode(np.array([3, 4, 5]), np.array([2, 1]))
    ([3, 5], None)
    """
    flat, total = values.reshape(-1), int(lengths.sum())
    if values.size == 1:
        return [flat[0].item()] * len(lengths)
    if flat.shape == (len(lengths),):
        return flat.tolist()
    if flat.shape != (total,) or not (lengths > 0).all():
        return None
    firsts = flat[np.cumsum(lengths) - lengths]
    return firsts.tolist() if bool((np.repeat(firsts, lengths) == flat).all()) else None


def _by_lower(by_name: Mapping[str, list[str]], count: int) -> list[dict[str, str]]:
    return [{name.lower(): texts[number] for name, texts in by_name.items()} for number in range(count)]


def _listed(
    names: NDArray[Any], index: NDArray[Any], lengths: Int[ndarray, " episodes"], source: str
) -> tuple[list[str] | None, tuple[str, ...], tuple[str, ...]]:
    """Instructions by their numbers in a list, the names of both arrays, and a sentence if they are not read."""
    numbers = by_episode(index, lengths) if index.dtype.kind in "iu" else None
    if names.dtype.kind not in "US" or numbers is None:
        return None, (), (f"{INDEX} is not one whole number for each episode, so {LIST} is not read.",)
    known = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in names.ravel().tolist()]
    for episode, number in enumerate(numbers):
        if not 0 <= number < len(known):
            raise DataError(
                f"{source}: {INDEX} is {number} in episode {episode}, but {LIST} holds {len(known)} instructions, 0 to "
                f"{len(known) - 1}. Write the number of each instruction in this list, from 0 on."
            )
    return [known[number] for number in numbers], (LIST, INDEX), ()
