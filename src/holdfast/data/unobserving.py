"""The commands that leave coordinates out of the observation."""

import shlex
from collections.abc import Collection, Sequence

NOUNS = {"state": "state", "observation": "observation.state", "environment": "observation.environment_state"}
"""Name of a quantity by the word that begins the labels of its coordinates."""


def without_coordinates(labels: Sequence[str], dropped: Collection[str]) -> str:
    """The sentence on how to train without some coordinates of the observation, with commands as they are typed.

    >>> without_coordinates(["state[0]", "state[1]", "state left x"], ["state[1]"])
    "Train without it: holdfast convert DATA named, then holdfast train named --state state_0 'left x' --out RUN"
    """
    kept = [label for label in labels if label not in dropped]
    what = "it" if len(dropped) == 1 else "them"
    if not kept:
        return f"Record the state of the robot: nothing else is observed than {' and '.join(dropped)}"
    keys = shlex.join(_key(label) for label in kept)
    return f"Train without {what}: holdfast convert DATA named, then holdfast train named --state {keys} --out RUN"


def _key(label: str) -> str:
    """The key of a coordinate in a data set of the own format.

    >>> _key("observation[3]"), _key("state x")
    ('observation.state_3', 'x')
    """
    noun, sign, rest = label.partition("[")
    if sign and noun in NOUNS and rest.rstrip("]").isdecimal():
        return f"{NOUNS[noun]}_{rest.rstrip(']')}"
    return label.partition(" ")[2]
