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

_MADE = {"double_integrator": double_integrator, "quadrotor2d": Quadrotor2D, "scalar": scalar}
SYSTEMS = tuple(_MADE)


def system(name: str) -> Task:
    """The built-in task with this name.

    Raises:
        UnknownNameError: The name is not in `SYSTEMS`; the message lists the names.
    """
    if name not in _MADE:
        raise UnknownNameError("system", name, SYSTEMS)
    return _MADE[name]()
