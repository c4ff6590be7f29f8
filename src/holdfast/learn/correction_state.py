"""Checkpoints of the training of a correction, so that a stopped one continues bit for bit.

    residual_state/plans.safetensors   control steps of the plans that are made, and the random streams after them
    residual_state/state.safetensors   weights, moments, learning rate and random stream of the updates

The header of each holds a digest of all that the training depends on. Files of another training are not used.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..atomic import write_atomically
from ..errors import HoldfastError, Interrupted, RunError
from ..policy.realtime import CorrectionRecipe
from ..policy.realtime.correction_file import digest_of_run
from ..schema import to_plain
from ..sealed import Sealed, digest_of, header_of, read_sealed, sealed
from ..types import Episodes

STATE = "residual_state"
"""Folder of the checkpoints, in the run folder."""
SAVED = 4096
"""Plans between checkpoints."""
SAVED_UPDATES = 500
"""Updates between checkpoints."""

_PLANS, _UPDATES = "plans.safetensors", "state.safetensors"


def origin_of(folder: Path, options: CorrectionRecipe, episodes: Episodes, device: torch.device | str) -> str:
    """Digest of all that the bits of a correction depend on.

    Args:
        folder: Run folder.
        options: What the correction is trained with.
        episodes: Demonstrations.
        device: Device on which the plans are made.
    """
    rows = hashlib.sha256()
    for values in (episodes.observed.vector, episodes.states, episodes.actions, episodes.lengths):
        rows.update(memoryview(cast(Any, values.cpu().contiguous().view(-1).view(torch.uint8).numpy())))
    threads = torch.get_num_threads()
    return digest_of([digest_of_run(folder), to_plain(options), rows.hexdigest(), str(device), threads])


@dataclass(frozen=True)
class Stored:
    """What a checkpoint holds: numbers of its header and tensors by name."""

    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def under(self, part: str) -> dict[str, Tensor]:
        """The tensors whose names begin with a part, by the rest of their names."""
        return {name[len(part) + 1 :]: value for name, value in self.tensors.items() if name.startswith(f"{part}/")}


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training in a run folder, whose lock must be held.

    Attributes:
        folder: Run folder.
        origin: Digest of all that the training depends on.
        interrupted: Function that returns the number of the signal that arrived, or 0.
    """

    folder: Path
    origin: str
    interrupted: Callable[[], int]

    def continue_plans(self, restore: Callable[[Stored], None]) -> None:
        """Restore the last checkpoint of the plans, if there is one of this training.

        Raises:
            RunError: It is damaged.
        """
        self._continue(_PLANS, restore)

    def continue_updates(self, restore: Callable[[Stored], None]) -> None:
        """Restore the last checkpoint of the updates, if there is one of this training.

        Raises:
            RunError: It is damaged.
        """
        self._continue(_UPDATES, restore)

    def after_plans(self, done: int, total: int, stored: Callable[[], Stored]) -> None:
        """Save the plans every now and then, at the end, and before a stop.

        Raises:
            Interrupted: A signal has arrived.
        """
        if (signum := self.interrupted()) or done % SAVED == 0 or done == total:
            self._write(_PLANS, stored())
        self._stop(signum, f"{done} of {total} plans")

    def after_update(self, done: int, total: int, stored: Callable[[], Stored]) -> None:
        """Save the updates every now and then, and before a stop; what remains after the last one is short.

        Raises:
            Interrupted: A signal has arrived.
        """
        if done == total:
            return
        if (signum := self.interrupted()) or done % SAVED_UPDATES == 0:
            self._write(_UPDATES, stored())
        self._stop(signum, f"{done} of {total} updates")

    def clear(self) -> None:
        """Remove the checkpoints of a training that has ended."""
        shutil.rmtree(self.folder / STATE, ignore_errors=True)

    def _stop(self, signum: int, done: str) -> None:
        if signum:
            raise Interrupted(f"stopped after {done} of the correction; the same command continues from there", signum)

    def _write(self, name: str, stored: Stored) -> None:
        (self.folder / STATE).mkdir(exist_ok=True)
        write_atomically(self.folder / STATE / name, sealed(stored.tensors, {**stored.about, "origin": self.origin}))

    def _continue(self, name: str, restore: Callable[[Stored], None]) -> None:
        path = self.folder / STATE / name
        if not path.exists():
            return
        try:
            if header_of(path).get("origin") == self.origin:
                restore(_checked(read_sealed(path)))
        except (HoldfastError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{path} is damaged ({error}). Remove the folder {self.folder / STATE}, and train the correction again."
            ) from error


def _checked(stored: Sealed) -> Stored:
    if stored.digest is None:
        raise RunError("its header lacks the digest with which it was written")
    stored.check()
    return Stored(stored.about, stored.tensors)
