"""The check that demonstrations pass once, where they enter; after it, the other rooms trust them."""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes

__all__ = ["validate"]


def validate(episodes: Episodes, *, source: str) -> None:
    """Refuse episodes that nothing can be learned from.

    Args:
        episodes: The set to check.
        source: Where it came from, as the error should say it: a path, a system.

    Raises:
        DataError: There is no episode, an episode is empty, an array has too few rows, or a number is not finite; the
            message names the array, the episode, the step and the coordinate.

    >>> import torch
    >>> states = torch.tensor([[0.0], [0.0], [float("nan")]])
    >>> bad = Episodes(actions=torch.ones(3, 1), states=states, lengths=torch.tensor([2, 1]))
    >>> validate(bad, source="demos")
    Traceback (most recent call last):
    ...
    holdfast.errors.DataError: demos: states holds nan at episode 1, step 0, coordinate 0 (1 such in all). ...
    """
    _check_lengths(episodes.lengths, source)
    total = int(episodes.lengths.sum())
    for name, values in _row_arrays(episodes).items():
        _check_rows(name, values, total, source)
        _check_finite(name, values, episodes, source)
    _check_names(episodes, source)
    if episodes.final_states is not None:
        _check_rows("final_states", episodes.final_states, len(episodes), source)
        _check_finite_final(episodes.final_states, source)


def _row_arrays(episodes: Episodes) -> Mapping[str, Tensor]:
    """Every array that holds one row a step, by the name that an error should use."""
    arrays = {"actions": episodes.actions, "states": episodes.states}
    if (seen := episodes.observations) is not None:
        arrays["observation.state"] = seen.state
        if seen.environment_state is not None:
            arrays["observation.environment_state"] = seen.environment_state
    return arrays | {
        name: values[:, None]
        for name, values in {"rewards": episodes.rewards, "timestamps": episodes.timestamps}.items()
        if values is not None
    }


def _check_lengths(lengths: Int[Tensor, " episodes"], source: str) -> None:
    if not len(lengths):
        raise DataError(f"{source}: holds no episodes. Record or select at least one.")
    empty = (lengths < 1).nonzero()
    if len(empty):
        raise DataError(
            f"{source}: episode {int(empty[0])} is empty ({len(empty)} such of {len(lengths)}). "
            "Each needs at least one step: drop the empty ones when recording."
        )


def _check_rows(name: str, values: Tensor, expected: int, source: str) -> None:
    if len(values) != expected:
        raise DataError(f"{source}: expected {expected} rows of {name}, got {len(values)}. Write the set again.")


def _check_names(episodes: Episodes, source: str) -> None:
    widths = {"state": episodes.states.shape[1], "action": episodes.actions.shape[1]}
    widths["observation.state"] = episodes.observed.state.shape[1]
    if (rest := episodes.observed.environment_state) is not None:
        widths["observation.environment_state"] = rest.shape[1]
    for quantity, names in episodes.names.items():
        if quantity not in widths:
            raise DataError(f"{source}: names of {quantity}, which the set lacks. Known: {', '.join(sorted(widths))}.")
        if len(names) != widths[quantity]:
            raise DataError(
                f"{source}: {len(names)} names for the {widths[quantity]} coordinates of {quantity}. Give one each."
            )


def _first_not_finite(values: Float[Tensor, "rows d"]) -> tuple[int, int, float, int] | None:
    """Row, coordinate and value of the first number that is NaN or infinite, and how many there are."""
    bad = (~values.isfinite()).nonzero()
    if not len(bad):
        return None
    row, coordinate = int(bad[0, 0]), int(bad[0, 1])
    return row, coordinate, float(values[row, coordinate]), len(bad)


def _check_finite(name: str, values: Float[Tensor, "rows d"], episodes: Episodes, source: str) -> None:
    if (found := _first_not_finite(values)) is None:
        return
    row, coordinate, value, count = found
    episode = int((episodes.starts <= row).sum()) - 1
    step = row - int(episodes.starts[episode])
    raise DataError(
        f"{source}: {name} holds {value} at episode {episode}, step {step}, coordinate {coordinate} ({count} such "
        "in all). Repair the recording, or write the set again without that episode."
    )


def _check_finite_final(final_states: Float[Tensor, "episodes n"], source: str) -> None:
    if (found := _first_not_finite(final_states)) is None:
        return
    episode, coordinate, value, count = found
    raise DataError(
        f"{source}: final_states holds {value} at episode {episode}, its last step, coordinate {coordinate} ({count} "
        "such in all). Repair the recording, or write the set again without that episode."
    )
