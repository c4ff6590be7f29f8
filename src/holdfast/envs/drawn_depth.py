"""Depth that a simulator draws, as the bytes that a policy of a depth camera sees.

The depth of a pixel is the distance to what it shows along the camera's axis, in metres (MuJoCo's unit of length), as
depth cameras of robots measure it. OpenGL gives w between 0 (far plane f) and 1 (near plane n), from which

    z = n f / (n + w (f − n))

Pixels that show nothing have the depth 0, which is no measurement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray

from ..data import Depth
from ..data.depth import is_measurement
from ..errors import RecipeError, at_least

SUFFIX = "_depth"
"""What follows the name of a model's camera in the name of its depth."""
BEYOND = 10.0
"""Factor beyond a range from which drawn depth is taken for that of other units."""


@dataclass(frozen=True)
class DrawnDepth:
    """Depth to draw, as pictures of one channel.

    Attributes:
        height: Height of the pictures [px].
        width: Their width [px].
        near: Smallest depth that is resolved [m].
        far: Largest one [m].

    Raises:
        RecipeError: No size, or ends that are no range.
    """

    height: int
    width: int
    near: float
    far: float

    def __post_init__(self) -> None:
        at_least(1, height=self.height, width=self.width)
        _ = self.range

    @property
    def range(self) -> Depth:
        """The range that becomes bytes."""
        return Depth(self.near, self.far)


Asked = tuple[int, int] | DrawnDepth
"""Pictures of a camera: height and width of a picture of colours, or its depth."""


def size_of(asked: Asked) -> tuple[int, int]:
    """Height and width of the pictures of a camera [px]."""
    return (asked.height, asked.width) if isinstance(asked, DrawnDepth) else asked


def ranges_drawn(cameras: Mapping[str, Asked]) -> dict[str, tuple[float, float]]:
    """Nearest and farthest depth of each camera whose depth is drawn [m]."""
    return {name: (one.near, one.far) for name, one in cameras.items() if isinstance(one, DrawnDepth)}


def depth_ranges_of(environment: object) -> dict[str, tuple[float, float]]:
    """Nearest and farthest measurement of each camera of an environment whose pictures are bytes of measurements."""
    stated: Mapping[str, Sequence[float]] = getattr(environment, "depth_ranges", {})
    return {name: (float(near), float(far)) for name, (near, far) in stated.items()}


def source_of(name: str, asked: Asked, known: Sequence[str]) -> str:
    """The camera of a model that shows the pictures of a name: `top` has the colours `top` and the depth `top_depth`.

    >>> source_of("top_depth", DrawnDepth(8, 8, 0.1, 2.0), ["top"]), source_of("top_depth", (8, 8), ["top"])
    ('top', 'top_depth')
    """
    if not isinstance(asked, DrawnDepth) or name in known:
        return name
    return name.removesuffix(SUFFIX)


def check_no_depth(cameras: Mapping[str, Asked], environment: str) -> None:
    """Refuse depth where no model of MuJoCo has cameras.

    Raises:
        RecipeError: The depth of a camera is asked for.
    """
    if measured := list(ranges_drawn(cameras)):
        raise RecipeError(
            f"camera {measured[0]} shows measurements (depth or touch), which {environment} does not show. Depth is "
            "drawn of the cameras of a MuJoCo model, in gym:<id> and mujoco:<id>; elsewhere, run the policy on its "
            "robot with select_action."
        )


def metric(window: Float32[ndarray, "height width"], near: float, far: float) -> Float64[ndarray, "height width"]:
    """Depth in metres of what OpenGL gives with 0 at the far plane; 0 where nothing is shown.

    Args:
        window: Depths between 0 (far plane) and 1 (near plane).
        near: Distance of the near plane [m].
        far: Distance of the far plane [m].

    >>> metric(np.array([[0.0, 1.0, 1.0 / 99.0]], dtype=np.float32), 1.0, 100.0).round(3).tolist()
    [[0.0, 1.0, 50.0]]
    """
    values = np.asarray(window, dtype=np.float64)
    return np.where(values > 0, near * far / (near + values * (far - near)), 0.0)


def check_units(depth: Float64[ndarray, "*shape"], asked: DrawnDepth, camera: str, *, where: str) -> None:
    """Refuse a range in other units than metres: half of what is drawn is far beyond it.

    Raises:
        RecipeError: The usual depth is more than ten times nearer or farther than the range.
    """
    values: Any = depth[is_measurement(depth)]
    usual = float(np.median(values)) if values.size else asked.near
    if asked.near / BEYOND <= usual <= asked.far * BEYOND:
        return
    raise RecipeError(
        f"the depth of camera {camera} that {where} draws is {usual:.3g} m for half of the pixels, but its range is "
        f"{asked.near:g} to {asked.far:g}. Depth is drawn in metres: train on data in metres (1 m are 1000 mm)."
    )
