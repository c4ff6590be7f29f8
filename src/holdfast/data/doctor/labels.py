"""What episodes say of themselves: failed demonstrations."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from ...types import Episodes
from ..choosing import dropping, dropping_values
from .findings import DataFinding, counted, listed, share, warning

GOOD = ("success", "is_success", "succeeded", "successful", "solved", "task_success", "completed")
BAD = ("failure", "failed", "is_failure", "aborted")
OUTCOMES = ("outcome", "result", "status", "label", "verdict")
FAILED_WORDS = ("fail", "failed", "failure", "aborted", "abort", "unsuccessful", "bad", "false", "no", "0")


def check_failures(episodes: Episodes) -> Iterator[DataFinding]:
    """Episodes that a column marks as failed."""
    for name, failed, selection in marked(episodes):
        if not failed.any():
            continue
        numbers = np.flatnonzero(failed).tolist()
        part = f"{counted(len(numbers), 'episode')} of {len(failed)}"
        all_failed = bool(failed.all())
        yield warning(
            "failures",
            f"{part} failed, according to {name}: episode {listed(numbers)}.",
            effect="A policy imitates failures as it does successes: they are a share of "
            f"{share(len(numbers) / len(failed))} of what it learns from.",
            remedy="All episodes are marked as failed; check the column." if all_failed else f"Train with {selection}.",
            values={"column": name, "episodes": numbers, "share": len(numbers) / len(failed)},
        )
        return


def marked(episodes: Episodes) -> Iterator[tuple[str, Bool[ndarray, " episodes"], str]]:
    """Columns that mark failures: name, failed episodes, and the option that drops them."""
    for name, values in episodes.episode_columns.items():
        word = name.lower().rsplit(".", 1)[-1].rsplit("/", 1)[-1]
        if isinstance(values, Tensor):
            if word in (*GOOD, *BAD) and (found := _failed(values, word)) is not None:
                yield name, found, dropping_values(name, "0" if word in GOOD else "1")
        elif word in (*GOOD, *BAD, *OUTCOMES):
            lost = [text for text in dict.fromkeys(values) if (text.lower() in FAILED_WORDS) == (word not in BAD)]
            if lost and len(lost) < len(set(values)):
                yield name, np.array([text in lost for text in values]), dropping_values(name, *lost)
    for name, values in episodes.columns.items():
        if name.lower().rsplit(".", 1)[-1].rsplit("/", 1)[-1] in GOOD and values.ndim == 1 and len(episodes):
            ends = np.cumsum(episodes.lengths.numpy(force=True))
            reached = np.concatenate([[0], np.cumsum(values.double().numpy(force=True) > 0.5)])
            failed = reached[ends] == reached[np.concatenate([[0], ends[:-1]])]
            yield name, failed, dropping(map(int, np.flatnonzero(failed)))


def _failed(values: Tensor, word: str) -> Bool[ndarray, " episodes"] | None:
    numbers = values.double().numpy(force=True)
    if not np.isin(numbers, (0.0, 1.0)).all():
        return None
    return numbers == (0.0 if word in GOOD else 1.0)
