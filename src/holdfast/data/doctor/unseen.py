"""Parts of the data that a policy does not see, and how names and shapes were understood."""

import shlex
from collections.abc import Iterator

from ...types import Episodes
from ..unseen import Unseen
from .findings import DataFinding, listed, note, warning


def check_unseen(episodes: Episodes) -> Iterator[DataFinding]:
    """Name everything that training leaves aside: pictures, instructions, columns and what was not read."""
    found = Unseen.of(episodes)
    yield from _instructions(episodes, found)
    if found.cameras:
        yield note(
            "pictures",
            f"By default the policy sees no pictures: {', '.join(found.cameras)}.",
            effect="The policy observes the low-dimensional state alone. What only the pictures show, such as where "
            "an object lies, it cannot know.",
            remedy=f"Let it see them: holdfast train DATA --images {shlex.join(found.cameras)}. Or record what "
            "matters as numbers.",
            values={"cameras": list(found.cameras)},
        )
    if found.columns:
        yield note(
            "columns",
            f"Read, but no part of the observation or the action: {', '.join(found.columns)}.",
            effect="The policy does not see these quantities.",
            remedy="Give the keys that it should see, in this order: --state KEY [KEY ...].",
            values={"columns": list(found.columns)},
        )
    if found.unread:
        yield note(
            "not read",
            f"Not read: {', '.join(found.unread)}.",
            effect="These parts are neither checked nor used, and converted data sets lack them.",
            values={"left_out": list(found.unread)},
        )
    for sentence in found.notes:
        yield note("reading", sentence, values={"sentence": sentence})


def _instructions(episodes: Episodes, found: Unseen) -> Iterator[DataFinding]:
    counts = {task: (episodes.tasks or ()).count(task) for task in found.tasks}
    values = {"tasks": counts}
    if len(counts) > 1:
        texts = [f"{task!r:.80} ({count} episode{'s' * (count != 1)})" for task, count in counts.items()]
        if without := (episodes.tasks or ()).count(""):
            texts.append(f"none ({without} episode{'s' * (without != 1)})")
        yield warning(
            "instructions",
            f"By default the policy does not see the {len(counts)} instructions: {listed(texts, most=8)}.",
            effect="Demonstrations of different tasks that begin alike look like several ways of doing the same thing.",
            remedy="Let the policy follow them: holdfast train DATA --instructions. Or choose one with --task TEXT.",
            values=values,
        )
    elif counts:
        yield note(
            "instructions",
            f"The policy does not see the instruction {found.tasks[0]!r:.80}, the same in all episodes that have one.",
            values=values,
        )
