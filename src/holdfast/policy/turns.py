"""One episode, one thread: a policy keeps a window, a plan and a random stream, which two threads would mix."""

import threading

from ..errors import RecipeError


class Turns:
    """Lock of a policy, and the thread that steps its episode; a copy starts free.

    Attributes:
        lock: Held while the policy computes.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._owner: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Turns, ()

    def claim(self) -> None:
        """Note that this thread takes a step; the caller holds the lock.

        Raises:
            RecipeError: Another thread took a step since the last reset.
        """
        here = threading.get_ident()
        if self._owner != here:
            if self._owner is not None:
                raise RecipeError(
                    "two threads step one policy, which would mix their windows, plans and noise. Load a policy for "
                    "each thread, or step it from one thread; after reset() another thread may take over."
                )
            self._owner = here

    def free(self) -> None:
        """Note that a new episode begins; the caller holds the lock."""
        self._owner = None
