"""Checksums in the descriptions that Holdfast stores with a data set, common to all formats.

    checksums    dtype, shape and CRC-32C of the lengths and of every array; CRC-32C of lists of texts; number, size and
                 checksums of the pictures of every camera
    checksum     CRC-32C of the description itself, with `checksums`

They are compared after everything was read, so every way from the disk to the arrays is covered: the format's own
headers, compression and order. Sets without them, of other programs or written before, are read without a comparison.
"""

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from torch import Tensor

from ...errors import DamageWarning, DataError
from ...types import Episodes, Pictures
from ..arrays import arrays_of
from ..checksums import Checksums, Verified, of_array, of_json, of_parsed
from ..validity import validate

CONTENTS, SEAL = "checksums", "checksum"
CAMERA = "camera "

_ONLY_WARNS = ContextVar("_ONLY_WARNS", default=False)


def sealed(
    description: Mapping[str, Any], episodes: Episodes, pictures: Mapping[str, Checksums] | None = None
) -> dict[str, Any]:
    """A description with checksums of itself, of the arrays, and of the pictures where the format stores them.

    Args:
        description: JSON values.
        episodes: The episodes that are written.
        pictures: Checksum of each picture by camera, if the format stores them.
    """
    found = {**description, CONTENTS: _contents(episodes, pictures or {})}
    return {**found, SEAL: of_json(found)}


def is_sealed(description: Mapping[str, Any]) -> bool:
    """Whether a description has checksums."""
    return SEAL in description


@contextmanager
def damage_is_a_warning() -> Generator[None]:
    """Context in which values that differ from their checksums are read, with a warning: `inspect` reports on them."""
    before = _ONLY_WARNS.set(True)
    try:
        yield
    finally:
        _ONLY_WARNS.reset(before)


def check_seal(description: Mapping[str, Any], episodes: Episodes, source: str) -> None:
    """Compare what was read with the checksums in its description, if it has any.

    Raises:
        DataError: Something differs; the message names it.
    """
    if not is_sealed(description) or not (changed := _changed(description, episodes)):
        return
    message = (
        f"{source} is damaged: {', '.join(changed)} changed after the data set was written (its checksums differ). "
        f"Copy or write it again; if the change is intended, remove the entry {SEAL!r} beside {CONTENTS!r}."
    )
    if _ONLY_WARNS.get():
        warnings.warn(message, DamageWarning, stacklevel=2)
        return
    # what is wrong with the values, if that can be seen, says more than a checksum that differs
    validate(episodes, source=source)
    raise DataError(message)


def check_not_renamed(stored: Mapping[str, Any], name: str, place: str) -> None:
    """Refuse a description under another name than its own, which would be overlooked.

    A description that is missing is no damage: other programs remove it when they edit a data set.
    """
    for key, value in stored.items():
        if key != name and isinstance(value, dict) and SEAL in value and CONTENTS in value:
            raise DataError(f"{place}: {key!r} should be {name!r}. Copy or write the data set again.")


def _contents(episodes: Episodes, pictures: Mapping[str, Checksums]) -> dict[str, str]:
    arrays = {"lengths": episodes.lengths.long(), **arrays_of(episodes)}
    found = {name: of_array(v) if isinstance(v, Tensor) else of_json(list(v)) for name, v in arrays.items()}
    return found | {CAMERA + name: _camera(shown, pictures.get(name)) for name, shown in episodes.cameras.items()}


def _camera(pictures: Pictures, sums: Checksums | None) -> str:
    checksum = "" if sums is None else f" {of_json(sums.tolist())}"
    return f"{len(pictures)} {list(pictures.shape)}{checksum}"


def _changed(description: Mapping[str, Any], episodes: Episodes) -> list[str]:
    """Names of what differs from its checksum."""
    inner = {name: value for name, value in description.items() if name != SEAL}
    if of_parsed(inner) != description[SEAL]:
        return ["the description"]
    sums = {name: shown.expected for name, shown in episodes.cameras.items() if isinstance(shown, Verified)}
    before, after = cast("dict[str, str]", description[CONTENTS]), _contents(episodes, sums)
    # a camera that is missing is named in `meta`
    missing = [CAMERA + str(name) for name in episodes.meta.get("cameras_missing") or ()]
    return [name for name in before | after if before.get(name) != after.get(name) and name not in missing]
