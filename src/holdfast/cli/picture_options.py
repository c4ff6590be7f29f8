"""Options of `holdfast train` for policies that see pictures."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import tyro

from ..errors import RecipeError
from ..learn import vision_of, without_cameras
from ..nn import ENCODER_NAMES, Vision
from ..schema import to_plain
from ..types import Episodes
from .options import one_of


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Cameras whose pictures a policy sees, and how they are encoded."""

    images: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="CAMERA [CAMERA ...]")] = None
    """Cameras whose pictures the policy sees, by the names that `holdfast inspect` lists. Default: none."""
    estimate: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="KEY [KEY ...]")] = None
    """Train an estimator instead of a policy: coordinates of the observation that are estimated from the pictures of
    one step, by quantity (observation.environment_state), by name, or by a pattern such as "block_*". `holdfast
    evaluate RUN --estimator EST` then runs a policy of these coordinates on pictures. Default: train a policy."""
    encoder: Annotated[str | None, one_of(ENCODER_NAMES)] = None
    """Encoder of the pictures, trained with the policy: a small convolutional network (cnn), a ResNet-18 with group
    normalization (resnet18), both with spatial softmax, or a small vision transformer (vit). Default: cnn."""
    shared_encoder: bool = False
    """One encoder for all cameras, which then need pictures of one size. Default: one encoder for each camera."""
    readings: Literal["robot", "all", "none"] | None = None
    """Numbers that the policy sees beside pictures: the robot's own (observation.state), all (also
    observation.environment_state, such as the poses of objects, which a real robot would have to measure), or none.
    Default: robot."""
    sigma_features_train: float | None = None
    """Standard deviation of the noise on the features of pictures in training; positions among the features lie in
    [-1, 1]. Default: 0.02."""
    sigma_features_deploy: float | None = None
    """Standard deviation of the noise on the features of pictures at deployment, fresh at every plan. Default:
    --sigma-features-train."""

    def vision(self, episodes: Episodes) -> Vision | None:
        """What the policy sees of its cameras; `None` if no cameras are named.

        Raises:
            UnknownNameError: No such camera.
            DataError: The data have no cameras.
            RecipeError: Options for pictures without cameras, or pictures that the encoder cannot encode.
        """
        if self.images is None:
            self._check_alone()
            return None
        if not episodes.cameras:
            raise without_cameras(episodes, self.images)
        if not self.images:
            raise RecipeError(
                f"expected --images and the names of cameras, got none. Cameras of the data: "
                f"{', '.join(episodes.cameras)}."
            )
        found = vision_of(
            episodes,
            self.images,
            encoder=self.encoder or "cnn",
            readings=self.readings or ("none" if self.estimate else "robot"),
            shared=self.shared_encoder,
        )
        if self.estimate:
            # a mean needs no draws of noise
            found = replace(found, noises=1, sigma_train=0.0)
        sigma = self.sigma_features_train
        return found if sigma is None else replace(found, sigma_train=sigma)

    def picture_changes(self, episodes: Episodes) -> dict[str, Any]:
        """The options that were given, as fields of a stored policy."""
        vision, sigma = self.vision(episodes), self.sigma_features_deploy
        changes: dict[str, Any] = {} if vision is None else {"vision": to_plain(vision)}
        return changes if sigma is None else {**changes, "execution": {"sigma_features": sigma}}

    def _check_alone(self) -> None:
        given = {
            "--encoder": self.encoder,
            "--readings": self.readings,
            "--shared-encoder": self.shared_encoder or None,
            "--estimate": self.estimate,
        }
        given |= {
            "--sigma-features-train": self.sigma_features_train,
            "--sigma-features-deploy": self.sigma_features_deploy,
        }
        if wrong := [name for name, value in given.items() if value is not None]:
            verb = "is" if len(wrong) == 1 else "are"
            raise RecipeError(f"{', '.join(wrong)} {verb} for policies that see pictures. Add --images CAMERA.")
