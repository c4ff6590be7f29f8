"""Names of coordinates: which of two lists of names mean the same coordinates, and in which order.

Programs spell the same coordinate in several ways: `pose/position_0`, `pose.position.0`, `pose.position[0]`. Names are
compared as lists of words and numbers, in lower case; `force` and `force.0` are the same if there is no `force.1`.
Units may follow in brackets: `angle [rad]`, `angle (deg)`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, ...]

_WORDS = re.compile(r"[^\W_]+")
_UNIT = re.compile(r"(.*\S)\s*[\[(]\s*([^\W\d][^\])]*|%|°)\s*[\])]\s*")
# each unit with its size in the first unit of its kind
_ANGLE, _LENGTH, _TIME = {"rad": 1.0, "deg": 0.017453292519943295}, {"m": 1.0, "cm": 1e-2, "mm": 1e-3}, {"s": 1.0}
_KINDS: tuple[Mapping[str, float], ...] = (_ANGLE, _LENGTH, _TIME | {"ms": 1e-3})
_SAME = {
    **dict.fromkeys(("radian", "radians"), "rad"),
    **dict.fromkeys(("degree", "degrees", "°"), "deg"),
    **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
    **dict.fromkeys(("millimetre", "millimetres", "millimeter", "millimeters"), "mm"),
    **dict.fromkeys(("centimetre", "centimetres", "centimeter", "centimeters"), "cm"),
    **dict.fromkeys(("sec", "second", "seconds"), "s"),
    **dict.fromkeys(("pixel", "pixels"), "px"),
}


@dataclass(frozen=True)
class Matched:
    """Coordinates of one list by name in another.

    Attributes:
        index: Position in the offered list of each wanted coordinate, if none is missing.
        missing: Wanted names that are not offered.
        extra: Offered names that are not wanted.
    """

    index: tuple[int, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def moves(self) -> bool:
        """Whether the order differs."""
        return list(self.index) != sorted(self.index)


def matched(wanted: Sequence[str], offered: Sequence[str]) -> Matched | None:
    """The wanted coordinates in an offered list; `None` if a name occurs twice, so that names decide nothing.

    >>> matched(["pos_0", "pos_1", "goal"], ["goal.0", "pos.0", "pos.1"]).index
    (1, 2, 0)
    >>> matched(["x", "y"], ["y", "z"])
    Matched(index=(), missing=('x',), extra=('z',))
    """
    sides = keys_of(wanted), keys_of(offered)
    if not all(map(_distinct, sides)):
        sides = [(name,) for name in wanted], [(name,) for name in offered]
        if not all(map(_distinct, sides)):
            return None
    ours, theirs = sides
    places = {key: place for place, key in enumerate(theirs)}
    missing = tuple(name for name, key in zip(wanted, ours, strict=True) if key not in places)
    known = set(ours)
    extra = tuple(name for name, key in zip(offered, theirs, strict=True) if key not in known)
    return Matched(() if missing else tuple(places[key] for key in ours), missing, extra)


def keys_of(names: Sequence[str]) -> list[Key]:
    """The words of each name, without a unit and without the index 0 of a stem that has no other index.

    >>> keys_of(["Pose/position_0", "pose.position[1]", "force_0", "angle [rad]"])
    [('pose', 'position', '0'), ('pose', 'position', '1'), ('force',), ('angle',)]
    """
    keys = [words_of(split_unit(name)[0]) or (name,) for name in names]
    stems = Counter(key[:-1] for key in keys if key[-1].isdecimal())
    return [key[:-1] if len(key) > 1 and key[-1] == "0" and stems[key[:-1]] == 1 else key for key in keys]


def words_of(name: str) -> Key:
    """Words and numbers of a name, in lower case."""
    return tuple(_WORDS.findall(name.casefold()))


def positional(names: Sequence[str]) -> bool:
    """Whether names tell no more than positions: one stem and the numbers 0, 1, … in order.

    >>> positional(["motor_0", "motor_1"]), positional(["x", "y"]), positional(["hand_0", "hand_1", "grip_0"])
    (True, False, False)
    """
    keys = [words_of(name) for name in names]
    return all(key and key[-1] == str(i) and key[:-1] == keys[0][:-1] for i, key in enumerate(keys))


def split_unit(name: str) -> tuple[str, str]:
    """A name and the unit that follows it in brackets, "" if there is none.

    >>> split_unit("angle [rad]"), split_unit("q[0]"), split_unit("speed (m/s)")
    (('angle', 'rad'), ('q[0]', ''), ('speed', 'm/s'))
    """
    found = _UNIT.fullmatch(name)
    return (found[1], found[2].strip()) if found else (name, "")


def ratio_of(unit: str, other: str) -> float | None:
    """Size of one unit in another: 1 if they are the same, `None` if the ratio is not known.

    >>> ratio_of("degrees", "deg"), ratio_of("m", "mm"), ratio_of("N", "rad")
    (1.0, 1000.0, None)
    """
    one, two = (_SAME.get(name.casefold(), name.casefold()) for name in (unit, other))
    if one == two:
        return 1.0
    kind = next((kind for kind in _KINDS if one in kind and two in kind), None)
    return None if kind is None else kind[one] / kind[two]


def named_vector(names: Mapping[str, Sequence[str]], widths: Mapping[str, int]) -> tuple[str, ...] | None:
    """Names of concatenated quantities; `None` unless all their coordinates are named."""
    parts = [tuple(names.get(quantity, ())) for quantity in widths]
    if any(len(part) != width for part, width in zip(parts, widths.values(), strict=True)):
        return None
    return tuple(name for part in parts for name in part) or None


def _distinct(keys: Sequence[Key]) -> bool:
    return len(set(keys)) == len(keys)
