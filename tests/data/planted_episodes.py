"""Faults that are planted in some episodes of a clean recording: units, order, shifts, signs, held samples, padding."""

from dataclasses import replace

import numpy as np
import torch

from .robot_parts import joined


def parts_of(episodes):
    """Copies of the states and actions of each episode."""
    lengths = episodes.lengths.tolist()
    return [
        (s.numpy().copy(), a.numpy().copy())
        for s, a in zip(episodes.states.split(lengths), episodes.actions.split(lengths), strict=True)
    ]


def changed_in(episodes, some, change):
    """The recording with `change(states, actions)` applied to some of its episodes."""
    parts = [change(s, a) if e in set(some) else (s, a) for e, (s, a) in enumerate(parts_of(episodes))]
    made = joined(parts, episodes.dt)
    return replace(made, episode_columns=episodes.episode_columns, names=episodes.names, system=episodes.system)


def scaled(episodes, some, factor, *, states=(), actions=()):
    """Some episodes with columns in another unit."""

    def change(s, a):
        s[:, list(states)] *= factor
        a[:, list(actions)] *= factor
        return s, a

    return changed_in(episodes, some, change)


def jumped(episodes, episode, *, column=0, size=1.0, row=0.5, back=False):
    """A jump of one state coordinate in one episode."""

    def change(s, a):
        at = int(row * len(s))
        s[at : at + 1 if back else None, column] += size
        return s, a

    return changed_in(episodes, [episode], change)


def shuffled(episodes, some, seed=0):
    """Some episodes with their rows in random order."""
    rng = np.random.default_rng(seed)

    def change(s, a):
        order = rng.permutation(len(s))
        return s[order], a[order]

    return changed_in(episodes, some, change)


def reversed_in_time(episodes, some):
    """Some episodes with their rows from the last to the first."""
    return changed_in(episodes, some, lambda s, a: (s[::-1].copy(), a[::-1].copy()))


def late(episodes, some, steps):
    """Some episodes whose actions are recorded some steps late."""
    return changed_in(episodes, some, lambda s, a: (s[steps:], a[:-steps]))


def flipped(episodes, some, column):
    """Some episodes with the sign of an action flipped."""

    def change(s, a):
        a[:, column] *= -1
        return s, a

    return changed_in(episodes, some, change)


def held(episodes, factor):
    """Observations that are read at a fraction of the rate, and repeated between."""
    every = range(len(episodes.lengths))
    return changed_in(episodes, every, lambda s, a: (s[(np.arange(len(s)) // factor) * factor], a))


def padded(episodes, some, rows, value):
    """Some episodes with rows of a filler at their ends."""

    def change(s, a):
        return tuple(np.concatenate([x, np.full((rows, x.shape[1]), value, dtype=x.dtype)]) for x in (s, a))

    return changed_in(episodes, some, change)


def beside(episodes, column):
    """The recording with a further state coordinate, of one array for each episode."""
    states = torch.cat([episodes.states, torch.from_numpy(np.concatenate(column)[:, None].astype(np.float32))], dim=1)
    return replace(episodes, states=states)
