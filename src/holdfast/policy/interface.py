"""Interface of a trained policy: the names, order, units and ranges of what it was trained on.

    interface = holdfast.load("runs/arm").interface
    interface.observation.names, interface.action.low, interface.dt

A run stores it as `interface.json`. It is compared with what the policy is given (`policy.mismatch`), because a network
accepts any numbers of the right count: in another order, in other units or in another frame they are no error, only
wrong.
"""

from dataclasses import dataclass

from ..errors import RunError
from .base import PolicySpec
from .camera_interface import CameraInterface

Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Coordinates of one quantity, in the order in which the policy was trained on them.

    Attributes:
        low: Smallest value of each coordinate in the training episodes, in the data's units.
        high: Largest value.
        names: Names, if the data or the system name all of them.
        units: Units, "" where unknown; `None` if none is known.
        central_low: 1 % quantile of each coordinate.
        central_high: 99 % quantile.
        first_low: Smallest value in the first step of an episode.
        first_high: Largest value in the first step of an episode.

    Raises:
        RunError: Numbers of coordinates differ, or a range is reversed.
    """

    low: Numbers
    high: Numbers
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    central_low: Numbers | None = None
    central_high: Numbers | None = None
    first_low: Numbers | None = None
    first_high: Numbers | None = None

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if values is not None and len(values) != len(self.low):
                raise RunError(f"expected {name} of {len(self.low)} coordinates, got {len(values)}")
        for low, high in ((self.low, self.high), (self.central_low, self.central_high), self.first):
            if any(a > b for a, b in zip(low or (), high or (), strict=True)):
                raise RunError("expected ranges with low <= high")

    def __len__(self) -> int:
        return len(self.low)

    @property
    def first(self) -> tuple[Numbers | None, Numbers | None]:
        """Range of the first steps."""
        return self.first_low, self.first_high

    def called(self, index: int, *, quantity: str) -> str:
        """A coordinate in a message: its name, or its quantity and number."""
        return f"{quantity} {index}" if self.names is None else f"{self.names[index]:.80}"


@dataclass(frozen=True, kw_only=True)
class PolicyInterface:
    """What a policy was trained on, apart from the values themselves.

    Attributes:
        observation: Coordinates of the observation vector: those of `observation.state`, then those of
            `observation.environment_state`.
        state: Coordinates of the feedback state.
        action: Coordinates of the action.
        n_robot: Number of coordinates of `observation.state`; the rest are those of `observation.environment_state`.
        dt: Seconds per control step of the data [s], if known.
        bounds_low: Lower bound of each action coordinate where the data were recorded, if known.
        bounds_high: Upper bound.
        episodes: Number of training episodes; `None` for a run that was written before interfaces were stored.
        cameras: Pictures of the cameras that the policy sees.
        prefix_delays: Numbers of first steps of a running plan that the policy has learned to continue; empty for
            policies that were not trained with clean first steps.
        preparation: Sentences on how the training data were read, and on what was left out of them.
    """

    observation: Coordinates
    state: Coordinates
    action: Coordinates
    n_robot: int
    dt: float | None = None
    bounds_low: tuple[float | None, ...] | None = None
    bounds_high: tuple[float | None, ...] | None = None
    episodes: int | None = None
    cameras: tuple[CameraInterface, ...] = ()
    prefix_delays: tuple[int, ...] = ()
    preparation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(delay < 0 for delay in self.prefix_delays):
            raise RunError(f"expected prefix_delays of 0 or more steps, got {min(self.prefix_delays)}")
        if not 0 < self.n_robot <= len(self.observation):
            raise RunError(f"expected 1 to {len(self.observation)} coordinates of the robot, got {self.n_robot}")
        if self.dt is not None and not self.dt > 0:
            raise RunError(f"expected dt above 0, got {self.dt}")
        for bounds in (self.bounds_low, self.bounds_high):
            if bounds is not None and len(bounds) != len(self.action):
                raise RunError(f"expected bounds of {len(self.action)} action coordinates, got {len(bounds)}")


def check_interface(interface: PolicyInterface, spec: PolicySpec) -> None:
    """Refuse an interface of another policy.

    Raises:
        RunError: Its numbers of coordinates are not those of the policy.
    """
    for quantity, found, expected in (
        ("observation", len(interface.observation), spec.n_observed),
        ("state", len(interface.state), spec.n_states),
        ("action", len(interface.action), spec.n_actions),
    ):
        if found != expected:
            raise RunError(f"expected {expected} coordinates of the {quantity}, as in the recipe, got {found}")
    delays = interface.prefix_delays
    if any(delay >= spec.horizon for delay in delays) or len({*delays}) < len(delays):
        raise RunError(
            f"expected different prefix_delays below the horizon of {spec.horizon}, got {list(delays)!s:.80}"
        )
    shapes = {view.camera: view.shape for view in (spec.vision.views if spec.vision else ())}
    if {one.name: one.shape for one in interface.cameras} != shapes:
        raise RunError(f"expected the cameras {', '.join(shapes) or 'none'} in the sizes of the recipe")
