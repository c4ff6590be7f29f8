"""The one order in which a dictionary of observations becomes a vector, for data sets and environments alike.

    agent_pos or state, others             → agent_pos or state as the robot's part; the others as the environment's
    observation, achieved_goal,            → these three in this order, then the others
          desired_goal
    anything else                          → all keys

Keys without a place of their own have the order in which the dictionary's space lists them, which for gymnasium's
`Dict(**spaces)` and `Dict(OrderedDict(...))` is the order in which they were written, and for `Dict({...})`, which
gymnasium itself sorts, the alphabetical one. A file without a space gives its own order.
"""

from collections.abc import Iterable, Sequence

OWN = ("agent_pos", "state")
GOAL = ("observation", "achieved_goal", "desired_goal")


def parts_of(keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys of the robot's part and of the environment's part, each in order.

    >>> parts_of(["velocity", "goal", "angle"])
    (('velocity', 'goal', 'angle'), ())
    >>> parts_of(["achieved_goal", "desired_goal", "observation"])
    (('observation', 'achieved_goal', 'desired_goal'), ())
    >>> parts_of(["block", "agent_pos"])
    (('agent_pos',), ('block',))
    """
    own = tuple(key for key in OWN if key in keys)
    if own:
        return own, tuple(key for key in keys if key not in own)
    if set(GOAL) <= set(keys):
        return (*GOAL, *(key for key in keys if key not in GOAL)), ()
    return tuple(keys), ()


def in_order_of(keys: Iterable[str], space: Iterable[str]) -> list[str]:
    """The keys in the order of a space; those that it lacks come last, in their own order.

    >>> in_order_of(["angle", "goal", "time"], ["goal", "angle"])
    ['goal', 'angle', 'time']
    """
    places = {key: place for place, key in enumerate(space)}
    return sorted(keys, key=lambda key: places.get(key, len(places)))
