"""`holdfast pretrain`: pictures without labels → an encoder for `holdfast train`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..atomic import claimed, followed
from ..data import is_picture_folder, read, read_picture_folder
from ..data.picture_folder import CAMERA
from ..devices import usable_device
from ..errors import RecipeError
from ..learn import trained_on
from ..learn.pretraining import (
    PictureSet,
    Pretraining,
    check_pretraining,
    default_pretraining,
    is_of_pretraining,
    load_pretraining,
    picture_set,
    pretrain,
)
from ..nn import ENCODERS
from ..nn.vision.pretraining import METHOD_NAMES, Method, method_named, name_of
from ..types import Episodes
from .console import console, name_files
from .machine import use_threads
from .options import one_of
from .places import check_apart
from .pretrain_results import write_pretraining_results
from .progress import stages
from .reading import ReadingOptions
from .resuming import ThreadsOption, check_resumed


@dataclass(frozen=True)
class Pretrain(ThreadsOption, ReadingOptions):
    """Train an encoder of pictures on pictures without labels, for policies that see pictures.

    The encoder that is written starts policies and estimators: `holdfast train DATA --images CAMERA --encoder-weights
    DIR`. Actions are not used. One encoder is trained on the pictures of all named cameras, which must have one size;
    they are resized and cropped as in `holdfast train`. At the end, pictures.png shows what the model makes of pictures
    of held-out episodes, and result.json holds the losses and what a linear function of the features knows of the
    recorded observation, compared with the same encoder before the training.
    """

    data: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = None
    """Data set with cameras, in any format that `holdfast train` reads, or a folder of PNG or JPEG files of one size,
    whose subfolders are episodes. Required unless --resume is given."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder to create. Required unless --resume is given."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of a stopped pre-training to continue, in place of DATA and --out. Of the other options, only --device and
    --threads may be given. Default: start a new one."""
    method: Annotated[str | None, one_of(METHOD_NAMES)] = None
    """Variational autoencoder (vae), autoencoder (ae), masked autoencoder (mae, for the encoder vit alone), or
    contrastive learning as in SimCLR (contrastive). Default: vae."""
    images: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="CAMERA [CAMERA ...]")] = None
    """Cameras whose pictures are used, by the names that `holdfast inspect` lists. Default: all."""
    encoder: Annotated[str | None, one_of(("cnn", "resnet18", "vit"))] = None
    """Encoder to train: a small convolutional network (cnn), a ResNet-18 with group normalization (resnet18), both with
    spatial softmax, or a small vision transformer (vit). Default: vit with --method mae, else cnn."""
    beta: float | None = None
    """Weight of the KL divergence, for --method vae. Default: 1, the evidence lower bound."""
    variance: float | None = None
    """Variance of pixels (from -1 to 1) around the decoded ones, for --method vae. Default: the most likely one for
    each batch."""
    share: float | None = None
    """Share of the patches that are hidden, for --method mae. Default: 0.75."""
    temperature: float | None = None
    """Temperature of the cosines of pairs, for --method contrastive. Default: 0.1."""
    seed: int | None = None
    """Random seed for held-out episodes, initialization, batches and noise. Default: 0."""
    steps: int | None = None
    """Number of parameter updates. Default: 10000."""
    batch_size: int | None = None
    """Pictures per update; contrastive learning compares each with all others. Default: 64."""
    learning_rate: float | None = None
    """Peak learning rate of AdamW, after a linear warm-up and before a cosine decay to zero. Default: 0.001."""
    held_out: float | None = None
    """Fraction of episodes that are held out; their loss is recorded in metrics.jsonl at each checkpoint. Default:
    0.1."""
    save_every: int | None = None
    """Updates between checkpoints. Default: 1000."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Matrix-multiply precision during training. Default: bfloat16 on processors that have instructions for it, and
    float32 on others."""
    device: str | None = None
    """Device on which to train: cpu or cuda. Default: cpu, or the previous device with --resume."""
    overwrite: bool = False
    """Replace an existing pre-training in --out. Other files in the folder stay."""

    def run(self) -> None:
        """Train to the end, or to Ctrl-C."""
        if self.resume is not None:
            self._resume(self.resume)
            return
        if self.data is None or self.out is None:
            raise RecipeError("expected DATA and --out DIR, or --resume DIR.")
        check_apart(self.out, self.data)
        with claimed(self.out, ours=is_of_pretraining, purpose="training in"):
            check_pretraining(self.out, overwrite=self.overwrite)
            use_threads(self.threads)
            episodes = _read(self.data, self)
            recipe = self._recipe(episodes, self.data)
            self._train(recipe, episodes, self.out, device=usable_device(self.device or "cpu"), resume=False)

    def _resume(self, folder: Path) -> None:
        check_resumed(self, folder, own="its own data and recipe", allowed=("device", "threads"))
        with claimed(folder, ours=is_of_pretraining, purpose="training in"):
            recipe, before = load_pretraining(folder), trained_on(folder)
            use_threads(before.threads if self.threads is None else self.threads)
            episodes = _read(Path(recipe.data), recipe)
            self._train(recipe, episodes, folder, device=usable_device(self.device or before.device), resume=True)

    def _train(self, recipe: Pretraining, episodes: Episodes, out: Path, *, device: str, resume: bool) -> None:
        started = time.monotonic()
        with stages() as stage:
            bars = dict[str, Callable[[int], None]]()

            def ready(camera: str, done: int, total: int) -> None:
                bar = bars.get(camera) or bars.setdefault(camera, stage(f"pictures of {camera}", total))
                bar(done)

            pictures = picture_set(recipe, episodes, on_pictures=ready)
        _describe(recipe, pictures)
        with stages() as stage:
            advance = stage("pre-training", recipe.training.steps)
            state = pretrain(
                recipe,
                pictures,
                out,
                resume=resume,
                overwrite=self.overwrite,
                device=device,
                on_step=lambda state: advance(state.step),
            )
        for sentence in write_pretraining_results(followed(out), recipe, pictures, episodes, state, started=started):
            console.say(sentence)
        name_files(out)
        # a folder of files names no camera of the data of a policy
        cameras = "CAMERA" if recipe.vision.cameras == (CAMERA,) else " ".join(recipe.vision.cameras)
        console.say(f"next: holdfast train DATA --images {cameras} --encoder-weights {out} --out RUN")

    def _recipe(self, episodes: Episodes, data: Path) -> Pretraining:
        """The default recipe, changed by the options."""
        method = self._method()
        recipe = default_pretraining(episodes, self.images or (), method=method, encoder=self.encoder)
        changes = {"steps": self.steps, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        changes |= {"save_every": self.save_every, "precision": self.precision}
        training = replace(recipe.training, **_given(changes))
        more = _given({"seed": self.seed, "held_out": self.held_out})
        place = str(data.resolve() if data.exists() else data)
        recipe = replace(recipe, training=training, data=place, selection=self.selection(), **more)
        recipe.method.build(recipe.vision)
        return recipe

    def _method(self) -> Method:
        name = self.method or "vae"
        method: Any = method_named(name)
        options = {"beta": self.beta, "variance": self.variance, "share": self.share, "temperature": self.temperature}
        given = _given(options)
        if wrong := [option for option in given if not hasattr(method, option)]:
            raise RecipeError(f"the method {name} has no {wrong[0]}. Remove --{wrong[0]}, or choose another --method.")
        return replace(method, **given)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _read(data: Path, options: "Pretrain | Pretraining") -> Episodes:
    """The data, or the pictures of a folder."""
    if is_picture_folder(data):
        return read_picture_folder(data)
    chosen = options.selection if isinstance(options, Pretraining) else options.selection()
    return read(data, selection=chosen, download=not isinstance(options, Pretraining))


def _describe(recipe: Pretraining, pictures: PictureSet) -> None:
    held_out = 0 if pictures.held_out is None else len(pictures.held_out)
    view = recipe.vision.views[0]
    encoder = next(name for name, one in ENCODERS.items() if type(one) is type(recipe.vision.encoder))
    cameras = "" if recipe.vision.cameras == (CAMERA,) else f" of {', '.join(recipe.vision.cameras)}"
    console.say(
        f"{len(pictures.training)} pictures{cameras} ({held_out} more are held out); "
        f"method {name_of(recipe.method)}, encoder {encoder}, {view.encoded[0]} × {view.encoded[1]} pixels"
    )
