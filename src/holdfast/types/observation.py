"""Observations: the input of policies, and of their training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor


def _no_images() -> dict[str, Tensor]:
    # a display, because torch.compile cannot call `dict[str, Tensor]`
    return {}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Input of a policy: a batch `[b, ·]` of steps, or windows `[b, o, ·]` of the last `o` steps, oldest first.

    On a fully observed system `state` is the system's state.

    Attributes:
        state: Low-dimensional readings of the robot (`observation.state`).
        environment_state: Low-dimensional readings of everything else (`observation.environment_state`), if any.
        images: Camera name → images, channels last, 0–255 (`observation.images.<camera>`).
        task: Instruction of each batch entry, if there are instructions.

    >>> steps = [Observation(state=torch.full((3, 2), float(t)), task=("push",) * 3) for t in range(4)]
    >>> window = Observation.stack(steps)
    >>> window.vector.shape, window.at(slice(1)).vector.shape, window.at(slice(1)).task
    (torch.Size([3, 4, 2]), torch.Size([1, 4, 2]), ('push',))
    """

    state: Float[Tensor, "*b n"]
    environment_state: Float[Tensor, "*b e"] | None = None
    images: Mapping[str, UInt8[Tensor, "*b height width channels"]] = field(default_factory=_no_images)
    task: tuple[str, ...] | None = None

    @property
    def vector(self) -> Float[Tensor, "*b d"]:
        """All low-dimensional readings of a step as one vector: state, then environment state."""
        if self.environment_state is None:
            return self.state
        return torch.cat([self.state, self.environment_state], dim=-1)

    def with_vector(self, vector: Float[Tensor, "*b d"]) -> "Observation":
        """The same observation with other low-dimensional readings, in the order of `vector`."""
        if self.environment_state is None:
            return replace(self, state=vector)
        n_state = self.state.shape[-1]
        return replace(self, state=vector[..., :n_state], environment_state=vector[..., n_state:])

    def map(self, function: Callable[[Tensor], Tensor]) -> "Observation":
        """The same observation with a function applied to each tensor, images included."""
        environment = self.environment_state
        return replace(
            self,
            state=function(self.state),
            environment_state=None if environment is None else function(environment),
            images={camera: function(images) for camera, images in self.images.items()},
        )

    def at(self, rows: slice | Int[Tensor, " rows"]) -> "Observation":
        """The observations of some entries of the batch."""
        task = self.task
        if task is not None:
            task = tuple(task[int(row)] for row in torch.arange(len(task))[rows])
        return replace(self.map(lambda values: values[rows]), task=task)

    def to(self, like: Tensor) -> "Observation":
        """Readings in another tensor's precision, and everything on its device."""
        return self.map(lambda values: values.to(like) if values.is_floating_point() else values.to(like.device))

    @staticmethod
    def stack(steps: "Sequence[Observation]") -> "Observation":
        """A window `[b, o, ·]` from steps `[b, ·]`, oldest first, with the task of the newest."""
        return Observation._joined(steps, lambda parts: torch.stack(parts, dim=1), steps[-1].task)

    @staticmethod
    def concatenate(parts: "Sequence[Observation]") -> "Observation":
        """One batch from several, along the first axis."""
        task = None if parts[0].task is None else tuple(task for part in parts for task in part.task or ())
        return Observation._joined(parts, torch.cat, task)

    @staticmethod
    def _joined(
        parts: "Sequence[Observation]", join: Callable[[list[Tensor]], Tensor], task: tuple[str, ...] | None
    ) -> "Observation":
        environment = [part.environment_state for part in parts if part.environment_state is not None]
        return Observation(
            state=join([part.state for part in parts]),
            environment_state=join(environment) if environment else None,
            images={camera: join([part.images[camera] for part in parts]) for camera in parts[-1].images},
            task=task,
        )
