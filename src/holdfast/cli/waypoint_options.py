"""Options of `holdfast train` for chunks of way-points (--codec waypoints)."""

from dataclasses import dataclass
from typing import Annotated, Any, cast

import tyro

from ..errors import RecipeError

NUMBERS = tyro.conf.arg(metavar="X ...")
COORDINATES = tyro.conf.arg(metavar="N ...")


@dataclass(frozen=True, kw_only=True)
class WaypointOptions:
    """Coordinates and gains of the cascade that executes way-points; one number for each action coordinate."""

    waypoint_positions: Annotated[tuple[int, ...] | None, COORDINATES] = None
    """State coordinate, counted from 0, of the position that each action coordinate moves. Needed with --codec
    waypoints. Default: none."""
    waypoint_velocities: Annotated[tuple[int, ...] | None, COORDINATES] = None
    """State coordinate of the velocity of each of these positions. Needed with --codec waypoints. Default: none."""
    stiffness: Annotated[tuple[float, ...] | None, NUMBERS] = None
    """Stiffness of the cascade for each action coordinate: units of the action per unit of position. Needed with
    --codec waypoints. Default: none."""
    damping: Annotated[tuple[float, ...] | None, NUMBERS] = None
    """Damping for each action coordinate: units of the action per unit of velocity. Default: twice the square root of
    the stiffness, which is critical damping where the action is the acceleration."""
    feed_forward: Annotated[tuple[float, ...] | None, NUMBERS] = None
    """Constant part of each action coordinate, for example the force that carries the weight. Default: 0."""
    stiffness_range: float | None = None
    """Factor of at least 1 by which the stiffness may be planned above and below --stiffness, as part of the chunk. It
    is learned from the gains of --synthesis, which it therefore needs; the damping changes with its square root.
    Default: 1, which keeps the stiffness."""

    def codec_changes(self, codec: str | None) -> dict[str, Any]:
        """The codec of the options, as fields of a stored policy.

        Raises:
            RecipeError: An option is missing, or is for another codec.
        """
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in self._given().items()}
        if codec != "waypoints":
            if given:
                verb = "is" if len(given) == 1 else "are"
                raise RecipeError(f"{_flags(given)} {verb} for way-points. Add --codec waypoints.")
            return {} if codec is None else {"codec": {"kind": codec.title()}}
        if missing := [name for name in ("positions", "velocities", "stiffness") if name not in given]:
            raise RecipeError(
                f"--codec waypoints needs {_flags(missing)}: one number for each action coordinate, for example "
                "--waypoint-positions 0 1 --waypoint-velocities 2 3 --stiffness 4 4."
            )
        stiffness = cast("list[float]", given["stiffness"])
        critical = [2 * max(value, 0.0) ** 0.5 for value in stiffness]
        return {"codec": {"kind": "Waypoints", "damping": critical, **given}}

    def _given(self) -> dict[str, tuple[float, ...] | float]:
        options = {
            "positions": self.waypoint_positions,
            "velocities": self.waypoint_velocities,
            "stiffness": self.stiffness,
            "damping": self.damping,
            "feed_forward": self.feed_forward,
            "stiffness_range": self.stiffness_range,
        }
        return {name: value for name, value in options.items() if value is not None}


def _flags(names: Any) -> str:
    prefix = {"positions": "waypoint-", "velocities": "waypoint-"}
    return ", ".join(f"--{prefix.get(name, '')}{name.replace('_', '-')}" for name in names)
