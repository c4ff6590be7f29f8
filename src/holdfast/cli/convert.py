"""`holdfast convert`: a data set from one format to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

from ..data import FormatName, check_target, format_of, locate, not_kept, read, write
from ..errors import OutputError
from ..types import Episodes
from .console import console, name_files

__all__ = ["Convert"]


@dataclass(frozen=True)
class Convert:
    """Write a data set in another format, read it again and compare.

    Read are LeRobot (v3.0 and v2.1, also by its name on the Hugging Face Hub), robomimic, zarr replay buffers, Minari,
    npz and Holdfast's own; written are all of them, LeRobot as v3.0.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File or folder of a data set, or its name on the Hugging Face Hub: owner/name."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File or folder to write."""
    format: FormatName | None = None
    """What to write; by default what the suffix of OUT says (.npz, .hdf5, .zarr, .zarr.zip), else lerobot."""
    filter_key: str | None = None
    """Of a robomimic file, take the episodes of this filter key only."""
    observations: tuple[str, ...] | None = None
    """Of a robomimic file, take these observations only, in this order."""
    overwrite: bool = False
    """Replace a data set that lies at OUT."""

    def run(self) -> None:
        """Read, check, write, compare."""
        place = locate(self.source)
        self._check_apart(place)
        check_target(self.out, overwrite=self.overwrite)
        episodes = read(place, filter_key=self.filter_key, observations=self.observations)
        console.print(escape(f"read {format_of(place)}: {_summary(episodes)}"), soft_wrap=True)
        if rest := episodes.meta.get("features_left_out"):
            console.print(escape(f"not read: {', '.join(map(str, rest))}"), soft_wrap=True)
        if missing := episodes.meta.get("cameras_missing"):
            console.print(escape(f"not there: the films of {', '.join(map(str, missing))}"), soft_wrap=True)
        with console.status(f"writing {len(episodes)} episodes"):
            write(episodes, self.out, format=self.format, overwrite=self.overwrite)
            lost = not_kept(episodes, read(self.out))
        kept = f"changed or left out: {', '.join(lost)}" if lost else "read again and compared: everything is kept"
        console.print(escape(kept), soft_wrap=True)
        name_files(self.out)

    def _check_apart(self, place: Path) -> None:
        """Pictures are read while the new set is written, and both are compared, so the old one must stay."""
        source, out = place.resolve(), self.out.resolve()
        if source == out or source in out.parents or out in source.parents:
            raise OutputError(f"{self.out} and {place} lie in one another. Write to another place: the source stays.")


def _summary(episodes: Episodes) -> str:
    seen = episodes.observed
    parts = [f"{len(episodes)} episodes, {int(episodes.lengths.sum())} steps", f"action {episodes.actions.shape[1]}"]
    parts.append(f"observation.state {seen.state.shape[1]}")
    if seen.environment_state is not None:
        parts.append(f"observation.environment_state {seen.environment_state.shape[1]}")
    for camera, pictures in episodes.cameras.items():
        parts.append(f"camera {camera} {'×'.join(map(str, pictures.shape))}")
    return ", ".join(parts)
