"""Recipe of a pre-training: everything that it depends on, stored as `pretraining.json`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...data import Selection
from ...errors import RecipeError
from ...nn import EncoderOptions, FromFile, Vision
from ...nn.vision.pretraining import AnyMethod, Contrastive, Method, VariationalAutoencoder, method_named
from ...policy import check_recipe_numbers
from ...recipe import Training
from ...schema import to_plain
from ...sealed import digest_of
from ...types import Episodes
from ..defaults import computes_in_bfloat16, vision_of


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """One pre-training.

    Attributes:
        vision: Cameras on whose pictures one encoder is trained, and the encoder.
        method: Method, whose loss is minimized.
        training: Optimisation; what concerns policies alone is not used.
        data: Path of the data.
        selection: Keys and episodes that are read from the data.
        held_out: Fraction of the episodes that are held out.
        seed: Random seed for the choice of episodes, initial weights, batches and noise.

    Raises:
        RecipeError: Cameras with pictures of several sizes, or an encoder that is trained already.
    """

    vision: Vision
    method: AnyMethod = field(default_factory=VariationalAutoencoder)
    training: Training = field(default_factory=Training)
    data: str = ""
    selection: Selection = field(default_factory=Selection)
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        plain = to_plain(self)
        sizes = {"vision": plain["vision"], "method": plain["method"]}
        check_recipe_numbers({"policy": sizes, "training": plain["training"], "seed": self.seed})
        kinds = sorted({(*view.size, *view.encoded, view.channels) for view in self.vision.views})
        if len(kinds) > 1:
            listed = "; ".join(f"{height} × {width}, of {channels} channels" for height, width, *_, channels in kinds)
            raise RecipeError(
                f"one encoder is trained on pictures of one size, got {listed}. Name cameras of one size with "
                "--images, and pre-train an encoder for each of the others."
            )
        if isinstance(self.vision.encoder, FromFile):
            raise RecipeError(
                f"{type(self.vision.encoder).__name__} starts from the weights of a file. Choose an encoder that is "
                "trained from random weights: cnn, resnet18 or vit."
            )
        if not 0 <= self.held_out < 1:
            raise RecipeError(f"expected held_out of 0 or above, and below 1, got {self.held_out}.")
        if isinstance(self.method, Contrastive) and self.training.batch_size < 2:
            raise RecipeError("contrastive learning compares pictures of a batch: expected a batch_size of 2 or more.")

    @property
    def digest(self) -> str:
        """Digest of all that the training depends on, thus without the place of its data, which may move."""
        return digest_of(to_plain(replace(self, data="")))


def default_pretraining(
    episodes: Episodes,
    cameras: Sequence[str] = (),
    *,
    method: str | Method = "vae",
    encoder: str | EncoderOptions | None = None,
) -> Pretraining:
    """The usual recipe of a pre-training.

    Args:
        episodes: Data with pictures.
        cameras: Names of cameras with pictures of one size. Default: all.
        method: Name of the method (`nn.vision.pretraining.METHODS`), or its options.
        encoder: Name or options of the encoder. Default: a vision transformer for masked autoencoding, else the small
            convolutional network.

    Raises:
        UnknownNameError: No such camera, method or encoder.
        DataError: The data have no cameras.
        RecipeError: The method cannot train this encoder, or the pictures have several sizes.
    """
    chosen = method_named(method) if isinstance(method, str) else method
    masked = type(chosen) is type(method_named("mae"))
    vision = vision_of(
        episodes,
        tuple(cameras) or tuple(episodes.cameras) or ("pictures",),
        encoder=encoder or ("vit" if masked else "cnn"),
        readings="none",
    )
    training = Training(
        steps=10_000,
        batch_size=64,
        learning_rate=1e-3,
        warmup_steps=250,
        weight_decay=1e-4,
        precision="bfloat16" if computes_in_bfloat16() else "float32",
    )
    return Pretraining(vision=replace(vision, sigma_train=0.0, noises=1), method=chosen, training=training)
