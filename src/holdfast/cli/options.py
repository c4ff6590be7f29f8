"""Options of verbs: dataclasses whose fields have docstrings, which `--help` shows.

A docstring that ends in "Default: …" replaces the default in `--help`, so that options whose default depends on others
never show `None`:

    steps: int | None = None
    "Number of parameter updates. Default: 4000 with gains, else 16000."
"""

import ast
import inspect
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")

_PLACEHOLDERS = {
    "bool | None": "{True,False}",
    "float | None": "FLOAT",
    "int | None": "INT",
    "str | None": "STR",
    "Path | None": "PATH",
    "tuple[float, ...] | None": "[FLOAT ...]",
    "tuple[int, ...] | None": "[INT ...]",
}
"""Placeholders of optional values, without the `{None}` of tyro's."""


def one_of(names: Sequence[str]) -> object:
    """An annotation for an option of type `str | None` that takes one of several names."""
    kind = tyro.extras.literal_type_from_choices(names)
    return tyro.conf.arg(constructor=kind, metavar="{" + ",".join(names) + "}")


def parse(options: type[T], *, prog: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Options from arguments; `default` is needed where fields have no default of their own."""
    for kind in options.__mro__:
        if "__dataclass_fields__" in vars(kind):
            _describe(kind)
    if default is None:
        return tyro.cli(options, prog=prog, args=arguments)
    return tyro.cli(options, prog=prog, args=arguments, default=default)


@cache
def _describe(options: type) -> None:
    """Give tyro each field's docstring on one line; by itself, tyro 1.0 keeps the line breaks of indented ones."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(options)).body if isinstance(node, ast.ClassDef))
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            name, kind = ast.unparse(field.target), ast.unparse(field.annotation)
            text, _, default = " ".join(ast.literal_eval(below.value).split()).partition(" Default: ")
            hint = f"(default: {default.removesuffix('.')})" if default else "" if "None" in kind else None
            about = tyro.conf.arg(help=text, help_behavior_hint=hint, metavar=_placeholder(kind))
            options.__annotations__[name] = Annotated[options.__annotations__[name], about]


def _placeholder(kind: str) -> str | None:
    """The placeholder of an optional value; `None` keeps tyro's or the annotation's."""
    if kind.startswith("Literal[") and kind.endswith("] | None"):
        return "{" + ",".join(ast.literal_eval(f"[{kind[len('Literal[') : -len('] | None')]}]")) + "}"
    return _PLACEHOLDERS.get(kind)
