"""Types of stored results: JSON values compared with the annotations of what they become.

Unlike a recipe, a result holds NaN where a measurement is undefined, and dictionaries of measurements.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Union, cast

from ...files import shown


def check_fields(result: Any) -> None:
    """Compare the values of a dataclass with its annotations; other results are not looked at.

    Raises:
        TypeError: A field holds a value of another type.

    >>> @dataclasses.dataclass
    ... class Row:
    ...     score: list[float]
    >>> check_fields(Row([1.0, float("nan")]))
    >>> check_fields(Row("high"))
    Traceback (most recent call last):
    ...
    TypeError: score: expected list[float], got 'high'
    """
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        _check_named(vars(result), _hints(type(result)))


def typed_row(kind: type, *apart: str) -> Callable[..., dict[str, Any]]:
    """A reader of dictionaries that hold the fields of a class, except those apart.

    It raises `TypeError` if a field is missing, unknown, or of another type.
    """
    return partial(_row, {name: hint for name, hint in _hints(kind).items() if name not in apart})


def _row(hints: Mapping[str, Any], /, **plain: Any) -> dict[str, Any]:
    if wrong := sorted(hints.keys() ^ plain.keys()):
        raise TypeError(f"the field {shown(wrong[0])} is {'missing' if wrong[0] in hints else 'unknown'}")
    _check_named(plain, hints)
    return plain


def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _check_named(values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, hint in hints.items():
        if not _fits(values[name], hint):
            raise TypeError(f"{name}: expected {_written(hint)}, got {shown(values[name])}")


def _written(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is typing.Literal:
        return any(type(value) is type(known) and value == known for known in inner)
    if origin is dict:
        return isinstance(value, dict) and _all_fit(cast("dict[str, Any]", value).values(), inner[1])
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and _all_fit(cast("list[Any]", value), inner[0])
    return _is_plainly(value, hint)


def _all_fit(values: Iterable[Any], hint: Any) -> bool:
    return all(_fits(value, hint) for value in values)


def _is_plainly(value: Any, hint: Any) -> bool:
    """Whether a value has a type: truth values are no numbers, whole numbers are numbers."""
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if dataclasses.is_dataclass(hint) and isinstance(value, cast("type[Any]", hint)):
        check_fields(value)
    return isinstance(value, cast("type[Any]", hint))
