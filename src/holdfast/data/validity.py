"""The check of demonstrations when they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes
from .arrays import arrays_of, by_episode
from .differing import MOST_NAMED, listed_numbers, reading_alone

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Numbering:
    """How options name the episodes of a set.

    Attributes:
        numbers: Number of each episode among those that were read.
        whole: Whether all episodes of the data were read, so that `--episodes` counts them alike.
    """

    numbers: Sequence[int]
    whole: bool = True

    SEEING: ClassVar = (
        " To see all faults: holdfast inspect DATA, or in Python inspect_episodes(read(DATA, check=False))."
    )

    def leaving_out(self, episodes: Sequence[int]) -> str:
        """A sentence on how to leave out some episodes, given by their places in the set."""
        gone = {self.numbers[place] for place in episodes}
        which = "it" if len(gone) == 1 else "them"
        drop = f" Leave {which} out of the training with --drop-episodes {listed_numbers(sorted(gone), apart=' ')}."
        rest = [number for number in self.numbers if number not in gone]
        return drop + (f" {reading_alone(rest)}." if self.whole and rest else "") + self.SEEING


def validate(episodes: Episodes, *, source: str, numbering: Numbering | None = None, otherwise: str = "") -> None:
    """Refuse episodes that cannot be used for training.

    Args:
        episodes: The set to check.
        source: Origin of the set for the error message: a path, a system.
        numbering: How options name the episodes, for the way out; `None` where no options choose them.
        otherwise: Sentence on another way out, where no options choose the episodes.

    Raises:
        DataError: There is no episode, an episode is empty, an array has too few rows or no coordinates, a number is
            not finite, or an action is outside the range of `meta["action_bounds"]`; the message names the array, the
            episodes, the steps of the first of them, the coordinates and the way out.

    >>> import torch
    >>> states = torch.tensor([[0.0], [0.0], [float("nan")]])
    >>> bad = Episodes(actions=torch.ones(3, 1), states=states, lengths=torch.tensor([2, 1]))
    >>> validate(bad, source="demos")
    Traceback (most recent call last):
    ...
    holdfast.errors.DataError: demos: states holds nan at episode 1, step 0, coordinate 0 (1 such in all). ...
    """
    _check_lengths(episodes.lengths, source, numbering, otherwise)
    quantities = {name: v for name, v in arrays_of(episodes).items() if isinstance(v, Tensor) and "/" not in name}
    for name, values in quantities.items():
        values = values[:, None] if values.ndim == 1 else values
        _check_rows(name, values, episodes, source)
        _check_finite(name, values, episodes, source, numbering, otherwise)
    _check_declared(episodes, source)
    _check_names(episodes, source)


def _check_lengths(lengths: Int[Tensor, " episodes"], source: str, numbering: Numbering | None, otherwise: str) -> None:
    if not len(lengths):
        raise DataError(f"{source}: holds no episodes. Record or select at least one.")
    empty = list(map(int, (lengths < 1).nonzero()))
    if empty:
        way_out = f" Leave out empty ones.{otherwise}" if numbering is None else numbering.leaving_out(empty)
        raise DataError(
            f"{source}: episode {_numbered(empty[0], numbering)} is empty ({len(empty)} such of {len(lengths)}). "
            f"Each needs at least one step.{way_out}"
        )


def _numbered(place: int, numbering: Numbering | None) -> int:
    return place if numbering is None else numbering.numbers[place]


def _check_rows(name: str, values: Float[Tensor, "rows d"], episodes: Episodes, source: str) -> None:
    if not values.shape[1]:
        raise DataError(f"{source}: {name} holds rows of no coordinates. Record at least one.")
    expected = len(episodes) if by_episode(name) else int(episodes.lengths.sum())
    if len(values) != expected:
        raise DataError(f"{source}: expected {expected} rows of {name}, got {len(values)}. Write the data set again.")


def _check_finite(
    name: str,
    values: Float[Tensor, "rows d"],
    episodes: Episodes,
    source: str,
    numbering: Numbering | None,
    otherwise: str,
) -> None:
    # one pass: a sum is finite only if every number is, and where it overflows, each number is looked at
    if values.is_floating_point() and bool(values.sum().isfinite()):
        return
    bad = (~values.isfinite()).nonzero()
    if not len(bad):
        return
    row, coordinate = map(int, bad[0])
    whole = by_episode(name)
    owners = bad[:, 0] if whole else torch.searchsorted(episodes.starts, bad[:, 0].contiguous(), right=True) - 1
    where = "its last step" if whole else f"step {row - int(episodes.starts[owners[0]])}"
    which = sorted({int(owner) for owner in owners})
    way_out = (
        f" Repair the recording, or leave {'that episode' if len(which) == 1 else 'those episodes'} out.{otherwise}"
        if numbering is None
        else f" Repair the recording.{numbering.leaving_out(which)}"
    )
    steps = [] if whole else [int(place) for place in bad[owners == owners[0], 0] - episodes.starts[owners[0]]]
    named = _coordinates(name, bad[:, 1], episodes)
    spread = f": {_spread([_numbered(n, numbering) for n in which], steps, named)}" if len(bad) > 1 else ""
    raise DataError(
        f"{source}: {name} holds {float(values[row, coordinate])} at episode {_numbered(which[0], numbering)}, "
        f"{where}, coordinate {_coordinates(name, bad[:1, 1], episodes)[0]} ({len(bad)} such in all{spread}).{way_out}"
    )


def _spread(owners: Sequence[int], steps: Sequence[int], coordinates: Sequence[str]) -> str:
    """Where numbers that are not finite lie: episodes, steps of the first one, and coordinates.

    >>> _spread([1, 2, 5], [4, 5, 5], ["0 (x)", "3"])
    'episodes 1-2, 5; steps 4-5 of episode 1; coordinates 0 (x), 3'
    """
    several = len(owners) > 1
    parts = [f"episode{'s' if several else ''} {listed_numbers(owners)}"]
    if distinct := sorted({*steps}):
        parts.append(f"step{'s' if len(distinct) > 1 else ''} {listed_numbers(distinct)} of episode {owners[0]}")
    more = f" and {len(coordinates) - MOST_NAMED} more" if len(coordinates) > MOST_NAMED else ""
    shown = ", ".join(coordinates[:MOST_NAMED]) + more
    return "; ".join([*parts, f"coordinate{'s' if len(coordinates) > 1 else ''} {shown}"])


def _coordinates(quantity: str, places: Int[Tensor, " k"], episodes: Episodes) -> list[str]:
    """Numbers of coordinates, each once, with the names that the data give."""
    known = {"actions": "action", "states": "state", "final_states": "state"}
    names = episodes.names.get(known.get(quantity, quantity), ())
    distinct = sorted({int(place) for place in places})
    return [f"{place} ({names[place]})" if place < len(names) else f"{place}" for place in distinct]


def _place(row: int, episodes: Episodes) -> str:
    episode = int((episodes.starts <= row).sum()) - 1
    return f"episode {episode}, step {row - int(episodes.starts[episode])}"


def _check_declared(episodes: Episodes, source: str) -> None:
    """Refuse actions outside `meta["action_bounds"]`: lists `low` and `high`, `None` where there is no bound."""
    declared: Any = episodes.meta.get("action_bounds")
    if declared is None:
        return
    low, high = (_bound(declared, side, episodes, source) for side in ("low", "high"))
    # bounds are stored as decimals, actions often in single precision
    slack = TOLERANCE * torch.maximum(low.abs(), high.abs()).nan_to_num(posinf=0.0).clamp(min=1.0)
    actions = episodes.actions.double()
    outside = ((actions < low - slack) | (actions > high + slack)).nonzero()
    if len(outside):
        row, coordinate = map(int, outside[0])
        raise DataError(
            f"{source}: actions holds {float(actions[row, coordinate]):g} at {_place(row, episodes)}, coordinate "
            f"{coordinate}, outside the declared range [{float(low[coordinate]):g}, {float(high[coordinate]):g}] "
            f"({len(outside)} such in all). Clip the actions and write the data set again, or correct the declaration: "
            "meta['action_bounds'], in Minari's metadata.json action_space."
        )


def _bound(declared: Any, side: str, episodes: Episodes, source: str) -> Float[Tensor, " m"]:
    missing = -torch.inf if side == "low" else torch.inf
    try:
        bound = torch.tensor(
            [missing if value is None else float(value) for value in declared[side]], dtype=torch.float64
        )
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{source}: meta['action_bounds'] holds no numbers {side!r} ({error!r}). Give a list."
        ) from error
    if len(bound) != episodes.actions.shape[1]:
        raise DataError(
            f"{source}: meta['action_bounds'] holds {len(bound)} numbers {side!r} for {episodes.actions.shape[1]} "
            "coordinates of an action. Give one each."
        )
    return bound


def _check_names(episodes: Episodes, source: str) -> None:
    widths = {"state": episodes.states.shape[1], "action": episodes.actions.shape[1]}
    widths["observation.state"] = episodes.observed.state.shape[1]
    if (rest := episodes.observed.environment_state) is not None:
        widths["observation.environment_state"] = rest.shape[1]
    widths |= {name: values[:1].numel() for name, values in episodes.columns.items()}
    for quantity, names in episodes.names.items():
        if quantity not in widths:
            raise DataError(f"{source}: names of {quantity}, which the data lack. Known: {', '.join(sorted(widths))}.")
        if len(names) != widths[quantity]:
            raise DataError(
                f"{source}: {len(names)} names for the {widths[quantity]} coordinates of {quantity}. Give one each."
            )
