"""Episodes: the data set that demonstrations are read as and that rollouts return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..errors import DataError, ShapeError
from .observation import Observation
from .trajectory import Trajectory


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
        if len(self.lengths) and int(self.lengths.min()) < 0:
            raise ShapeError(f"expected episode lengths of at least 0, got {int(self.lengths.min())}.")
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
        if odd := [task for task in self.tasks or () if not isinstance(task, str)]:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ShapeError(f'expected tasks as texts, "" for none, got {type(odd[0]).__name__}.')
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
