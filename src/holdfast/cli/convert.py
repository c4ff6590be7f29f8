"""`holdfast convert`: a data set from one format to another."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..data import (
    FORMATS,
    check_output,
    claimed_output,
    differences,
    format_of,
    locate,
    read,
    unwritable_columns,
    without_columns,
    write,
)
from ..errors import Interrupted
from ..interrupts import Stopped
from ..types import Episodes
from .console import console, name_files
from .options import one_of
from .places import check_apart
from .reading import KEYS, ReadingOptions


@dataclass(frozen=True)
class Convert(ReadingOptions):
    """Write a data set in another format, verify by reading it again, and report what the format cannot represent.

    Reads and writes LeRobot (reads v2.0 to v3.0, writes v3.0), robomimic (.hdf5), zarr replay buffers, Minari, npz and
    Holdfast's own format. Other HDF5 files, folders of .npy files and CSV are only read. docs/data.md lists the
    layouts.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File or folder of a data set, or the id of a LeRobot data set on the Hugging Face Hub (owner/name)."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File or folder to write."""
    format: Annotated[str | None, one_of(FORMATS)] = None
    """Format to write. Default: by the suffix .npz, .hdf5, .zarr or .zarr.zip, else lerobot."""
    state: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar=KEYS)] = field(default=None, kw_only=True)
    """Keys whose values, side by side in this order, become the state in OUT: names of arrays, features or coordinates
    as `holdfast inspect` lists them; the last part of a path suffices, and patterns such as "obs/*" are allowed.
    Default: the usual names of the format."""
    camera: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = field(
        default=None, kw_only=True
    )
    """Cameras to convert; the others are left out of OUT. Default: all."""
    observations: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = None
    """Observations of a robomimic file to convert, in this order. They keep their names, whereas --state joins its keys
    into one state. Only --filter-key may be given as well, not --state, --action, --camera, --episodes or --task.
    Default: all low-dimensional ones."""
    video: bool = False
    """Store pictures as H.264 video, in the format lerobot only: tens of times smaller, and not exactly the same. Needs
    the extra video."""
    overwrite: bool = False
    """Replace an existing data set at OUT."""

    def run(self) -> None:
        """Read, check, write, compare."""
        place = locate(self.source)
        # images are read while the new set is written, and both are compared
        check_apart(self.out, place, option="OUT")
        with claimed_output(self.out):
            check_output(self.out, overwrite=self.overwrite)
            self._convert(place)
        name_files(self.out)

    def _convert(self, place: Path) -> None:
        episodes = read(place, selection=self.selection(), observations=self.observations)
        console.say(f"read {format_of(place)}: {_summary(episodes)}")
        if rest := episodes.meta.get("features_left_out"):
            console.say(f"not read: {', '.join(map(str, rest))}")
        if missing := episodes.meta.get("cameras_missing"):
            console.say(f"missing videos of cameras: {', '.join(map(str, missing))}")
        for sentence in episodes.meta.get("reading_notes") or ():
            console.say(str(sentence))
        if columns := unwritable_columns(episodes, self.out, format=self.format):
            console.say(f"not written: {', '.join(columns)}")
            episodes = without_columns(episodes, *columns)
        with console.status(f"writing {len(episodes)} episodes"):
            write(episodes, self.out, format=self.format, video=self.video, overwrite=self.overwrite)
            lost = self._lost(episodes)
        kept = f"not preserved: {', '.join(lost)}" if lost else "read again and compared: no difference"
        console.say(kept)

    def _lost(self, episodes: Episodes) -> list[str]:
        try:
            return differences(episodes, read(self.out))
        except Stopped as stop:
            raise Interrupted(f"stopped while comparing; {self.out} was written, whole", stop.signum) from stop


def _summary(episodes: Episodes) -> str:
    seen = episodes.observed
    parts = [f"{len(episodes)} episodes, {int(episodes.lengths.sum())} steps", f"action {episodes.actions.shape[1]}"]
    parts.append(f"observation.state {seen.state.shape[1]}")
    if seen.environment_state is not None:
        parts.append(f"observation.environment_state {seen.environment_state.shape[1]}")
    for camera, pictures in episodes.cameras.items():
        parts.append(f"camera {camera} {'×'.join(map(str, pictures.shape))}")
    if columns := [*episodes.columns, *episodes.episode_columns]:
        parts.append(f"columns {' '.join(columns)}")
    return ", ".join(parts)
