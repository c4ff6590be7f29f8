"""Observation windows with which a graph is traced and compared with its policy."""

import torch
from torch import Tensor

from ..policy import Smoothed
from ..rotations import decoded
from ..seeding import stream
from ..types import Observation

PREFIX = "observation.images."
"""What the name of a camera is preceded by in the name of an input."""


def windows(plans: Smoothed, count: int, *, seed: int = 0) -> Observation:
    """Windows `[b, o, d]` within the range of the training data, in single precision, with pictures of any bytes."""
    spec, rng = plans.planner.spec, stream(seed, "export", "windows")
    unit = 2 * torch.rand(count, spec.n_obs_steps, spec.n_encoded, generator=rng, dtype=torch.float64) - 1
    images = dict[str, Tensor]()
    for view in spec.vision.views if spec.vision else ():
        shape = count, spec.n_obs_steps, *view.size, view.channels
        images[view.camera] = torch.randint(256, shape, generator=rng, dtype=torch.uint8)
    readings = decoded(plans.planner.observation_scale.denormalize(unit), spec.observed_rotations)
    return Observation(state=readings.float(), images=images)
