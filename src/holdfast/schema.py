"""Frozen dataclasses ↔ plain JSON values.

Alternatives (sum types) carry the name of their class under `kind`, so that a stored recipe identifies the choice:

    {"kind": "Affine", ...}
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, Union, cast

from .errors import RecipeError, UnknownNameError

T = TypeVar("T")


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
        if plain not in typing.get_args(hint):
            raise UnknownNameError(where, str(plain), map(str, typing.get_args(hint)))
        return plain
    if typing.get_origin(hint) is tuple:
        return _read_tuple(typing.get_args(hint)[0], plain, where)
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(cast(type, hint), plain, where)
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if isinstance(hint, type) and not isinstance(plain, hint):
        raise RecipeError(f"{where}: expected {hint.__name__}, got {plain!r}.")
    return plain


def _read_union(options: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and type(None) in options:
        return None
    alternatives = [cast(type, option) for option in options if dataclasses.is_dataclass(option)]
    named = {alternative.__name__: alternative for alternative in alternatives}
    if not named:
        return _read_first_fit([option for option in options if option is not type(None)], plain, where)
    name = str(cast("Mapping[str, Any]", plain).get("kind")) if isinstance(plain, Mapping) else repr(plain)
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
        raise RecipeError(f"{where}: expected a list, got {plain!r}.")
    return tuple(_read(inner, item, where) for item in cast("list[Any]", plain))


def _read_dataclass(kind: type, plain: Any, where: str) -> Any:
    if not isinstance(plain, Mapping):
        raise RecipeError(f"{where}: expected the fields of {kind.__name__}, got {plain!r}.")
    given = {str(key): value for key, value in cast("Mapping[str, Any]", plain).items() if key != "kind"}
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := given.keys() - fields.keys():
        raise RecipeError(
            f"{where}: {kind.__name__} has no field {', '.join(sorted(unknown))}. Known: {', '.join(fields)}. "
            "Was this written by a newer version of holdfast?"
        )
    required = [
        f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in given]:
        raise RecipeError(f"{where}: {kind.__name__} lacks the field {', '.join(missing)}.")
    return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in given.items()})
