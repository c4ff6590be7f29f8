"""Limits of a server."""

from dataclasses import dataclass

from ..errors import at_least, positive


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    Attributes:
        sessions: Largest number of open sessions.
        waiting: Largest number of requests that wait for a plan.
        together: Largest number of plans in one batch.
        opening: Seconds that a connection may take for its first request [s].
        sending: Seconds that a client may take to accept a reply [s].
        heartbeat: Seconds between pings [s]; a client that does not return one within half of it is gone.
        closing: Seconds that requests in flight may take after the server was told to stop [s].
    """

    sessions: int = 256
    waiting: int = 256
    together: int = 128
    opening: float = 10.0
    sending: float = 5.0
    heartbeat: float = 20.0
    closing: float = 10.0

    def __post_init__(self) -> None:
        at_least(1, sessions=self.sessions, waiting=self.waiting, together=self.together)
        positive(opening=self.opening, sending=self.sending, heartbeat=self.heartbeat, closing=self.closing)

    @property
    def connections(self) -> int:
        """Largest number of connections, which includes those that are no sessions yet."""
        return 2 * self.sessions + 64
