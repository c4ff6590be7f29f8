"""Frozen dataclasses ↔ plain JSON values.

Alternatives (sum types) carry the name of their class under `kind`, so that a stored recipe identifies the choice:

    {"kind": "Affine", ...}
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, Union, cast

from .errors import RecipeError, UnknownNameError, nearest

T = TypeVar("T")

_SHOWN = 80
"""Largest number of characters of a stored value in a message."""


@dataclasses.dataclass(frozen=True)
class Alternatives:
    """Annotation of a field that holds one of several dataclasses: `Annotated[Base, Alternatives(…)]`.

    Attributes:
        kinds: The dataclasses, distinguished by name.
    """

    kinds: tuple[type, ...]

    @staticmethod
    def of(values: Iterable[object]) -> "Alternatives":
        """The types of some values, each once."""
        return Alternatives(tuple(dict.fromkeys(map(type, values))))


def to_plain(value: Any) -> Any:
    """A frozen dataclass as JSON values: dictionaries with `kind`, lists, numbers, strings.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Point:
    ...     x: float
    >>> to_plain(Point(1.0))
    {'kind': 'Point', 'x': 1.0}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in cast("list[Any]", value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise RecipeError(f"a {type(value).__name__} cannot be stored in a recipe; use numbers, strings or dataclasses.")


def from_plain(kind: type[T], plain: Any) -> T:
    """The inverse of `to_plain`; `kind` is a dataclass; its fields may be unions of others.

    Raises:
        UnknownNameError: `kind` in the data names none of the alternatives.
        RecipeError: A field is unknown or missing, or has a value of another type.
    """
    return cast(T, _read(kind, plain, "recipe"))


def _read(hint: Any, plain: Any, where: str) -> Any:
    if typing.get_origin(hint) is Annotated:
        inner, *notes = typing.get_args(hint)
        found = next((note for note in notes if isinstance(note, Alternatives)), None)
        return _read(inner, plain, where) if found is None else _read_union(found.kinds, plain, where)
    if typing.get_origin(hint) in (Union, types.UnionType):
        return _read_union(typing.get_args(hint), plain, where)
    if typing.get_origin(hint) is typing.Literal:
        # the type as well, because 1 == True == 1.0
        if not any(type(plain) is type(known) and plain == known for known in typing.get_args(hint)):
            raise UnknownNameError(where, _shown(plain, str), map(str, typing.get_args(hint)))
        return plain
    if typing.get_origin(hint) is tuple:
        return _read_tuple(typing.get_args(hint)[0], plain, where)
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(cast(type, hint), plain, where)
    return _read_value(hint, plain, where)


def _read_value(hint: Any, plain: Any, where: str) -> Any:
    """A number, a string or a truth value; in Python, truth values are whole numbers, and these are not meant."""
    whole = isinstance(plain, int) and not isinstance(plain, bool)
    if hint is float and (whole or isinstance(plain, float)):
        return _finite(plain, where)
    if isinstance(hint, type) and (not isinstance(plain, hint) or (hint is int and not whole)):
        raise RecipeError(f"{where}: expected {hint.__name__}, got {_shown(plain)}.")
    return plain


def _finite(number: int | float, where: str) -> float:
    if not abs(number) <= sys.float_info.max:
        raise RecipeError(f"{where}: expected a finite number, got {_shown(number)}.")
    return float(number)


def _shown(plain: Any, write: Callable[[Any], str] = repr) -> str:
    """The beginning of a value, for a message: a stored value can be of any length."""
    text = write(plain)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read_union(options: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and type(None) in options:
        return None
    alternatives = [cast(type, option) for option in options if dataclasses.is_dataclass(option)]
    named = {alternative.__name__: alternative for alternative in alternatives}
    if not named:
        return _read_first_fit([option for option in options if option is not type(None)], plain, where)
    name = _shown(cast("Mapping[str, Any]", plain).get("kind"), str) if isinstance(plain, Mapping) else _shown(plain)
    if name not in named:
        raise UnknownNameError(where, name, named)
    return _read_dataclass(named[name], plain, where)


def _read_first_fit(options: list[Any], plain: Any, where: str) -> Any:
    """A value of the first of several plain types that it fits."""
    refusals = list[str]()
    for option in options:
        try:
            return _read(option, plain, where)
        except RecipeError as error:
            refusals.append(str(error))
    raise RecipeError(" Or ".join(refusals))


def _read_tuple(inner: Any, plain: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(plain, (list, tuple)):
        raise RecipeError(f"{where}: expected a list, got {_shown(plain)}.")
    return tuple(_read(inner, item, where) for item in cast("list[Any]", plain))


def _read_dataclass(kind: type, plain: Any, where: str) -> Any:
    if not isinstance(plain, Mapping):
        raise RecipeError(f"{where}: expected the fields of {kind.__name__}, got {_shown(plain)}.")
    if (stored := cast("Mapping[str, Any]", plain).get("kind", kind.__name__)) != kind.__name__:
        raise UnknownNameError(where, _shown(stored, str), [kind.__name__])
    given = {str(key): value for key, value in cast("Mapping[str, Any]", plain).items() if key != "kind"}
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(given.keys() - fields.keys()):
        raise RecipeError(
            f"{where}: {kind.__name__} has no field {_shown(', '.join(unknown), str)}. Known: {', '.join(fields)}."
            f"{nearest(unknown[0], fields)} Was this written by a newer version of holdfast?"
        )
    required = [
        f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in given]:
        raise RecipeError(f"{where}: {kind.__name__} lacks the field {', '.join(missing)}.")
    return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in given.items()})


def assumed(plain: Any, value: Any) -> list[str]:
    """Dotted names of the fields of a value that were not in the plain form that it was read from.

    >>> assumed({"policy": {"horizon": 4}}, {"policy": {"horizon": 4, "stream": False}, "seed": 0})
    ['policy.stream', 'seed']
    """
    if not isinstance(value, Mapping) or not isinstance(plain, Mapping):
        return []
    given, whole = cast("Mapping[str, Any]", plain), cast("Mapping[str, Any]", value)
    nested = ([name] if name not in given else _below(name, given[name], part) for name, part in whole.items())
    return [name for names in nested for name in names]


def _below(name: str, plain: Any, value: Any) -> list[str]:
    return [f"{name}.{field}" for field in assumed(plain, value)]
