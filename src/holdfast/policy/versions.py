"""Versions of `recipe.json`, and the upgrade of older ones.

    1   until November 2026
    2   noise laws are values (`{"kind": "Isotropic"}`, not "gaussian"); JumpSampler is AverageVelocitySampler

A new version is one more function in `_STEPS`, and a fixture of the version before in the tests.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from ..errors import RunError


def upgrade(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe in the current version.

    Raises:
        RunError: There is no version, or it is not one of those that this Holdfast reads.

    >>> upgrade({"version": 1, "training": {"noise_law": "uniform"}})
    {'version': 2, 'training': {'noise_law': {'kind': 'UniformAsPublished'}}}
    """
    version = stored.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= RUN_VERSION:
        raise RunError(
            f"the recipe was written in version {version!s:.40}, but this holdfast reads versions 1 to {RUN_VERSION}. "
            "Upgrade holdfast, or train again."
        )
    upgraded = dict(stored)
    for step in _STEPS[version - 1 :]:
        upgraded = step(upgraded)
    return upgraded | {"version": RUN_VERSION}


def _from_1(stored: Mapping[str, Any]) -> dict[str, Any]:
    laws = {"gaussian": "Isotropic", "uniform": "UniformAsPublished", "shift": "MeanShift"}
    kinds = {"JumpSampler": "AverageVelocitySampler"}

    def changed(key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if key == "noise_law" and value in laws:
            return {"kind": laws[value]}
        return kinds.get(value, value) if key == "kind" else value

    return _mapped(stored, changed)


def _mapped(stored: Mapping[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The same nested fields, each plain value replaced by `change(key, value)`."""
    return {
        key: _mapped(cast("Mapping[str, Any]", value), change) if isinstance(value, Mapping) else change(key, value)
        for key, value in stored.items()
    }


_STEPS = (_from_1,)

RUN_VERSION = 1 + len(_STEPS)
"""Version of the recipes that are written."""
