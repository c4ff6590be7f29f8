"""Shapes, lengths, rates: what kind of set this is, and whether training accepts it."""

from typing import Any

import numpy as np

from ...errors import DataError
from ...types import Episodes
from ..validity import validate
from .findings import Finding, counted, listed, share

__all__ = ["check_acceptance", "check_description", "check_lengths", "facts_of"]

LONG, SHORT = 4.0, 0.25
"""Lengths so many times the median are worth a word."""


def facts_of(episodes: Episodes) -> dict[str, Any]:
    """What is in the set, as a flat table."""
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
    return facts | ({} if episodes.tasks is None else {"tasks": len(set(episodes.tasks))})


def check_acceptance(episodes: Episodes) -> list[Finding]:
    """Whether `holdfast train` takes the set at all."""
    try:
        validate(episodes, source="this set")
    except DataError as error:
        return [
            Finding(
                check="acceptance",
                severity="error",
                what=f"Training refuses the set: {str(error).removeprefix('this set: ')}",
                effect="Nothing can be trained on it as it is.",
                remedy="Follow the findings below, the errors first; then write the set again and inspect it again.",
            )
        ]
    return [Finding(check="acceptance", severity="good", what="Training accepts the set.")]


def check_description(episodes: Episodes) -> list[Finding]:
    """Whether the set says how long a step is and where it comes from."""
    found = list[Finding]()
    if episodes.dt is None:
        found.append(
            Finding(
                check="rate",
                severity="note",
                what="The length of a control step (dt) is not recorded.",
                effect="Delays and pauses can be told in steps only, and nothing can check the rate of deployment.",
                remedy="Give dt= (seconds a step) when the set is written.",
            )
        )
    if episodes.system is None:
        found.append(
            Finding(
                check="system",
                severity="note",
                what="The set does not name the system or environment that it comes from.",
                effect="Training takes the actions as they are, without gains (--codec actions --synthesis none).",
                remedy="Give system= when the set is written, or evaluate with --environment NAME.",
            )
        )
    return found


def check_lengths(episodes: Episodes, horizon: int) -> list[Finding]:
    """Empty episodes, those shorter than a chunk, and those far from the usual length."""
    lengths = episodes.lengths.numpy(force=True)
    if not len(lengths):
        return [Finding(check="lengths", severity="error", what="The set holds no episodes.", remedy="Record some.")]
    found = list[Finding]()
    if len(empty := np.flatnonzero(lengths < 1)):
        found.append(
            Finding(
                check="lengths",
                severity="error",
                what=f"{counted(len(empty), 'episode')} without a step: {_numbers(empty)}.",
                effect="Training refuses them.",
                remedy=_drop(empty),
                values={"empty": empty.tolist()},
            )
        )
    if len(short := np.flatnonzero((lengths > 0) & (lengths < horizon))):
        found.append(_short(short, lengths[short].tolist(), horizon, len(lengths)))
    median = float(np.median(lengths))
    odd = np.flatnonzero((lengths > LONG * median) | ((lengths < SHORT * median) & (lengths >= horizon)))
    if len(odd):
        said = listed([f"{number} ({lengths[number]} steps)" for number in odd])
        found.append(
            Finding(
                check="lengths",
                severity="note",
                what=f"{counted(len(odd), 'episode')} of unusual length, where the median is {median:.0f} steps: "
                f"{said}.",
                effect="Every step counts alike, so a very long episode outweighs many others; very short ones often "
                "are false starts.",
                remedy="Look at these episodes; drop those that do not show the task.",
                values={"episodes": odd.tolist(), "steps": lengths[odd].tolist()},
            )
        )
    if not found:
        spread = f"{lengths.min()} to {lengths.max()} steps, median {median:.0f}"
        what = f"Lengths are even: {spread if lengths.min() < lengths.max() else f'{lengths[0]} steps each'}."
        found.append(Finding(check="lengths", severity="good", what=what))
    return found


def _short(short: np.ndarray, steps: list[int], horizon: int, total: int) -> Finding:
    said = listed([f"{number} ({n} steps)" for number, n in zip(short, steps, strict=True)])
    return Finding(
        check="lengths",
        severity="warning",
        what=f"{counted(len(short), 'episode')} of {total} shorter than a chunk of {horizon} steps: {said}.",
        effect=f"Their chunks are padded by repeating the last action; {share(len(short) / total)} of the episodes "
        "teach little but holding still.",
        remedy=f"{_drop(short)} Or train with a --horizon of at most {min(steps)}.",
        values={"episodes": short.tolist(), "steps": steps, "horizon": horizon},
    )


def _numbers(episodes: np.ndarray) -> str:
    return listed(episodes.tolist())


def _drop(episodes: np.ndarray) -> str:
    plural = "it" if len(episodes) == 1 else "them"
    return f"Drop {plural} with holdfast.data.select(episodes, keep)."
