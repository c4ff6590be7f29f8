"""What cameras show, in a sample of their pictures: frozen, blank, shown twice, or late against the state.

From up to `EPISODES` episodes a window of `WINDOW` pictures in a row is read. The change of two pictures is the mean
absolute difference of the block of 1/16 by 1/16 of the picture that changes most, in levels from 0 to 255.

    frozen     no picture of a window differs from its first one, though the state moves
    blank      pictures of one colour
    twice      two cameras whose pictures do not differ
    late       the change of pictures follows the speed of the state most closely k steps later, k of at least 2

What was read, and what is not checked, is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import HoldfastError
from ...types import Episodes, Pictures
from ..choosing import dropping
from .findings import DataFinding, counted, good, listed, warning

EPISODES, WINDOW, BLOCKS = 8, 64, 16
"""Largest number of episodes and of pictures in a row that are read, and blocks along a side of a picture."""
SAME, PLAIN = 0.5, 1.5
"""Levels below which two pictures are the same, and below which all blocks of a picture have one colour."""
MOVES = 0.05
"""Smallest motion of a coordinate within a window in which pictures must change, as a share of its range."""
LAGS, CLEAR, GAIN, AGREE = 6, 0.2, 0.15, 0.6
"""Largest lag; smallest correlation at a lag, its smallest excess over that of no lag, and share of windows with it."""
FEWEST, WINDOWS = 16, 4
"""Smallest number of steps of an episode of the sample, and of windows that tell a lag."""
UNCHECKED = (
    "Not checked: focus, exposure, colours, viewpoints that move, and all other pictures. Exchanged cameras are found "
    "by the first pictures of episodes."
)


@dataclass(frozen=True)
class Window:
    """Pictures of one episode in a row.

    Attributes:
        blocks: Mean of each block, channels last.
        flat: Whether each picture has one colour.
    """

    episode: int
    rows: slice
    blocks: Float[Tensor, "t blocks"]
    flat: Bool[Tensor, " t"]


def check_frames(episodes: Episodes) -> Iterator[DataFinding]:
    """Cameras that show nothing, do not change, show the same as another one, or are late."""
    views = {camera: windows_of(episodes, pictures) for camera, pictures in episodes.cameras.items()}
    views = {camera: windows for camera, windows in views.items() if windows}
    found = [finding for camera, windows in views.items() for finding in _of_camera(episodes, camera, windows)]
    found += [_twice(one, other) for one, other in combinations(views, 2) if _are_same(views[one], views[other])]
    yield from found
    if views and not found:
        count = sum(len(window.blocks) for windows in views.values() for window in windows)
        total = sum(len(episodes.cameras[camera]) for camera in views)
        yield good(
            "frames",
            f"In a sample of {count:,} of {total:,} pictures ({', '.join(views)}), no camera is blank, frozen or "
            f"clearly late, and no two show the same. {UNCHECKED}",
            values={"pictures": count},
        )


def windows_of(episodes: Episodes, pictures: Pictures) -> list[Window]:
    """Windows from the middle of some episodes; none if pictures cannot be read, which another check reports."""
    long = torch.nonzero(episodes.lengths >= FEWEST).flatten()
    if not len(long):
        return []
    chosen = long[torch.linspace(0, len(long) - 1, min(len(long), EPISODES)).long()]
    found = list[Window]()
    for number in map(int, chosen):
        length, start = int(episodes.lengths[number]), int(episodes.starts[number])
        count = min(length, WINDOW)
        first = start + (length - count) // 2
        try:
            read = pictures.read(torch.arange(first, first + count)).to(torch.float32)
        except HoldfastError:
            return []
        sides = (min(BLOCKS, read.shape[1]), min(BLOCKS, read.shape[2]))
        blocks = torch.nn.functional.adaptive_avg_pool2d(read.permute(0, 3, 1, 2), sides)
        spread = (blocks.amax(dim=(2, 3)) - blocks.amin(dim=(2, 3))).amax(dim=1)
        found.append(Window(number, slice(first, first + count), blocks.flatten(1), spread < PLAIN))
    return found


def _of_camera(episodes: Episodes, camera: str, windows: list[Window]) -> Iterator[DataFinding]:
    blank = [window for window in windows if window.flat.float().mean() > 0.9]
    if blank:
        yield _blank(camera, blank, windows)
    seen = [window for window in windows if window not in blank]
    moving = [window for window in seen if _moves(episodes, window)]
    still = [window for window in moving if _change(window.blocks, window.blocks[:1]).amax() < SAME]
    if still:
        yield _frozen(camera, still, moving)
    elif (lag := lag_of(episodes, seen)) is not None:
        yield _late(camera, lag, episodes.dt)


def _change(a: Float[Tensor, "t blocks"], b: Float[Tensor, "u blocks"]) -> Float[Tensor, " t"]:
    return (a - b).abs().amax(dim=1)


def _speeds(episodes: Episodes, window: Window) -> Float[Tensor, " pairs"]:
    states = episodes.states.detach().cpu().double().nan_to_num()
    span = (states.amax(dim=0) - states.amin(dim=0)).clamp(min=1e-12)
    return (states[window.rows].diff(dim=0) / span).square().sum(dim=1).sqrt()


def _moves(episodes: Episodes, window: Window) -> bool:
    states = episodes.states.detach().cpu().double().nan_to_num()
    span = (states.amax(dim=0) - states.amin(dim=0)).clamp(min=1e-12)
    own = states[window.rows]
    return bool(((own.amax(dim=0) - own.amin(dim=0)) / span).amax() > MOVES)


def lag_of(episodes: Episodes, windows: list[Window]) -> int | None:
    """Steps by which pictures are late; `None` if they are not, or if it is not clear."""
    curves = [curve for window in windows if (curve := _correlations(episodes, window)) is not None]
    if len(curves) < WINDOWS:
        return None
    mean = torch.stack(curves).mean(dim=0)
    best = int(mean.argmax())
    agreeing = sum(abs(int(curve.argmax()) - best) <= 1 for curve in curves) / len(curves)
    clear = float(mean[best]) > CLEAR and float(mean[best] - mean[LAGS]) > GAIN and agreeing >= AGREE
    inside = 0 < best < 2 * LAGS
    return best - LAGS if clear and inside and abs(best - LAGS) > 1 else None


def _correlations(episodes: Episodes, window: Window) -> Tensor | None:
    """Correlation of the change of pictures with the speed of the state some steps before, by lag."""
    # roots: one large step must not outweigh all others
    speed = _speeds(episodes, window).sqrt()
    change = window.blocks.diff(dim=0).abs().mean(dim=1).double().sqrt()
    count = len(speed) - 2 * LAGS
    if count < 2 * LAGS:
        return None
    now = speed[LAGS : LAGS + count]
    return torch.stack([_correlation(now, change[first : first + count]) for first in range(2 * LAGS + 1)])


def _correlation(a: Float[Tensor, " k"], b: Float[Tensor, " k"]) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt().clamp(min=1e-12)


def _are_same(one: list[Window], other: list[Window]) -> bool:
    if any(a.blocks.shape != b.blocks.shape for a, b in zip(one, other, strict=True)):
        return False
    if all(bool(window.flat.all()) for window in one):
        return False
    return all(float(_change(a.blocks, b.blocks).amax()) < SAME for a, b in zip(one, other, strict=True))


def _episodes(some: list[Window], windows: list[Window]) -> str:
    if len(some) == len(windows):
        return f"in all {len(windows)} episodes of the sample"
    return (
        f"in {counted(len(some), 'episode')} of the {len(windows)} of the sample: {listed([w.episode for w in some])}"
    )


def _blank(camera: str, blank: list[Window], windows: list[Window]) -> DataFinding:
    level = float(torch.cat([window.blocks for window in blank]).mean())
    colour = "black" if level < 8 else "white" if level > 247 else "of one colour"
    return warning(
        "frames",
        f"The pictures of the camera {camera} are {colour} {_episodes(blank, windows)}.",
        effect="A policy sees nothing there, and learns what it can without this camera.",
        remedy=_remedy(blank, windows, "Record with the camera switched on and its lens uncovered"),
        values={"camera": camera, "kind": "blank", "level": level, "episodes": [window.episode for window in blank]},
    )


def _frozen(camera: str, still: list[Window], moving: list[Window]) -> DataFinding:
    return warning(
        "frames",
        f"The camera {camera} is frozen {_episodes(still, moving)}: its pictures do not change while the state moves.",
        effect="A policy learns that the picture says nothing about what to do, or acts on an old one.",
        remedy=_remedy(still, moving, "Check that new pictures arrive when recording"),
        values={"camera": camera, "kind": "frozen", "episodes": [window.episode for window in still]},
    )


def _remedy(some: list[Window], windows: list[Window], record: str) -> str:
    if len(some) == len(windows):
        return f"{record}, or train without this camera."
    drop = dropping(window.episode for window in some)
    return f"{record}; leave these out with {drop}, and look at the episodes that were not sampled."


def _twice(one: str, other: str) -> DataFinding:
    return warning(
        "frames",
        f"The cameras {one} and {other} show the same pictures.",
        effect="The second one adds nothing, and one of the two views was not recorded.",
        remedy="Check which device each camera reads; train with one of them.",
        values={"cameras": [one, other], "kind": "twice"},
    )


def _late(camera: str, lag: int, dt: float | None) -> DataFinding:
    seconds = "" if dt is None else f" ({abs(lag) * dt:.3g} s)"
    which = "late" if lag > 0 else "early"
    steps = counted(abs(lag), "step")
    return warning(
        "frames",
        f"The pictures of the camera {camera} are {steps}{seconds} {which}: they change {steps} "
        f"{'after' if lag > 0 else 'before'} the state does.",
        effect="A policy that sees them acts on another moment than the recorded state and action belong to.",
        remedy="Pair each step with the picture of its own time when converting; if it is the delay of the camera, "
        "let the robot at deployment have the same.",
        values={"camera": camera, "kind": "late", "lag": lag},
    )
