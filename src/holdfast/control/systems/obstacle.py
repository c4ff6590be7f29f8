"""A point mass in the plane that must pass a disc on its left or right: the smallest task with two modes."""

from dataclasses import replace

import torch

from .linear import Linear, double_integrator


def obstacle_system() -> Linear:
    """The double integrator over steps of 0.1 s, with a cost for the tracking of a path around the disc.

    >>> mass = obstacle_system()
    >>> mass.step(torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 2.0]))
    tensor([0.1000, 0.0100, 1.0000, 0.2000])
    """
    return replace(
        double_integrator(0.1),
        # a deviation of 0.1 m costs as much as 0.5 m/s of excess speed or an acceleration of 1 m/s²
        state_weight=torch.diag(torch.tensor([100.0, 100.0, 4.0, 4.0], dtype=torch.float64)),
        steps=60,
        name="obstacle",
        action_names=("x_ddot", "y_ddot"),
    )
