"""Options of `holdfast train` for coordinates that are rotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from ..data import coordinates_of
from ..data.absolute import ROTATIONS
from ..errors import RecipeError, UnknownNameError
from ..rotations import FORMS, Form, Rotation
from ..schema import to_plain
from ..types import Episodes

NONE = "none"
PLACES = tyro.conf.arg(metavar="FORM@COORDINATE ...")


@dataclass(frozen=True, kw_only=True)
class RotationOptions:
    """Coordinates of actions and observations that are rotations."""

    action_rotations: Annotated[tuple[str, ...] | None, PLACES] = None
    """Coordinates of an action that are rotations, each as its representation (quaternion, quaternion-wxyz, axis-angle,
    matrix or 6d) and its first coordinate, by number from 0 or by name, for example axis-angle@3. The policy generates
    six numbers of each, the first two columns of the rotation's matrix, which have no jumps, and acts in the
    representation of the data. none leaves the numbers as they are. Default: axis-angle@3 with --absolute-actions, else
    none."""
    observation_rotations: Annotated[tuple[str, ...] | None, PLACES] = None
    """Coordinates of the observation that are rotations, in the same form, for example quaternion@robot0_eef_quat. The
    policy sees six numbers of each, in which q and -q are one rotation. Default: none."""

    def rotation_changes(self, episodes: Episodes, *, absolute: bool) -> dict[str, Any]:
        """The options that were given, as fields of a stored policy.

        Args:
            episodes: Demonstrations, as they were read.
            absolute: Whether the actions become absolute goals.

        Raises:
            RecipeError: Not a representation and a coordinate.
            UnknownNameError: No coordinate has this name.
        """
        found = dict[str, Any]()
        if self.action_rotations is not None:
            names = () if absolute else episodes.names.get("action", ())
            chosen = rotations_named(self.action_rotations, names, what="action")
            found["codec"] = {"kind": "Actions", "rotations": to_plain(chosen)}
        elif absolute:
            found["codec"] = {"kind": "Actions", "rotations": to_plain(ROTATIONS)}
        if self.observation_rotations is not None:
            names = tuple(coordinates_of(episodes).values())
            found["observed_rotations"] = to_plain(
                rotations_named(self.observation_rotations, names, what="observation")
            )
        return found


def rotations_named(given: Sequence[str], names: Sequence[str], *, what: str) -> tuple[Rotation, ...]:
    """Rotations of texts such as `axis-angle@3` and `quaternion@robot0_eef_quat`, in ascending order.

    Args:
        given: Texts; `none` alone gives no rotations.
        names: Names of the coordinates, if they are known.
        what: Name of the quantity, for messages.

    >>> rotations_named(["quaternion@q"], ["x", "q_0", "q_1", "q_2", "q_3"], what="observation")
    (Rotation(first=1, form='quaternion'),)
    """
    if list(given) == [NONE]:
        return ()
    found = [_rotation(text, names, what) for text in given]
    return tuple(sorted(found, key=lambda one: one.first))


def _rotation(text: str, names: Sequence[str], what: str) -> Rotation:
    form, sign, place = text.partition("@")
    known: dict[str, Form] = {one: one for one in FORMS}
    if not sign or not place or form not in known:
        raise RecipeError(
            f"expected a rotation of the {what} as FORM@COORDINATE with a form of {', '.join(FORMS)}, for example "
            f"axis-angle@3, got {text!r:.80}."
        )
    if place.isdecimal() and len(place) < 7:
        return Rotation(int(place), known[form])
    for name in (place, f"{place}_0"):
        if name in names:
            return Rotation(list(names).index(name), known[form])
    raise UnknownNameError(f"coordinate of the {what}", place, names)
