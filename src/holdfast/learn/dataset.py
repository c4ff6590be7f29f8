"""Demonstrations as training tensors: gathered by index, normalised per batch.

Normalising all rows in advance would double the memory; per batch it costs little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data import MinMax, NoiseLaw, Windows, copied_width, encode, gathered, noised
from ..data.prefetch import read_windows
from ..errors import DataError
from ..nn import Cameras
from ..policy import PolicyInterface, PolicySpec
from ..rotations import encoded
from ..tokens import Tokenizer
from ..types import Batch, Episodes, Observation, Pictures, PrimitiveControllers
from .features import Features
from .interfaces import interface_of


@dataclass(frozen=True)
class TrainingSet:
    """Rows of the demonstrations, their scales, and the windows over them.

    Attributes:
        observations: Observation of each row, in the data's units; rotations that the policy knows are six numbers.
        codes: Code of each row's primitive controller, in the data's units.
        windows: Rows of the observation window and of the chunk of each *now*.
        observation_scale: Scale of observations, fitted to the training episodes.
        code_scale: Scale of codes, fitted to the training episodes.
        tokenizer: Tokenizer fitted to the training episodes' chunks, for families of tokens.
        cameras: Camera name → images, one per row, decoded when a batch is drawn.
        tasks: Instruction of each episode, if batches carry them.
        weights: Relative frequency at which each episode's windows are drawn. Default: the same for all.
        interface: Names, order, units and ranges of the training episodes, which are stored with the weights.
        copied: Number of leading columns of the codes that are copies of the data; the others are gains, whose last
            bits depend on the processor that computes them. Default: all columns.
        encoders: Encoders with the weights of a file, with which a training begins.
        features: Features of the pictures, in place of `cameras`, if the encoders are frozen.
        text_features: Features of the instructions that the policy follows, from a text encoder, in their order.
        following: Whether batches carry the readings that follow each step of the chunk.
    """

    observations: Observation
    codes: Float[Tensor, "rows w"]
    windows: Windows
    observation_scale: MinMax
    code_scale: MinMax
    tokenizer: Tokenizer | None = None
    cameras: Mapping[str, Pictures] = field(default_factory=lambda: dict[str, Pictures]())
    tasks: tuple[str, ...] | None = None
    weights: Float[Tensor, " episodes"] | None = None
    interface: PolicyInterface | None = None
    copied: int | None = None
    encoders: Cameras | None = None
    features: Features | None = None
    text_features: Float[Tensor, "n f"] | None = None
    following: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self.codes.device

    def draw(self, count: int, rng: torch.Generator) -> Int[Tensor, " count"]:
        """Random rows, with replacement: row r with a probability proportional to its episode's weight."""
        if self.weights is None:
            return torch.randint(len(self), (count,), generator=rng, device=rng.device)
        reached = (self.weights * self.windows.lengths).cumsum(0)
        drawn = torch.rand(count, generator=rng, device=rng.device, dtype=reached.dtype) * reached[-1]
        episodes = torch.searchsorted(reached, drawn, right=True).clamp(max=len(reached) - 1)
        steps = ((drawn - (reached - self.weights * self.windows.lengths)[episodes]) / self.weights[episodes]).long()
        lengths = self.windows.lengths[episodes]
        # a sum that is rounded up must not reach the next episode
        return (self.windows.lengths.cumsum(0)[episodes] - lengths) + torch.minimum(steps.clamp(min=0), lengths - 1)

    def batch(
        self,
        now: Int[Tensor, " b"],
        *,
        sigma: float,
        rng: torch.Generator,
        law: NoiseLaw | None = None,
        pictures: Mapping[str, Tensor] | None = None,
    ) -> Batch:
        """Windows and chunks at the given rows, with HINT's noise on the low-dimensional readings.

        Args:
            now: Rows.
            sigma: Scale of the noise.
            rng: Random generator of the noise.
            law: Law of the noise of unit scale. Default: isotropic.
            pictures: Pictures of the windows, if they were read before. Default: they are read now.
        """
        chunk, mask = self.chunks_at(now)
        window = self._shown_at(now, pictures)
        observation = window.with_vector(noised(window.vector, sigma, rng=rng, law=law))
        batch = Batch(observation=self._with_features(observation, now), chunk=chunk, mask=mask)
        if not self.following:
            return batch
        following, followed = self.following_at(now)
        return replace(batch, following=following, followed=followed)

    def windows_at(self, now: Int[Tensor, " b"], pictures: Mapping[str, Tensor] | None = None) -> Observation:
        """Normalised observation windows that end at the given rows, with the features of frozen encoders."""
        return self._with_features(self._shown_at(now, pictures), now)

    def _with_features(self, window: Observation, now: Int[Tensor, " b"]) -> Observation:
        if self.features is None:
            return window
        features = gathered(self.features.content, self.windows.observation_rows(now))
        return Observation(state=torch.cat([window.vector, features.to(window.vector)], dim=-1), task=window.task)

    def _shown_at(self, now: Int[Tensor, " b"], pictures: Mapping[str, Tensor] | None) -> Observation:
        rows = self.windows.observation_rows(now)
        window = self.observations.map(lambda values: gathered(values, rows))
        window = window.with_vector(self.observation_scale.normalize(window.vector).float())
        if not self.cameras and self.tasks is None:
            return window
        if pictures is None:
            read = {camera: read_windows(shown, rows.cpu()) for camera, shown in self.cameras.items()}
            pictures = {camera: shown.to(self.device) for camera, shown in read.items()}
        return replace(window, images=pictures, task=self._tasks_at(now))

    def _tasks_at(self, now: Int[Tensor, " b"]) -> tuple[str, ...] | None:
        if self.tasks is None:
            return None
        episodes = torch.searchsorted(self.windows.lengths.cumsum(0), now, right=True)
        return tuple(self.tasks[int(episode)] for episode in episodes)

    def chunks_at(self, now: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h"]]:
        """Normalised chunks that start at the given rows, and the mask of steps inside the episodes."""
        rows, mask = self.windows.chunk_rows(now)
        return self.code_scale.normalize(gathered(self.codes, rows)).float(), mask

    def following_at(self, now: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b h r"], Bool[Tensor, "b h"]]:
        """Normalised readings that follow the steps of the chunks, without noise, and the mask of those inside the
        episodes.
        """
        rows, mask = self.windows.following_rows(now)
        readings = self.observations.map(lambda values: gathered(values, rows)).vector
        return self.observation_scale.normalize(readings).float(), mask


def chunks_of(data: TrainingSet, *, most: int, rng: torch.Generator) -> Float[Tensor, "n h w"]:
    """Normalised chunks of all control steps, or of `most` random ones."""
    now = torch.arange(len(data)) if len(data) <= most else torch.randperm(len(data), generator=rng)[:most]
    return data.chunks_at(now.to(data.codes.device))[0]


def training_set(
    spec: PolicySpec,
    episodes: Episodes,
    controllers: PrimitiveControllers,
    *,
    device: torch.device | str = "cpu",
    scales_of: TrainingSet | None = None,
    images: Sequence[str] = (),
    ready: Mapping[str, Pictures] | None = None,
    tasks: bool = False,
    weights: Float[Tensor, " episodes"] | None = None,
    encoders: Cameras | None = None,
    features: Features | None = None,
) -> TrainingSet:
    """Rows of the training episodes, shared with them where possible, and the scales fitted to them.

    Args:
        spec: Codec and lengths of windows and chunks.
        episodes: Training episodes.
        controllers: Primitive controllers, one per row.
        device: Device of the rows.
        scales_of: Training set whose scales and device are used, for held-out episodes.
        images: Cameras whose images the batches carry. Default: none, and no image is read.
        ready: Images of these cameras in the size that the policy sees. Default: those of the episodes.
        tasks: Whether batches carry the episodes' instructions.
        weights: Weight of each episode. Default: all windows are drawn equally often.
        encoders: Encoders with the weights of a file.
        features: Features of the images of frozen encoders; batches then carry them, and no images.

    Raises:
        DataError: The episodes lack one of the cameras, or instructions.
    """
    if missing := [camera for camera in images if camera not in episodes.cameras]:
        raise DataError(f"expected cameras {', '.join(missing)}, got {', '.join(episodes.cameras) or 'none'}.")
    if tasks and episodes.tasks is None:
        raise DataError("expected an instruction for each episode, but these episodes have none. Give tasks=False.")
    observed, turned = episodes.observed, spec.observed_rotations
    observed = observed.with_vector(encoded(observed.vector, turned)) if turned else observed
    cameras = ready or {camera: episodes.cameras[camera] for camera in images}
    codes = encode(spec.codec, controllers)
    copied = copied_width(spec.codec, spec.n_states, spec.n_actions)
    if scales_of is None:
        observation_scale, code_scale = MinMax.fit(observed.vector), MinMax.fit(codes)
    else:
        observation_scale, code_scale = scales_of.observation_scale, scales_of.code_scale
        device = scales_of.device
    return TrainingSet(
        observations=observed.map(lambda values: values.to(device)),
        codes=codes.to(device),
        windows=Windows(lengths=episodes.lengths.to(device), n_obs_steps=spec.n_obs_steps, horizon=spec.horizon),
        observation_scale=observation_scale.to(device),
        code_scale=code_scale.to(device),
        tokenizer=None if scales_of is None else scales_of.tokenizer,
        cameras={} if features is not None else cameras,
        tasks=episodes.tasks if tasks else None,
        weights=None if weights is None else weights.to(device),
        interface=interface_of(episodes, cameras) if scales_of is None else scales_of.interface,
        copied=copied if copied < codes.shape[-1] else None,
        encoders=encoders,
        features=features,
        following=spec.model.needs_following,
    )
