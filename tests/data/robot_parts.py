"""What the simulated robots of the doctor's tests share: play, friction, dead zones, limits, noise, recordings."""

import numpy as np
import torch

from holdfast.types import Episodes


def played(target, follower, width):
    """The follower of a target with play: it is pushed by the edges of a gap of the given width."""
    return np.clip(follower, target - width / 2, target + width / 2)


def rubbed(speed, loss):
    """The speed after dry friction that takes away `loss`: it stops a motion but does not reverse it."""
    return np.sign(speed) * np.maximum(np.abs(speed) - loss, 0.0)


def ignored(command, width, *, hard=False):
    """The command behind a dead zone: reduced by its width, or, if `hard`, whole beyond it."""
    return np.where(np.abs(command) <= width, 0.0, command) if hard else rubbed(command, width)


def cut(values, level):
    """Values within ± the level."""
    return np.clip(values, -level, level)


def turned(points, angle):
    """Points [e, 2] turned by an angle each."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * points[:, 0] - s * points[:, 1], s * points[:, 0] + c * points[:, 1]], axis=1)


def joined(parts, dt, **other):
    """Episodes from pairs of states and actions."""
    return Episodes(
        states=torch.from_numpy(np.concatenate([states for states, _ in parts])),
        actions=torch.from_numpy(np.concatenate([actions for _, actions in parts])),
        lengths=torch.tensor([len(actions) for _, actions in parts]),
        dt=dt,
        **other,
    )


def shortened(states, actions, lengths, dt, **other):
    """Episodes from arrays [episodes, steps, ·] of which the first steps are kept, in single precision."""
    parts = zip(states.astype(np.float32), actions.astype(np.float32), lengths, strict=True)
    return joined([(s[:length], a[:length]) for s, a, length in parts], dt, **other)
