"""Pictures of a training: ready for random access, and read ahead of the updates that need them."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor

from ..data import Depth, ranges_of
from ..data.prefetch import prefetched
from ..data.unpacked import unpacked
from ..errors import DataError
from ..nn import View, Vision
from ..types import Episodes, Pictures

OnPictures = Callable[[str, int, int], None]
"""Called with the name of a camera, the number of its pictures that are ready, and the number of all of them."""


def without_environment(episodes: Episodes) -> Episodes:
    """Episodes whose observation has the robot's own readings alone."""
    seen = episodes.observations
    if seen is None or seen.environment_state is None:
        return episodes
    names = {name: part for name, part in episodes.names.items() if name != "observation.environment_state"}
    return replace(episodes, observations=replace(seen, environment_state=None), names=names)


def seen_of(episodes: Episodes, vision: Vision | None) -> Episodes:
    """Episodes with the readings that a policy of pictures observes."""
    return episodes if vision is None or vision.readings == "all" else without_environment(episodes)


def ready_pictures(
    episodes: Episodes, vision: Vision | None, *, on_pictures: OnPictures = lambda camera, done, total: None
) -> dict[str, Pictures]:
    """The pictures that a policy sees, resized and ready for random access.

    Raises:
        DataError: A camera is missing, has pictures of another size, or cannot be read.
    """
    if vision is None:
        return {}
    check_cameras(episodes, vision)
    return {
        view.camera: unpacked(
            episodes.cameras[view.camera],
            view.size,
            nearest=view.depth is not None,
            on_row=lambda done, camera=view.camera: on_pictures(camera, done, len(episodes.actions)),
        )
        for view in vision.views
    }


def check_cameras(episodes: Episodes, vision: Vision) -> None:
    """Refuse episodes without the cameras of a policy.

    Raises:
        DataError: A camera is missing, has pictures of another size, or measurements with another range.
    """
    known, ranges = ", ".join(episodes.cameras) or "none", ranges_of(episodes)
    for view in vision.views:
        pictures = episodes.cameras.get(view.camera)
        if pictures is None:
            lost = episodes.meta.get("cameras_missing") or ()
            why = " Its video files are missing: copy them to their place." if view.camera in lost else ""
            raise DataError(f"the data have no camera {view.camera!r}; cameras that can be read: {known}.{why}")
        if pictures.shape != view.shape:
            raise DataError(
                f"expected pictures {list(view.shape)} of camera {view.camera!r}, as in the recipe, got "
                f"{list(pictures.shape)}. Remove vision from the --recipe file, or give data of that size."
            )
        _check_range(view, ranges.get(view.camera))


def _check_range(view: View, found: Depth | None) -> None:
    """Refuse measurements in place of pictures of bytes, the contrary, and another range."""
    wanted = None if view.depth is None else Depth.of(view.depth)
    if found == wanted:
        return
    kinds = [
        "bytes" if depth is None else f"measurements from {depth.near:g} to {depth.far:g}" for depth in (wanted, found)
    ]
    way_out = "Give the data of the training"
    if wanted is not None and found is not None:
        way_out = f"Read the data with --depth-range {wanted.near:g} {wanted.far:g}"
    raise DataError(f"expected {kinds[0]} of camera {view.camera!r}, as in the recipe, got {kinds[1]}. {way_out}.")


def without_cameras(episodes: Episodes, asked: Sequence[str] = ()) -> DataError:
    """The reason why no pictures of data without cameras can be seen, and a way out."""
    lost = episodes.meta.get("cameras_missing") or ()
    if lost:
        way_out = f"The video files of {', '.join(lost)} are missing: copy them to their place."
    else:
        way_out = "To train on readings alone, remove --images (in Python: vision=None)."
    seen = f", so that the policy cannot see {', '.join(asked)}" if asked else ""
    return DataError(f"the data have no cameras{seen}. {way_out}")


@dataclass
class Ahead:
    """Pictures of the coming updates, read in the background.

    Attributes:
        windows: Rows and pictures of each update.
        waited: Seconds for which updates had to wait for pictures [s].
    """

    windows: Iterator[tuple[Tensor, dict[str, Tensor]]]
    waited: float = field(default=0.0)

    def next(self, device: torch.device) -> dict[str, Tensor]:
        """Pictures of the next update."""
        started = time.perf_counter()
        _, found = next(self.windows)
        self.waited += time.perf_counter() - started
        return {camera: pictures.to(device) for camera, pictures in found.items()}


@contextmanager
def ahead(
    cameras: Mapping[str, Pictures], windows: Iterator[Int[Tensor, "b o"]]
) -> Generator[Ahead | None, None, None]:
    """Context in which the pictures of windows are read in the background; `None` without cameras."""
    if not cameras:
        yield None
        return
    read = prefetched(cameras, windows, threads=1)
    try:
        yield Ahead(read)
    finally:
        if isinstance(read, Generator):
            read.close()
