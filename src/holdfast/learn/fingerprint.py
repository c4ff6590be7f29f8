"""Fingerprint of a training set: whether a resumed training continues on the data that it began with."""

import hashlib
import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ..data.unpacked import checksum_of
from ..errors import RunError, RunWarning
from ..files import shown
from .dataset import TrainingSet

SAME_GAINS = 1e-5
"""Largest relative difference between norms of gains that another processor or library computed from the same data."""


@dataclass(frozen=True)
class Fingerprint:
    """What identifies the rows of a training set on every processor.

    Observations, actions, states, lengths and weights are compared bit for bit. Gains are computed, and their last bits
    depend on the processor, so only their norm is compared, up to rounding.

    Attributes:
        rows: Digest of everything but the gains.
        gains: Frobenius norm of all gains; 0 without.
        whole: Digest with the gains, as training states held it before there was one without.
    """

    rows: str
    gains: float
    whole: str

    @staticmethod
    def of(data: TrainingSet) -> "Fingerprint":
        """Fingerprint of a training set."""
        rows = _digest(data, data.codes[:, : data.copied])
        if data.copied is None:
            return Fingerprint(rows, 0.0, rows)
        return Fingerprint(
            rows, float(data.codes[:, data.copied :].double().square().sum().sqrt()), _digest(data, data.codes)
        )

    def stored(self) -> dict[str, str | float]:
        """The fingerprint as it is stored in a training state."""
        return {"rows": self.rows, "gains": self.gains}


def check_same_data(data: Fingerprint, stored: object, folder: Path) -> None:
    """Compare the training set with the fingerprint that a training state holds.

    Raises:
        RunError: The demonstrations, or the gains that are computed for them, are others.
    """
    known: Mapping[Any, Any] = cast(Mapping[Any, Any], stored) if isinstance(stored, Mapping) else {"whole": stored}
    if "whole" in known:
        _check_old(data, known["whole"], folder)
        return
    if known.get("rows") != data.rows:
        raise _other_demonstrations(folder, data.rows, known.get("rows"))
    gains = known.get("gains")
    if not isinstance(gains, int | float) or not _same_norm(gains, data.gains):
        raise RunError(
            f"the gains of the demonstrations differ from those that {folder} was trained on (norm {data.gains:.6g}, "
            f"expected {shown(gains)}). Continue with the version of holdfast that began the training, or start a new "
            "training in another folder."
        )


def _same_norm(first: float, second: float) -> bool:
    # gains that overflow are found by the training itself, which names the cause
    return math.isclose(first, second, rel_tol=SAME_GAINS) or (math.isnan(first) and math.isnan(second))


def _check_old(data: Fingerprint, known: object, folder: Path) -> None:
    if known == data.whole:
        return
    if not data.gains or not isinstance(known, str) or not re.fullmatch("[0-9a-f]{16}", known):
        raise _other_demonstrations(folder, data.whole, known)
    warnings.warn(
        f"the training state of {folder} was written before gains were compared apart from the demonstrations. Their "
        "last bits depend on the processor, so whether these are the demonstrations that it was trained on cannot be "
        "checked here.",
        RunWarning,
        stacklevel=4,
    )


def _other_demonstrations(folder: Path, found: str, known: object) -> RunError:
    return RunError(
        f"the demonstrations differ from those that {folder} was trained on (fingerprint {found}, expected "
        f"{shown(known)}). Restore the data, or start a new training in another folder."
    )


def _digest(data: TrainingSet, codes: Tensor) -> str:
    digest = hashlib.sha256()
    weights = () if data.weights is None else (data.weights,)
    for rows in (data.observations.vector, codes, data.windows.lengths, *weights):
        # a view: `bytes` would copy all the data
        digest.update(memoryview(cast(Any, rows.cpu().contiguous().numpy())).cast("B"))
    for camera, pictures in sorted(data.cameras.items()):
        digest.update(f"{camera} {pictures.shape} {checksum_of(pictures)}".encode())
    if data.features is not None:
        digest.update(f"features {data.features.digest}".encode())
    if data.tasks is not None:
        digest.update(json.dumps(data.tasks).encode())
    return digest.hexdigest()[:16]
