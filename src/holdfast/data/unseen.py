"""Parts of a data set that a policy does not see: pictures, instructions, columns, unread parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import Episodes

OUTCOMES = ("success", "is_success", "succeeded", "successful")
SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Names of what training leaves aside.

    Attributes:
        cameras: Cameras whose pictures the policy does not see.
        missing: Cameras whose files are missing.
        tasks: The different instructions, if the policy does not follow them.
        columns: Quantities with a row a step that are neither state nor action.
        unread: Parts of the data that were not read at all.
        notes: Sentences on how names and shapes were understood.
        failed: Column that marks episodes as failed, and their numbers.
    """

    cameras: tuple[str, ...]
    missing: tuple[str, ...]
    tasks: tuple[str, ...]
    columns: tuple[str, ...]
    unread: tuple[str, ...]
    notes: tuple[str, ...]
    failed: tuple[str, tuple[int, ...]] | None

    @staticmethod
    def of(episodes: Episodes, *, seen: Sequence[str] = (), instructed: bool = False) -> "Unseen":
        """The unseen parts of a data set.

        Args:
            episodes: The data set.
            seen: Cameras that the policy sees.
            instructed: Whether the policy follows the instructions.
        """
        texts = {note: tuple(map(str, episodes.meta.get(note) or ())) for note in ("cameras_missing", "reading_notes")}
        return Unseen(
            cameras=tuple(sorted(episodes.cameras.keys() - {*seen})),
            missing=texts["cameras_missing"],
            tasks=() if instructed else tuple(dict.fromkeys(task for task in episodes.tasks or () if task)),
            columns=tuple(episodes.columns),
            unread=tuple(map(str, episodes.meta.get("features_left_out") or ())),
            notes=texts["reading_notes"],
            failed=_failed(episodes),
        )

    def sentences(self) -> Iterator[str]:
        """One line each for training: what is not seen, several instructions, failures, what was not read."""
        if parts := [*self._pictures(), *self._instruction(), *_listed("column", self.columns)]:
            yield f"not seen by the policy: {'; '.join(parts)}"
        if len(self.tasks) > 1:
            yield (
                f"the policy does not see which of the {len(self.tasks)} instructions is meant "
                f"({', '.join(map(repr, self.tasks[:SHOWN]))}): let it follow them with --instructions, or choose one "
                "with --task TEXT"
            )
        if self.failed is not None:
            name, numbers = self.failed
            marked = "1 episode is" if len(numbers) == 1 else f"{len(numbers)} episodes are"
            more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
            yield f"{marked} marked as failed by {name}: {', '.join(map(str, numbers[:SHOWN]))}{more}"
        if self.unread:
            yield f"not read: {', '.join(self.unread)}"
        yield from self.notes

    def _pictures(self) -> Sequence[str]:
        missing = [f"{name} (files missing)" for name in self.missing]
        return _listed("camera", [*self.cameras, *missing])

    def _instruction(self) -> Sequence[str]:
        return [f"the instruction {self.tasks[0]!r}"] if len(self.tasks) == 1 else []


def _listed(thing: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{thing}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"]


def _failed(episodes: Episodes) -> tuple[str, tuple[int, ...]] | None:
    """The first column that marks failures, of episodes or, at their last step, of steps."""
    ends = episodes.starts + episodes.lengths - 1
    for name in OUTCOMES:
        values = episodes.episode_columns.get(name)
        by_step = episodes.columns.get(name)
        if values is None and by_step is not None and by_step.ndim == 1 and len(episodes):
            values = by_step[ends]
        if not isinstance(values, Tensor) or not bool(((values == 0) | (values == 1)).all()):
            continue
        if numbers := tuple(map(int, torch.nonzero(values == 0).flatten())):
            return name, numbers
    return None
