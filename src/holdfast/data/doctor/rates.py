"""Time steps that differ between episodes: by a column, by timestamps, or by how far velocities move positions.

A recorded velocity v moves its position x by one time step Δ of each episode,

    x[t + 1] − x[t] = Δ (v[t] + v[t + 1]) / 2,

at any speed. Two coordinates that swing a quarter of a period apart obey the same equation with Δ proportional to the
frequency of the motion, and are no position and velocity. So most episodes must agree on Δ, the others in groups; and
where v swings with x too, v[t + 1] − v[t] = −β x, most episodes must agree on Δ although their frequencies √(Δ β)
differ. Episodes that are merely quick or slow have one Δ.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ...types import Episodes
from .findings import DataFinding, counted, listed, warning
from .recording import Recording

RATES = {"dt": -1, "fps": 1, "hz": 1, "rate": 1, "frequency": 1, "control_freq": 1}
"""Names of episode columns of time steps (−1) and rates (1)."""
APART = 0.1
FEWEST, MOVING = 10, 0.5
MOTION = "the motion"
AGREE, USUAL, EXACT = 0.03, 0.6, 0.9
"""Largest difference of the time steps of a group, as a fraction; the smallest share of episodes with the usual one;
and the smallest R² of the steps of a position, given its velocity."""
SWINGS, TEMPI = 0.8, 0.1
"""Smallest R² of the steps of a velocity, given its position, from which on it swings, and the smallest standard
deviation of the logarithm of the frequencies that a velocity of swinging motion must have."""


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
    if not odd or (source == MOTION and not _grouped(known, usual)):
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


def _grouped(known: Mapping[int, float], usual: float) -> bool:
    """Whether most episodes agree on the usual time step, and each of the others on one with another episode."""
    steps: Float[ndarray, " episodes"] = np.log(np.array(list(known.values())) / usual)
    other = np.sort(steps[np.abs(steps) > APART])
    gaps = np.concatenate([[np.inf], np.diff(other), [np.inf]])
    return bool((np.abs(steps) <= AGREE).mean() >= USUAL and (np.minimum(gaps[:-1], gaps[1:]) <= AGREE).all())


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
    found, back = dict[int, float](), list[tuple[float, float]]()
    for number, episode in enumerate(recording.episodes):
        own = inside & (owner == number)
        slope, r2 = _line(mean[own, rate], steps[own, position])
        if own.sum() >= FEWEST and r2 >= EXACT:
            found[int(episode)] = slope
            back.append(_line(mean[own, position] - mean[own, position].mean(), steps[own, rate]))
    if len(found) < MOVING * len(recording.episodes) or not _at_any_tempo(list(found.values()), back):
        return None, ""
    return found, MOTION


def _line(x: Float[ndarray, " k"], y: Float[ndarray, " k"]) -> tuple[float, float]:
    """Slope through the origin and the fraction of Σ y² that it explains; 0 of nothing."""
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    return (xy / xx, xy**2 / (xx * yy)) if xx > 0 and yy > 0 else (0.0, 0.0)


def _at_any_tempo(slopes: list[float], back: list[tuple[float, float]]) -> bool:
    """Whether motion that swings does so at several frequencies with one usual slope, or does not swing."""
    swings = np.array([r2 >= SWINGS and slope < 0 for slope, r2 in back])
    if swings.mean() < MOVING:
        return True
    steps = np.log(np.abs(np.array(slopes)))
    usual = swings & (np.abs(steps - np.median(steps)) <= AGREE)
    tempi = (steps[usual] + np.log([-slope for (slope, _), own in zip(back, usual, strict=True) if own])) / 2
    return len(tempi) > 1 and float(tempi.std()) >= TEMPI


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
