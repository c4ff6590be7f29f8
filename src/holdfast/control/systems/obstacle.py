"""A point mass in the plane that must pass a disc on its left or right: the smallest task with two modes."""

import torch

from .linear import Linear

__all__ = ["obstacle_system"]


def obstacle_system() -> Linear:
    """A point mass whose acceleration is held over each step of 0.1 s.

        p' = p + dt v + dt²/2 u,      v' = v + dt u

    State: position p [m], velocity v [m/s], each (x, y). Action: acceleration u [m/s²].

    >>> mass = obstacle_system()
    >>> mass.step(torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 2.0]))
    tensor([0.1000, 0.0100, 1.0000, 0.2000])
    """
    dt = 0.1
    one, none = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    return Linear(
        A=torch.cat([torch.cat([one, dt * one], 1), torch.cat([none, one], 1)]),
        B=torch.cat([dt**2 / 2 * one, dt * one]),
        # a deviation of 0.1 m costs as much as 0.5 m/s of excess speed or an acceleration of 1 m/s²
        state_weight=torch.diag(torch.tensor([100.0, 100.0, 4.0, 4.0], dtype=torch.float64)),
        steps=60,
        dt=dt,
        name="obstacle",
        state_names=("x", "y", "x_dot", "y_dot"),
        action_names=("x_ddot", "y_ddot"),
    )
