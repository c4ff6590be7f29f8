"""Keys that a user names, found among those of a data set, and the names of coordinates put side by side."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from ...errors import RecipeError, UnknownNameError

SEPARATORS = "/."
PICTURES = "observation.images."


def resolve(wanted: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """The keys of a data set that a user means, each once, in the given order.

    A key is meant by its whole name, by a pattern with `*` or `?`, by the name of a group that holds it, by its name
    without a number, or by the end of its path where no other path has this end.

    Raises:
        UnknownNameError: A name fits no key, or the ends of several paths.
        RecipeError: A key is named more than once.

    >>> resolve(["qpos"], ["observations/qpos", "observations/qvel"], "state")
    ['observations/qpos']
    >>> resolve(["action.*"], ["action.arm", "action.hand", "index"], "action")
    ['action.arm', 'action.hand']
    """
    meant = [_meant(name, known, what) for name in wanted]
    # a pattern after a key stands for the rest
    single = [keys[0] for keys in meant if len(keys) == 1]
    if twice := next((key for key in single if single.count(key) > 1), None):
        raise RecipeError(f"{what}: {twice} is named more than once ({' '.join(wanted)}). Name each key once.")
    return list(dict.fromkeys(key for keys in meant for key in keys))


def _meant(name: str, known: Sequence[str], what: str) -> list[str]:
    if name in known:
        return [name]
    if set(name) & set("*?[") and (found := [key for key in known if fnmatchcase(key, name)]):
        return found
    if found := [key for key in known if key.startswith(tuple(name.rstrip(SEPARATORS) + mark for mark in SEPARATORS))]:
        return found
    if found := [key for key in known if re.fullmatch(re.escape(name) + r"_\d+", key)]:
        return found
    ends = [key for key in known if key.endswith(tuple(mark + name for mark in SEPARATORS))]
    if len(ends) > 1:
        raise UnknownNameError(f"key for {what} (several keys end so)", name, ends)
    if not ends:
        raise UnknownNameError(f"key for {what}", name, known)
    return ends


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """A short name for each key: the last part of its path, where the last parts differ, else the whole path.

    >>> shortened(["obs/left/qpos", "obs/left/qvel"])
    {'obs/left/qpos': 'qpos', 'obs/left/qvel': 'qvel'}
    """
    last = {key: key.replace("/", ".").rsplit(".", 1)[-1] for key in keys}
    return last if len(set(last.values())) == len(last) else {key: key for key in keys}


def camera_names(names: Sequence[str]) -> dict[str, str]:
    """The name of each camera without the prefix of LeRobot's features, where no other camera has this name.

    >>> camera_names(["observation.images.top", "wrist"])
    {'observation.images.top': 'top', 'wrist': 'wrist'}
    """
    short = {name: name.removeprefix(PICTURES) or name for name in names}
    taken = [*short.values()]
    return {name: one if taken.count(one) == 1 else name for name, one in short.items()}


def coordinate_names(
    widths: Mapping[str, int], given: Mapping[str, Sequence[str] | None] | None = None
) -> tuple[str, ...]:
    """Names of coordinates of keys put side by side: those given, else the key's short name and an index.

    >>> coordinate_names({"obs/arm": 2, "obs/hand": 1}, {"obs/hand": ["width"]})
    ('arm_0', 'arm_1', 'width')
    >>> coordinate_names({"left": 1, "right": 1}, {"left": ["x"], "right": ["x"]})
    ('left.x', 'right.x')
    """
    short, known = shortened(list(widths)), given or {}
    parts = {key: known.get(key) or [f"{short[key]}_{i}" for i in range(width)] for key, width in widths.items()}
    plain = [name for names in parts.values() for name in names]
    if len(set(plain)) == len(plain):
        return tuple(plain)
    return tuple(f"{short[key]}.{name}" if known.get(key) else name for key, names in parts.items() for name in names)


def both_named(state: Sequence[str], action: Sequence[str]) -> list[str]:
    """A sentence on keys that are both state and action.

    >>> both_named(["qpos", "target"], ["target"])[0][:40]
    'target is both state and action, so the '
    """
    common = [key for key in state if key in action]
    if not common:
        return []
    return [
        f"{', '.join(common)} {'is' if len(common) == 1 else 'are'} both state and action, so the policy observes the "
        "action that it predicts, which nobody knows at deployment, unless --shift-actions takes a later one."
    ]


def listing(keys: Iterable[str], most: int = 40) -> str:
    """Keys for a message.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(keys)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more
