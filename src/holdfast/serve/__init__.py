"""Policies over a network and against a clock: a server in openpi's protocol, its client, and a control loop.

    with holdfast.serve.Client("ws://127.0.0.1:8000") as policy:
        policy.reset()
        action = policy.select_action({"observation.state": state})

    with holdfast.serve.ControlLoop(policy, dt=0.02) as loop:
        loop.wait()
        action = loop.act(observation)

Importing the package loads nothing else; server and client need the extra `serve`, a control loop does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .clock import ControlLoop
    from .pace import Counts, Pace

__all__ = ["Client", "ControlLoop", "Counts", "Pace"]

_MODULES = {"Client": "client", "ControlLoop": "clock", "Counts": "pace", "Pace": "pace"}


def __getattr__(name: str) -> Any:
    """Public names, imported at their first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'holdfast.serve' has no attribute {name!r}.")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
