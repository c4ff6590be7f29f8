"""How much of the machine this process may use."""

import os


def usable_cores() -> int:
    """Cores that this process may use: a container or a scheduler may grant fewer than the machine has."""
    # not every system can say it
    ask = getattr(os, "sched_getaffinity", None)
    return len(ask(0)) if ask else os.cpu_count() or 1
