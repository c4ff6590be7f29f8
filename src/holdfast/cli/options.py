"""Options of verbs: dataclasses whose fields have docstrings, which `--help` shows.

A docstring that ends in "Default: …" replaces the default in `--help`, so that options whose default depends on others
never show `None`:

    steps: int | None = None
    "Number of parameter updates. Default: 4000 with gains, else 16000."
"""

import ast
import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar, cast

import tyro

from ..errors import RecipeError
from ..printable import in_lines
from .ranges import check_names, check_ranges

T = TypeVar("T")

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
_WIDEST = 2000
"""Longest word of tyro's messages; the frame of a wide terminal is one."""

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


def one_of(names: Sequence[str], *, metavar: str = "") -> object:
    """An annotation for an option of type `str | None` that takes one of several names, which are its placeholder.

    Another placeholder is for names that the option's text lists.
    """
    kind = tyro.extras.literal_type_from_choices(names)
    return tyro.conf.arg(constructor=kind, metavar=metavar or "{" + ",".join(names) + "}")


def parse(options: type[T], *, prog: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Options from arguments; `default` is needed where fields have no default of their own.

    Raises:
        RecipeError: A number is outside the range of its option.
    """
    for kind in options.__mro__:
        if "__dataclass_fields__" in vars(kind):
            _describe(kind)
    about = _description(options)
    with _harmless_output():
        if default is None:
            parsed = tyro.cli(options, prog=prog, description=about, args=arguments)
        else:
            parsed = tyro.cli(options, prog=prog, description=about, args=arguments, default=default)
    _check_given(parsed, arguments)
    check_names(parsed)
    check_ranges(parsed)
    return parsed


def _check_given(parsed: object, arguments: Sequence[str]) -> None:
    """Refuse an option of several values that was given without any: tyro takes it for one that was not given.

    Raises:
        RecipeError: Such an option was given.
    """
    pairs = pairwise([*arguments, "--"])
    bare = {word for word, after in pairs if word.startswith("--") and after[:2] == "--"}
    empty = [field.name for field in dataclasses.fields(cast("Any", parsed)) if getattr(parsed, field.name) == ()]
    if bare and empty:
        names = _names_of(type(parsed))
        for name in empty:
            if (option := names[name]) in bare:
                raise RecipeError(f"expected at least one value after {option}, got none. Give one, or omit {option}.")


def _names_of(options: type) -> dict[str, str]:
    """The option of each field on the command line: its own name, or that of its annotation."""
    found = dict[str, str]()
    for kind in reversed(options.__mro__):
        for name, annotation in vars(kind).get("__annotations__", {}).items():
            told = (getattr(note, "name", None) for note in getattr(annotation, "__metadata__", ()))
            found[name] = f"--{next((one for one in told if one), name).replace('_', '-')}"
    return found


def _description(options: type) -> str:
    """The docstring with one line per paragraph; tyro 1.0 keeps a line break before anything but a letter."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.cleandoc(options.__doc__ or "")))


@contextmanager
def _harmless_output() -> Generator[None]:
    """Let tyro, which repeats arguments in its messages, print neither control characters nor others' styles."""
    with redirect_stdout(_Harmless(sys.stdout)), redirect_stderr(_Harmless(sys.stderr)):
        yield


class _Harmless:
    """A text stream that writes printable lines of the terminal's width; styles are kept on terminals."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text with visible escapes in place of control characters."""
        # every second part is a style
        lines = "\n".join(map(_wrapped, text.split("\n")))
        parts = _STYLE.split(lines) if self._stream.isatty() else [lines]
        shown = (part if number % 2 else in_lines(part, longest_word=_WIDEST) for number, part in enumerate(parts))
        self._stream.write("".join(shown))
        return len(text)

    def flush(self) -> None:
        """Write what the stream holds back."""
        self._stream.flush()


def _wrapped(line: str) -> str:
    """The line in the width of the terminal. tyro wraps what is in frames, but no descriptions."""
    width = max(40, shutil.get_terminal_size().columns)
    if len(line) <= width or re.search(r"[\x1b│╭╰]", line):
        return line
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


@cache
def _describe(options: type) -> None:
    """Give tyro each field's docstring on one line; by itself, tyro 1.0 keeps the line breaks of indented ones."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(options)).body if isinstance(node, ast.ClassDef))
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            name, kind = ast.unparse(field.target), ast.unparse(field.annotation)
            text, _, default = " ".join(ast.literal_eval(below.value).split()).partition(" Default: ")
            hint = f"(default: {default.removesuffix('.')})" if default else "" if "None" in kind else None
            about = tyro.conf.arg(
                help=text, help_behavior_hint=hint, metavar=_placeholder(kind), constructor=_constructor(kind)
            )
            options.__annotations__[name] = Annotated[options.__annotations__[name], about]


def _placeholder(kind: str) -> str | None:
    """The placeholder of an optional value; `None` keeps tyro's or the annotation's."""
    names = _optional_names(kind)
    return "{" + ",".join(names) + "}" if names else _PLACEHOLDERS.get(kind)


def _constructor(kind: str) -> Any:
    """The type that reads an optional name; otherwise tyro would list `None` among the names."""
    names = _optional_names(kind)
    return tyro.extras.literal_type_from_choices(names) if names else None


def _optional_names(kind: str) -> list[str]:
    """The names of an annotation `Literal[…] | None`; empty for others."""
    if kind.startswith("Literal[") and kind.endswith("] | None"):
        return ast.literal_eval(f"[{kind[len('Literal[') : -len('] | None')]}]")
    return []
