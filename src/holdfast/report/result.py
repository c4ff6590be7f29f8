"""`result.json`: measured values for other programs."""

import dataclasses
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..atomic import write_atomically
from ..evaluation.intervals import Estimate
from ..schema import to_plain


def write_result(path: Path, values: Mapping[str, Any]) -> Path:
    """Write measured values as JSON, with versions and the kind of machine.

    An `Estimate` becomes `{"mean", "low", "high"}`, with `values` where these are too few for an interval, a tensor
    nested lists, a recipe its plain form; NaN and infinities become `null`, since JSON cannot represent them. Names are
    sorted, so equal values give equal bytes.

    Args:
        path: File, usually `…/result.json`.
        values: Name → number, text, list or mapping of such. `versions` and `machine` are added.

    Raises:
        TypeError: A value cannot be represented in JSON.
    """
    content = _plain({**values, "versions": _versions(), "machine": _machine()})
    return write_atomically(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _versions() -> dict[str, str]:
    return {
        "holdfast": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def _machine() -> dict[str, Any]:
    # No host name, kernel build or path: results are shared.
    return {"cores": os.cpu_count(), "platform": f"{platform.system()} {platform.machine()}"}


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case Estimate():
            ends = {"mean": value.mean, "low": value.low, "high": value.high}
            return _plain(ends | ({"values": value.values} if value.values else {}))
        case Tensor():
            return _plain(cast("Any", value.detach().cpu()).tolist())
        case np.generic() | np.ndarray():
            return _plain(cast("Any", value).tolist())
        case _:
            return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if dataclasses.is_dataclass(value):
        return _plain(to_plain(value))
    raise TypeError(
        f"a {type(value).__name__} cannot be written to a result. Give numbers, text, tensors, estimates, recipes, "
        f"or lists and mappings of them."
    )
