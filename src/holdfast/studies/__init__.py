"""Studies: figures and tables of the literature, measured again; each is one folder of this package.

A folder that holds a `command.py` is a study. Its name is the folder's, with hyphens; the first line of its
`__init__.py` is its summary; `command.py` holds one dataclass, derived from `engine.options.StudyCommand`, with the
study's options. Names and summaries are read without importing any study.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnknownNameError

if TYPE_CHECKING:
    from .engine.options import StudyCommand

__all__ = ["load_study", "study_names", "study_summary"]

_FOLDER = Path(__file__).parent


def study_names() -> tuple[str, ...]:
    """Names of all studies, sorted.

    >>> "fig6-pusht" in study_names()
    True
    """
    return tuple(sorted(path.parent.name.replace("_", "-") for path in _FOLDER.glob("*/command.py")))


def study_summary(name: str) -> str:
    """First line of a study's documentation.

    >>> study_summary("toy")
    'Two learners with the same mean error on a scalar system: one diverges, one does not.'
    """
    text = (_FOLDER / _folder_of(name) / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def load_study(name: str) -> "type[StudyCommand]":
    """Import one study and return its command."""
    from .engine.options import StudyCommand  # not at the top: names and summaries are read without PyTorch

    module = import_module(f".{_folder_of(name)}.command", __name__)
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    (command,) = (value for value in own if issubclass(value, StudyCommand))
    return command


def _folder_of(name: str) -> str:
    if name not in study_names():
        raise UnknownNameError("study", name, study_names())
    return name.replace("-", "_")
