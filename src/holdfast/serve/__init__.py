"""Policies over a network: a server in openpi's protocol, and a client with the policy's own verbs.

    with holdfast.serve.Client("ws://127.0.0.1:8000") as policy:
        policy.reset()
        action = policy.select_action({"observation.state": state})

Importing the package loads nothing else; both need the extra `serve`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    """The client, imported at its first use (PEP 562)."""
    if name != "Client":
        raise AttributeError(f"module 'holdfast.serve' has no attribute {name!r}.")
    from .client import Client

    return Client
