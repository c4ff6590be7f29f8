"""Built-in systems, by name.

>>> system("quadrotor2d").n_states
6
"""

from ...errors import UnknownNameError
from .avoid import Avoid
from .base import System, Task
from .linear import Linear, double_integrator, scalar
from .obstacle import obstacle_system
from .quadrotor import Quadrotor2D

__all__ = [
    "SYSTEMS",
    "Avoid",
    "Linear",
    "Quadrotor2D",
    "System",
    "Task",
    "double_integrator",
    "obstacle_system",
    "scalar",
    "system",
]

SYSTEMS: tuple[str, ...] = ("double_integrator", "quadrotor2d", "scalar")


def system(name: str) -> Task:
    """The built-in task with this name.

    Raises:
        UnknownNameError: The name is not in `SYSTEMS`; the message lists the names.
    """
    match name:
        case "double_integrator":
            return double_integrator()
        case "quadrotor2d":
            return Quadrotor2D()
        case "scalar":
            return scalar()
        case _:
            raise UnknownNameError("system", name, SYSTEMS)
