"""What a policy sees of its cameras: names, sizes, crops and encoders, which are stored in the recipe.

recorded ──resize──► seen ──crop──► encoded                  at random in training, in the centre at deployment
480 × 640            96 × 128       84 × 112
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from ...errors import RecipeError, at_least
from .cnn import SmallCnn
from .encoder import LARGEST_SIDE, FromFile
from .encoders import Encoder

USUAL, LARGE = 96, 128
"""Shorter side to which larger pictures are resized, and from which they are [px]."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Pictures of one camera.

    Attributes:
        camera: Name of the camera.
        height: Height of the pictures as they are recorded and given to the policy [px].
        width: Their width [px].
        channels: Their channels.
        resize: Height and width to which they are resized; `None` keeps their size.
        crop: Height and width of the part that is encoded; `None` encodes all of it.
        depth: Nearest and farthest of the measurements that became bytes, in the units of the data; `None` for pictures
            of bytes.

    Raises:
        RecipeError: Sizes that no picture has, a crop that is larger than the picture, or a range that is none.
    """

    camera: str
    height: int
    width: int
    channels: int = 3
    resize: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    depth: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name, pair in (("resize", self.resize), ("crop", self.crop)):
            if pair is not None and len(pair) != 2:
                raise RecipeError(f"expected {name} as a height and a width, got {pair}.")
        sides = [self.height, self.width, *(self.resize or ()), *(self.crop or ())]
        at_least(1, height=min(sides), channels=self.channels)
        if max(sides) > LARGEST_SIDE or self.channels > 4:
            raise RecipeError(
                f"expected pictures of camera {self.camera} of at most {LARGEST_SIDE} pixels a side and 4 channels, "
                f"got {max(sides)} pixels and {self.channels} channels."
            )
        if self.depth is not None:
            _check_depth(self)
        if self.crop is not None and any(part > side for part, side in zip(self.crop, self.size, strict=True)):
            raise RecipeError(
                f"expected a crop within the {self.size[0]} × {self.size[1]} pixels of camera {self.camera}, got "
                f"{self.crop[0]} × {self.crop[1]}."
            )

    @staticmethod
    def of(camera: str, shape: tuple[int, int, int]) -> "View":
        """The usual view of pictures `[height, width, channels]`: at most about 96 pixels high or wide, 7/8 of each
        side encoded (Chi et al. 2023: 84 of 96 pixels).

        >>> View.of("top", (480, 640, 3)).resize, View.of("top", (480, 640, 3)).crop, View.of("top", (96, 96, 3)).crop
        ((96, 128), (84, 112), (84, 84))
        """
        height, width, channels = shape
        shorter = min(height, width)
        resize = None
        if shorter > LARGE:
            resize = (round(height * USUAL / shorter), round(width * USUAL / shorter))
        seen = resize or (height, width)
        crop = tuple(max(side * 7 // 8, 1) for side in seen)
        return View(camera=camera, height=height, width=width, channels=channels, resize=resize, crop=crop)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures that the policy is given."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures after resizing."""
        return (self.height, self.width) if self.resize is None else (self.resize[0], self.resize[1])

    @property
    def encoded(self) -> tuple[int, int]:
        """Height and width of what is encoded."""
        return self.size if self.crop is None else (self.crop[0], self.crop[1])


def _check_depth(view: View) -> None:
    ends = view.depth or ()
    if view.channels != 1 or len(ends) != 2 or not 0 <= ends[0] < ends[1] < math.inf:
        raise RecipeError(
            f"expected the depth of camera {view.camera} as the nearest and the farthest measurement of one channel, "
            f"0 <= near < far, got {list(ends)} for {view.channels} channels."
        )


@dataclass(frozen=True, kw_only=True)
class Vision:
    """Pictures as a part of a policy's observation.

    Attributes:
        views: Pictures of each camera.
        encoder: Encoder of pictures.
        shared: One encoder for all cameras, which then have pictures of one size; otherwise one for each.
        readings: Low-dimensional readings seen beside the pictures: the robot's own (`observation.state`), all, or
            none.
        noises: Number of times that each encoded window is used in a loss, with fresh noise of the model: encoding
            takes most of the time.
        sigma_train: Standard deviation of the noise on the features in training.

    Raises:
        RecipeError: No views, a camera twice, or pictures that the encoder cannot encode.
    """

    views: tuple[View, ...]
    encoder: Encoder = field(default_factory=SmallCnn)
    shared: bool = False
    readings: Literal["robot", "all", "none"] = "robot"
    noises: int = 4
    sigma_train: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, noises=self.noises)
        if not self.views or len({view.camera for view in self.views}) != len(self.views):
            raise RecipeError(
                f"expected one or more cameras, each of them once, got {(', '.join(self.cameras) or 'none'):.200}."
            )
        if not 0 <= self.sigma_train < math.inf:
            raise RecipeError(f"expected sigma_train of the features of 0 or above, got {self.sigma_train}.")
        kinds = {(view.encoded, view.channels) for view in self.views}
        if self.shared and len(kinds) > 1:
            raise RecipeError(
                f"a shared encoder needs pictures of one size, got {sorted(kinds)}. Resize and crop them to one size, "
                "or give every camera its own encoder."
            )
        for view in self.views:
            if min(view.encoded) < self.encoder.smallest:
                raise RecipeError(
                    f"{type(self.encoder).__name__} encodes pictures of at least {self.encoder.smallest} pixels a "
                    f"side, but those of camera {view.camera} have {view.encoded[0]} × {view.encoded[1]} after the "
                    "crop. Choose a larger crop, or another encoder."
                )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(view.camera for view in self.views)

    @property
    def frozen(self) -> bool:
        """Whether the features of a picture never change, because the encoder is frozen."""
        return isinstance(self.encoder, FromFile) and self.encoder.frozen

    @property
    def n_features(self) -> int:
        """Number of features of all cameras."""
        return len(self.views) * self.encoder.n_features

    def view(self, camera: str) -> View:
        """The view of a camera."""
        return next(view for view in self.views if view.camera == camera)
