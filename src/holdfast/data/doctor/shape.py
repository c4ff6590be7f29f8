"""Shapes, lengths and rates of a data set, and whether training accepts it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ...errors import DataError
from ...types import Episodes
from ..choosing import STEPS, dropping
from ..validity import validate
from .findings import DataFinding, counted, error, good, listed, note, share, warning

TYPED = 12
"""Largest number of words of an option that lists episodes."""
LONG, SHORT = 4.0, 0.25
"""Lengths of at least or at most this multiple of the median are reported."""


def facts_of(episodes: Episodes) -> dict[str, Any]:
    """Content of the data set as a flat table."""
    lengths = episodes.lengths.numpy(force=True)
    steps, seen = int(lengths.sum()), episodes.observed
    extra = 0 if seen.environment_state is None else seen.environment_state.shape[1]
    facts: dict[str, Any] = {
        "episodes": len(episodes),
        "steps": steps,
        "seconds": None if episodes.dt is None else steps * episodes.dt,
        "steps_shortest": int(lengths.min()) if len(lengths) else 0,
        "steps_median": float(np.median(lengths)) if len(lengths) else 0.0,
        "steps_longest": int(lengths.max()) if len(lengths) else 0,
        "dt": episodes.dt,
        "system": episodes.system,
        "state_coordinates": episodes.states.shape[1],
        "action_coordinates": episodes.actions.shape[1],
        "observed_coordinates": seen.state.shape[1] + extra,
        "dtype": str(episodes.states.dtype).removeprefix("torch."),
        "final_states": episodes.final_states is not None,
        "cameras": sorted(episodes.cameras),
        "rewards": episodes.rewards is not None,
    }
    return facts | ({} if episodes.tasks is None else {"tasks": len({*episodes.tasks} - {""})})


def check_acceptance(episodes: Episodes, damage: Sequence[str] = ()) -> list[DataFinding]:
    """Whether `holdfast train` accepts the data set: it refuses values that differ from their checksums, too."""
    changed = [
        error(
            "checksums",
            f"The data are not those that were written: {sentence}",
            effect="Training refuses the data set.",
            remedy="Copy or write the data set again.",
        )
        for sentence in damage
    ]
    try:
        validate(episodes, source="this set")
    except DataError as problem:
        refused = error(
            "acceptance",
            f"Training refuses the data set: {str(problem).removeprefix('this set: ')}",
            effect="No policy can be trained on it as it is.",
            remedy="Fix the findings below, errors first; then write the data set again and inspect it again.",
        )
        return [refused, *changed]
    return changed or [good("acceptance", "Training accepts the data set.")]


def check_description(episodes: Episodes) -> Iterator[DataFinding]:
    """Whether the time step and the system are recorded."""
    if episodes.dt is None:
        yield note(
            "rate",
            "The time step (dt) is not recorded.",
            effect="Delays and pauses can be given in steps only, and the rate at deployment cannot be checked.",
            remedy="Pass dt= (seconds per step) when writing the data set.",
        )
    if episodes.system is None:
        yield note(
            "system",
            "The system or environment is not recorded.",
            effect="Training clones the actions without gains (--codec actions --synthesis none).",
            remedy="Pass system= when writing the data set, or evaluate with --environment NAME.",
        )


def check_lengths(episodes: Episodes, horizon: int) -> list[DataFinding]:
    """Empty episodes, episodes shorter than a chunk, and episodes of unusual length."""
    lengths = episodes.lengths.numpy(force=True)
    if not len(lengths):
        return [error("lengths", "The data set holds no episodes.", remedy="Record episodes.")]
    found = [*_empty(lengths), *_short(lengths, horizon), *_unusual(lengths, horizon)]
    spread = f"{lengths.min()} to {lengths.max()} steps, median {np.median(lengths):.0f}"
    text = spread if lengths.min() < lengths.max() else f"{lengths[0]} steps each"
    return found or [good("lengths", f"Episodes have similar lengths: {text}.")]


def _empty(lengths: Int[ndarray, " episodes"]) -> Iterator[DataFinding]:
    if len(empty := np.flatnonzero(lengths < 1)):
        yield error(
            "lengths",
            f"{counted(len(empty), 'episode')} without a step: {listed(empty.tolist())}.",
            effect="Training refuses them.",
            remedy=_drop(empty, 0),
            values={"empty": empty.tolist()},
        )


def _short(lengths: Int[ndarray, " episodes"], horizon: int) -> Iterator[DataFinding]:
    if len(short := np.flatnonzero((lengths > 0) & (lengths < horizon))):
        yield warning(
            "lengths",
            f"{counted(len(short), 'episode')} of {len(lengths)} shorter than a chunk of {horizon} steps: "
            f"{_with_steps(short, lengths)}.",
            effect="Their chunks are padded by repeating the last action, so "
            f"{share(len(short) / len(lengths))} of the episodes mostly teach to hold still.",
            remedy=_drop(short, horizon - 1),
            values={"episodes": short.tolist(), "steps": lengths[short].tolist(), "horizon": horizon},
        )


def _unusual(lengths: Int[ndarray, " episodes"], horizon: int) -> Iterator[DataFinding]:
    median = float(np.median(lengths))
    odd = np.flatnonzero((lengths > LONG * median) | ((lengths < SHORT * median) & (lengths >= horizon)))
    if len(odd):
        yield note(
            "lengths",
            f"{counted(len(odd), 'episode')} of unusual length (median {median:.0f} steps): "
            f"{_with_steps(odd, lengths)}.",
            effect="All steps have the same weight, so a very long episode outweighs many others; very short "
            "episodes are often failed attempts.",
            remedy="Look at these episodes; drop those that do not demonstrate the task.",
            values={"episodes": odd.tolist(), "steps": lengths[odd].tolist()},
        )


def _with_steps(chosen: Int[ndarray, " k"], lengths: Int[ndarray, " episodes"]) -> str:
    return listed([f"{number} ({lengths[number]} steps)" for number in chosen])


def _drop(episodes: Int[ndarray, " k"], most: int | None = None) -> str:
    """The remedy for some episodes, or for all with at most some number of steps if they are too many to type."""
    drop = dropping(map(int, episodes))
    if len(drop.split()) > TYPED and most is not None:
        drop = f"--drop-episodes {STEPS}=0-{most}"
    return f"Drop {'it' if len(episodes) == 1 else 'them'} with {drop}."
