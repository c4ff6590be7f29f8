"""Options whose default is not a constant: `--help` shows what it depends on instead of `None`."""

import ast
import inspect
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, TypeVar

import tyro

__all__ = ["BY_SUFFIX", "one_of", "option", "parse"]

BY_SUFFIX = "default: by the suffix .npz, .hdf5, .zarr or .zarr.zip, else lerobot"
"""Hint for the format in which a data set is written."""

T = TypeVar("T")


def option(metavar: str, hint: str) -> object:
    """An annotation for an option of type `X | None`.

    Args:
        metavar: Placeholder of the value, for example "INT".
        hint: Shown in parentheses after the description, for example "default: the run's own".
    """
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"({hint})")


def one_of(names: Sequence[str], hint: str) -> object:
    """An annotation for an option of type `str | None` that takes one of several names."""
    kind = tyro.extras.literal_type_from_choices(names)
    return tyro.conf.arg(constructor=kind, metavar="{" + ",".join(names) + "}", help_behavior_hint=f"({hint})")


def parse(options: type[T], *, prog: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Options from arguments, by tyro over a frozen dataclass whose fields have docstrings."""
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
            name, text = ast.unparse(field.target), " ".join(ast.literal_eval(below.value).split())
            options.__annotations__[name] = Annotated[options.__annotations__[name], tyro.conf.arg(help=text)]
