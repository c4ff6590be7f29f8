"""Data types shared by all packages.

Axis letters: `b` batch, `t` control step, `o` observation step, `h` chunk step, `n` state, `m` action, `w` code,
`rows` all steps of a ragged set. Arrays are `[batch, time, feature]`. A control step:

    states[t] ──actions[t]──► states[t + 1]

so a trajectory has one state more than it has actions. Sign of feedback: `u = ū + K (x − x̄)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .errors import DataError, ShapeError

Chunks = Float[Tensor, "b h w"]
"""Encoded chunks, one for each batch entry."""
Window = Float[Tensor, "b o d"]
"""Vectors of the last `o` observations of each batch entry, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Trajectories of equal length: `states[t] --actions[t]--> states[t + 1]`.

    >>> Trajectory(actions=torch.zeros(5, 10, 1), states=torch.zeros(5, 11, 2)).steps
    10
    """

    actions: Float[Tensor, "*b t m"]
    states: Float[Tensor, "*b t+1 n"]

    @property
    def steps(self) -> int:
        """Number of control steps `T`."""
        return self.actions.shape[-2]


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


@dataclass(frozen=True, kw_only=True)
class PrimitiveControllers:
    """Affine feedback laws κ = (ū, x̄, K); along a chunk's steps, a *composite action*.

        κ(x) = ū + K (x − x̄)

    `K = 0` is an ordinary open-loop action. (Block et al. 2023, arXiv 2307.14619, section 2.)

    >>> hold = PrimitiveControllers(
    ...     actions=torch.tensor([1.0]), states=torch.tensor([0.0]), gains=torch.tensor([[-0.5]])
    ... )
    >>> hold(torch.tensor([2.0]))
    tensor([0.])
    """

    actions: Float[Tensor, "*b m"]
    states: Float[Tensor, "*b n"]
    gains: Float[Tensor, "*b m n"]

    def __call__(self, state: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """The action at a state."""
        return self.actions + (self.gains @ (state - self.states).unsqueeze(-1)).squeeze(-1)

    def at(self, index: int) -> "PrimitiveControllers":
        """Controllers of one step of chunks `[*b, h]`."""
        return PrimitiveControllers(
            actions=self.actions[..., index, :], states=self.states[..., index, :], gains=self.gains[..., index, :, :]
        )

    def __getitem__(self, rows: int | Int[Tensor, "..."]) -> "PrimitiveControllers":
        """Controllers of some entries of the first axis."""
        return PrimitiveControllers(actions=self.actions[rows], states=self.states[rows], gains=self.gains[rows])

    @staticmethod
    def open_loop(actions: Float[Tensor, "*b m"], states: Float[Tensor, "*b n"]) -> "PrimitiveControllers":
        """Actions without feedback: K = 0."""
        # one expanded zero: the gains of ten million rows would fill a workstation's memory
        gains = actions.new_zeros(()).expand(*actions.shape, states.shape[-1])
        return PrimitiveControllers(actions=actions, states=states, gains=gains)


@runtime_checkable
class Pictures(Protocol):
    """Images of one camera, one per row: in memory, compressed, in a memory-mapped file or in a video."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """Decoded images of the given rows, channels last, 0–255."""
        ...


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """A ragged set of episodes with concatenated steps.

    Each row is one control step; the rows of episode `e` are the `lengths[e]` rows after those of the episodes before.

    Attributes:
        actions: Action of each step.
        states: Feedback state of primitive controllers at each step.
        lengths: Number of steps of each episode, at least 1.
        final_states: State after each episode's last action; `None` if not recorded, as in many published sets.
        observations: Low-dimensional observation at each step; `None` means the state itself.
        cameras: Camera name → images, one per row, which are read on demand.
        rewards: Reward of each step, if recorded.
        timestamps: Seconds since the start of the episode [s], as recorded; `None` means step · dt.
        tasks: Instruction of each episode, if there are instructions.
        names: Coordinate names by quantity: `action`, `state`, `observation.state`, `observation.environment_state`;
            quantities may be missing.
        dt: Seconds per step [s], if known.
        system: Name of the system or environment that the data come from, if known.
        columns: Further quantities by name, one number or vector per row (executed action, intervention, simulator
            state, …), of any real dtype or bool.
        episode_columns: Further quantities by name, one number, boolean or string per episode (success, operator, …).
        meta: Other information about the set, as JSON values.

    Raises:
        ShapeError: Arrays without one value per row, or per episode.
        DataError: A column with a built-in quantity's name, or of values that are not numbers, booleans or strings.
    """

    actions: Float[Tensor, "rows m"]
    states: Float[Tensor, "rows n"]
    lengths: Int[Tensor, " episodes"]
    final_states: Float[Tensor, "episodes n"] | None = None
    observations: Observation | None = None
    cameras: Mapping[str, Pictures] = field(default_factory=lambda: dict[str, Pictures]())
    rewards: Float[Tensor, " rows"] | None = None
    timestamps: Float[Tensor, " rows"] | None = None
    tasks: tuple[str, ...] | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict[str, tuple[str, ...]]())
    dt: float | None = None
    system: str | None = None
    columns: Mapping[str, Tensor] = field(default_factory=lambda: dict[str, Tensor]())
    episode_columns: Mapping[str, Tensor | tuple[str, ...]] = field(
        default_factory=lambda: dict[str, Tensor | tuple[str, ...]]()
    )
    meta: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())

    # names that a column may not have, because formats store the built-in quantities under them
    RESERVED: ClassVar = frozenset(
        {"action", "actions", "state", "states", "observation.state", "observation.environment_state", "final_states"}
        | {"reward", "rewards", "next.reward", "next.done", "timestamp", "timestamps", "task", "tasks", "task_index"}
        | {"index", "frame_index", "episode_index", "episode_ends", "lengths"}
    )

    def __post_init__(self) -> None:
        total = int(self.lengths.sum())
        if total != self.actions.shape[0] or total != self.states.shape[0]:
            raise ShapeError(
                f"episode lengths sum to {total}, but there are {self.actions.shape[0]} actions and "
                f"{self.states.shape[0]} states. Each row must hold one state and the action taken in it."
            )
        if self.observations is not None and self.observations.state.shape[0] != total:
            raise ShapeError(f"expected {total} observations, one per step, got {self.observations.state.shape[0]}.")
        if self.observations is not None and self.observations.images:
            raise ShapeError("episodes keep pictures as `cameras`, not in `observations.images`. Give them there.")
        for camera, pictures in self.cameras.items():
            if len(pictures) != total:
                raise ShapeError(f"expected {total} pictures of camera {camera}, one per step, got {len(pictures)}.")
        if self.tasks is not None and len(self.tasks) != len(self.lengths):
            raise ShapeError(f"expected {len(self.lengths)} tasks, one per episode, got {len(self.tasks)}.")
        for name, values in self.columns.items():
            self._check_column(name, values, total, "row")
        for name, values in self.episode_columns.items():
            self._check_column(name, values, len(self.lengths), "episode")

    def _check_column(self, name: str, values: Tensor | tuple[str, ...], count: int, each: str) -> None:
        if not name or name in self.RESERVED or name.startswith("observation.images."):
            raise DataError(
                f"column {name!r}: this name belongs to a quantity that episodes hold already. Give the column another."
            )
        if not isinstance(values, Tensor):
            if each == "row" or type(values) is not tuple or not all(map(_is_text, values)):
                kinds = "a tensor" if each == "row" else "a tensor, or a tuple of strings without null characters"
                raise DataError(
                    f"column {name!r} holds {type(values).__name__}, expected {kinds}, one value per {each}."
                )
        elif values.is_complex() or values.ndim not in ((1, 2) if each == "row" else (1,)) or 0 in values.shape[1:]:
            kinds = "[rows] or [rows, numbers per row]" if each == "row" else "[episodes]"
            raise ShapeError(
                f"column {name!r} is {values.dtype} of shape {list(values.shape)}, expected real numbers {kinds}."
            )
        if len(values) != count:
            raise ShapeError(f"column {name!r} holds {len(values)} values, expected {count}, one per {each}.")

    def __len__(self) -> int:
        return self.lengths.shape[0]

    @property
    def starts(self) -> Int[Tensor, " episodes"]:
        """First row of each episode."""
        return self.lengths.cumsum(0) - self.lengths

    @property
    def observed(self) -> Observation:
        """Observation of each row."""
        return Observation(state=self.states) if self.observations is None else self.observations

    def trajectory(self, episode: int) -> Trajectory:
        """One episode as a trajectory; needs `final_states`."""
        if self.final_states is None:
            raise ShapeError("these episodes lack their final states, so they are not trajectories x[0..T].")
        rows = slice(int(self.starts[episode]), int(self.starts[episode] + self.lengths[episode]))
        states = torch.cat([self.states[rows], self.final_states[episode, None]])
        return Trajectory(actions=self.actions[rows], states=states)

    @staticmethod
    def of(
        trajectories: Trajectory,
        *,
        dt: float | None = None,
        system: str | None = None,
        columns: Mapping[str, Tensor] | None = None,
        episode_columns: Mapping[str, Tensor | tuple[str, ...]] | None = None,
    ) -> "Episodes":
        """Episodes from a batch `[b, t, ·]` of trajectories of equal length; columns are `[b, t]` or `[b, t, k]`."""
        count, steps, _ = trajectories.actions.shape
        return Episodes(
            actions=trajectories.actions.flatten(0, 1),
            states=trajectories.states[:, :-1].flatten(0, 1),
            lengths=torch.full((count,), steps, dtype=torch.int64, device=trajectories.actions.device),
            final_states=trajectories.states[:, -1],
            dt=dt,
            system=system,
            columns={name: values.flatten(0, 1) for name, values in (columns or {}).items()},
            episode_columns=episode_columns or {},
        )


def _is_text(value: object) -> bool:
    """Whether a value is a string that every format can store."""
    return isinstance(value, str) and "\0" not in value and value == value.encode(errors="replace").decode()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Normalised training batch of a model.

    Attributes:
        observation: Observation windows `[b, o, ·]`, oldest step first; the last step is *now*.
        chunk: Encoded composite actions; the first step corresponds to the newest observation.
        mask: True where the chunk's step is inside its episode, False where it repeats the last one.
    """

    observation: Observation
    chunk: Chunks
    mask: Bool[Tensor, "b h"]


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Known steps of a chunk to be sampled, for example those executed while the plan is computed.

    Attributes:
        chunk: Encoded composite actions; only steps of positive weight matter.
        weights: Weight of each step: 1 fixes it exactly, 0 means unknown.
    """

    chunk: Chunks
    weights: Float[Tensor, " h"]
