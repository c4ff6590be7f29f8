"""The features of a LeRobot data set that are the state and the action: one each, or several side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import DataError
from ...selection import Selection
from ..keys import both_named, coordinate_names, listing, resolve
from .info import Feature, Info

ACTION, SEEN = "action", "observation.state"
EVERYTHING = Selection()
# split columns of converters, for example of AgiBot's and DROID's data
PREFIXES = {ACTION: ("action.", "actions."), SEEN: ("observation.state.", "observation.states.")}
# NumPy's names of dtypes; what else NumPy takes for one can be of any size, or hold objects
NUMBERS = frozenset({"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}) | {
    f"float{bits}" for bits in (16, 32, 64)
}
# the numbers of a row that are still a vector and no picture
WIDEST = 1 << 12


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The features that are put side by side.

    Attributes:
        chosen: Whether a selection names the state, so that the policy sees nothing else.
        notes: Sentences on what the format's own names left open.
    """

    action: tuple[str, ...]
    state: tuple[str, ...]
    chosen: bool
    notes: tuple[str, ...] = ()

    def names(self, info: Info, keys: Sequence[str]) -> tuple[str, ...] | None:
        """Names of the coordinates of some features side by side; `None` if one feature is alone and has none."""
        features = {key: info.features[key] for key in keys}
        given = {key: feature.flat_names for key, feature in features.items()}
        if len(keys) == 1:
            return given[keys[0]]
        return coordinate_names({key: feature.width for key, feature in features.items()}, given)


def is_number(feature: Feature) -> bool:
    """Whether a feature can be a part of a state, an action or a column."""
    return feature.is_vector and feature.dtype in NUMBERS and 0 < feature.width <= WIDEST


def roles_of(info: Info, selection: Selection) -> Roles:
    """The features of a selection; where it names none, those that are called action and observation.state.

    Raises:
        DataError: Nothing is called so, and nothing was chosen.
        UnknownNameError: A chosen feature does not exist.
    """
    usable = [name for name, feature in info.features.items() if is_number(feature)]
    notes = list[str]()
    found = dict[str, tuple[str, ...]]()
    for quantity, wanted in {ACTION: selection.action, SEEN: selection.state}.items():
        if wanted is not None:
            own = [name for name in usable if name.startswith(PREFIXES[quantity])]
            what = "action" if quantity == ACTION else "state"
            # a short key such as gripper means the part of this quantity with that ending, if there is one
            ends = {part.rsplit(".", 1)[-1]: part for part in own}
            found[quantity] = tuple(resolve([ends.get(key, key) for key in wanted], usable, what))
        elif quantity in info.features:
            found[quantity] = (quantity,)
        elif parts := tuple(name for name in usable if name.startswith(PREFIXES[quantity])):
            found[quantity] = parts
            option = "--action" if quantity == ACTION else "--state"
            notes.append(f"{quantity} is put together from {', '.join(parts)}; choose others with {option}.")
    if len(found) < len(PREFIXES):
        raise DataError(
            f"{info.folder}: expected the features {ACTION} and {SEEN}; found {listing(info.features)}. Name the "
            "features that hold them: --state KEY [KEY ...] --action KEY [KEY ...]. Holdfast needs low-dimensional "
            "states: record the robot's readings as observation.state."
        )
    notes += both_named(found[SEEN], found[ACTION])
    keys = dict.fromkeys((*found[ACTION], *found[SEEN]))
    notes += [said for key in keys for said in info.features[key].odd_names(key)]
    return Roles(action=found[ACTION], state=found[SEEN], chosen=selection.state is not None, notes=tuple(notes))


def beside(numbers: Mapping[str, Tensor], keys: Sequence[str]) -> Tensor:
    """Values of some features side by side, in a dtype that holds all of them."""
    return numbers[keys[0]] if len(keys) == 1 else torch.cat([numbers[key] for key in keys], dim=1)
