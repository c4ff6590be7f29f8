"""The safety filter of an option: a JSON file of constraints."""

from pathlib import Path

from ..errors import HoldfastError, RecipeError
from ..files import read_json
from ..policy import SafetyFilter
from ..schema import from_plain

_EXAMPLE = 'Give a file like {"action_low": [-1.0], "action_high": [1.0]}.'


def read_filter(path: Path) -> SafetyFilter:
    """The constraints in a file.

    Raises:
        RecipeError: The file cannot be read, or holds something else.
    """
    if not path.is_file():
        raise RecipeError(f"--filter {path} is not a file. {_EXAMPLE}")
    try:
        return from_plain(SafetyFilter, read_json(path, error=RecipeError))
    except (OSError, HoldfastError) as error:
        raise RecipeError(f"--filter {path}: {error} {_EXAMPLE}") from error
