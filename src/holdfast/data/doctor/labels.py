"""What episodes say of themselves: failed demonstrations, and rates that differ between episodes."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from ...types import Episodes
from ..choosing import dropping, dropping_values
from .findings import DataFinding, counted, listed, share, warning
from .recording import Recording

GOOD = ("success", "is_success", "succeeded", "successful", "solved", "task_success", "completed")
BAD = ("failure", "failed", "is_failure", "aborted")
OUTCOMES = ("outcome", "result", "status", "label", "verdict")
FAILED_WORDS = ("fail", "failed", "failure", "aborted", "abort", "unsuccessful", "bad", "false", "no", "0")
RATES = {"dt": -1, "fps": 1, "hz": 1, "rate": 1, "frequency": 1, "control_freq": 1}
"""Names of episode columns of time steps (−1) and rates (1)."""
APART = 0.1
FEWEST, MOVING = 10, 0.5


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


def check_rates(episodes: Episodes, recording: Recording) -> Iterator[DataFinding]:
    """Time steps that differ between episodes: by a column, by timestamps, or by how far velocities move positions."""
    steps, source = _recorded(episodes, recording)
    if steps is None:
        steps, source = _kinematic(recording)
    known = {} if steps is None else {e: step for e, step in steps.items() if step > 0}
    if len(known) < 2:
        return
    usual = float(np.median(list(known.values())))
    odd = {e: step for e, step in known.items() if abs(np.log(step / usual)) > APART}
    if not odd or (source == "the motion" and len(odd) < 2):
        return
    ratios = sorted({round(step / usual, 2) for step in odd.values()})
    yield warning(
        "rates",
        f"{counted(len(odd), 'episode')} of {len(known)} have another rate, according to {source}: a step lasts "
        f"{listed([f'{ratio:g}' for ratio in ratios])} times as long as in a typical episode: "
        f"episode {listed(list(odd))}.",
        effect="Chunks of equal length last unequally long, and equal motions have different actions: the policy "
        "learns a mixture of speeds.",
        remedy="Resample them to one rate, or record them again. Keep them otherwise: leaving them out lowered the "
        "score on one of three tasks and raised it on none (docs/doctor.md).",
        values={"episodes": list(odd), "ratios": [step / usual for step in odd.values()], "source": source},
    )


def _recorded(episodes: Episodes, recording: Recording) -> tuple[Mapping[int, float] | None, str]:
    """Time step of each episode, by a column or by timestamps."""
    for name, values in episodes.episode_columns.items():
        sign = RATES.get(name.lower())
        if sign is not None and isinstance(values, Tensor) and bool((values > 0).all()):
            return {e: float(value) ** -sign for e, value in enumerate(values)}, f"the column {name}"
    times, lengths = episodes.timestamps, episodes.lengths.numpy(force=True)
    if times is None or len(times) != lengths.sum():
        return None, ""
    parts: list[ndarray] = np.split(times.to(torch.float64).numpy(force=True), np.cumsum(lengths)[:-1])
    own = {int(e): float(np.median(np.diff(parts[int(e)]))) for e in recording.episodes if len(parts[int(e)]) > 2}
    return own, "the timestamps"


def _kinematic(recording: Recording) -> tuple[Mapping[int, float] | None, str]:
    """Slope of the steps of a position over its velocity in each episode; `None` where no velocity is observed."""
    inside = recording.pairs()
    states = recording.states.values.astype(np.float64)
    if not inside.any() or states.shape[1] < 2:
        return None, ""
    steps, mean = np.diff(states, axis=0), (states[1:] + states[:-1]) / 2
    owner = recording.owner[:-1]
    position, rate = _best_pair(steps, mean, inside, owner)
    if position < 0:
        return None, ""
    found = dict[int, float]()
    for number, episode in enumerate(recording.episodes):
        own = inside & (owner == number)
        x, y = mean[own, rate], steps[own, position]
        if len(x) >= FEWEST and (x @ x) > 0 and (x @ y) ** 2 >= 0.9 * (x @ x) * (y @ y):
            found[int(episode)] = float(x @ y / (x @ x))
    return (found, "the motion") if len(found) >= MOVING * len(recording.episodes) else (None, "")


def _best_pair(
    steps: Float[ndarray, "pairs n"], mean: Float[ndarray, "pairs n"], inside: ndarray, owner: ndarray
) -> tuple[int, int]:
    """A position and its velocity: within most episodes, the steps of one are proportional to the other."""
    count = int(owner[-1]) + 1
    chosen = np.unique(np.linspace(0, count - 1, min(count, 12)).astype(int))
    agreement = list[ndarray]()
    for number in chosen:
        own = inside & (owner == number)
        y, x = steps[own], mean[own]
        scale = np.sqrt(np.outer((y**2).sum(axis=0), (x**2).sum(axis=0)))
        agreement.append(np.where(scale > 0, (y.T @ x) / np.maximum(scale, 1e-300), 0.0))
    usual = np.median(np.stack(agreement), axis=0)
    np.fill_diagonal(usual, 0.0)
    position, rate = np.unravel_index(int(usual.argmax()), usual.shape)
    return (int(position), int(rate)) if usual[position, rate] >= 0.97 else (-1, -1)
