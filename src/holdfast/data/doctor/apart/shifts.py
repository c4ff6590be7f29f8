"""Findings on groups of episodes whose actions and observations are recorded with different lags."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..effects import effects_of
from ..findings import DataFinding, counted, listed, warning
from ..recording import Recording

ENOUGH = 0.3
"""Share of the episodes from which on the group without a lag is the one that is kept."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Episodes (of the recording) with one lag.

    Attributes:
        steps: Above 0: the observation is late; below: the action is.
    """

    steps: int
    episodes: tuple[int, ...]


def groups_of(shifts: Mapping[int, Sequence[int]], others: Sequence[int], recording: Recording) -> list[Group]:
    """All groups of episodes with their lags, the one that is kept first.

    Args:
        shifts: Episodes by the rows by which their actions respond later than those of the others.
        others: The other episodes.
        recording: All episodes.
    """
    clear = [e.steps for e in effects_of(recording.choose(np.array(others))) if e.steps is not None]
    base = int(np.median(clear)) if clear else 0
    found = [Group(steps=base, episodes=tuple(others))]
    found += [Group(steps=base + by, episodes=tuple(own)) for by, own in sorted(shifts.items())]
    total = sum(len(group.episodes) for group in found)
    right = [group for group in found if group.steps == 0 and len(group.episodes) >= ENOUGH * total]
    first = (right or found)[0]
    return [first, *(group for group in found if group is not first)]


def check_shifted(groups: Sequence[Group], recording: Recording, dt: float | None) -> Iterator[DataFinding]:
    """Groups of episodes with different lags."""
    kept, *others = groups
    numbers = {group.steps: [int(recording.episodes[e]) for e in group.episodes] for group in groups}
    dropped = sorted(e for group in others for e in numbers[group.steps])
    if _is_delay(kept, others, recording):
        yield _delayed(numbers[others[0].steps], kept, others[0], dt)
        return
    texts = [f"{_lag(group.steps, dt)} in episode {listed(numbers[group.steps], 12)}" for group in groups]
    fitting = [f"--shift-actions {-group.steps} fits only the {len(group.episodes)} episodes with "
               f"{_lag(group.steps, dt)}" for group in groups if group.steps]  # fmt: skip
    yield warning(
        "shifted",
        f"Actions and observations are paired with different lags: in {counted(len(dropped), 'episode')} of "
        f"{len(recording.lengths)} the lag differs from that of the others: {'; '.join(texts)}.",
        effect="Equal observations are paired with actions of different times: no one shift is right for all episodes, "
        "and a policy learns a mixture.",
        remedy=f"Leave one group out: --drop-episodes {' '.join(map(str, dropped))}. "
        + "; ".join(fitting)
        + ": shift these episodes before converting, or train on one group with its shift.",
        values={
            "episodes": dropped,
            "groups": [
                {"steps": g.steps, "shift_actions": -g.steps, "episodes": numbers[g.steps]} for g in groups
            ],
        },
    )  # fmt: skip


def _lag(steps: int, dt: float | None) -> str:
    if not steps:
        return "no lag"
    size = f"{abs(steps)} step{'' if abs(steps) == 1 else 's'}"
    text = size if dt is None else f"{size} ({abs(steps) * dt:.3g} s)"
    return f"the action {text} late" if steps < 0 else f"the observation {text} late"


def _is_delay(kept: Group, others: Sequence[Group], recording: Recording) -> bool:
    """Whether the response is later in all episodes from one on, as where a delay of the robot has changed."""
    if len(others) != 1 or others[0].steps <= kept.steps:
        return False
    own = sorted(others[0].episodes)
    return own[0] > max(kept.episodes) and own[-1] == len(recording.lengths) - 1


def _delayed(numbers: Sequence[int], kept: Group, other: Group, dt: float | None) -> DataFinding:
    more = other.steps - kept.steps
    size = f"{more} step{'' if more == 1 else 's'}" + ("" if dt is None else f" ({more * dt:.3g} s)")
    return warning(
        "response",
        f"From episode {numbers[0]} on, the robot responds {size} later to the same actions: its delay has changed, or "
        "the observations are recorded later.",
        effect="Actions that were right for one delay are learned for the other too.",
        remedy="Train on the episodes that were recorded with the delay of the deployment: leave the others out with "
        f"--drop-episodes 0-{numbers[0] - 1}, or with --drop-episodes {numbers[0]}- those from {numbers[0]} on.",
        values={"first_episode": numbers[0], "later": more, "coordinates": []},
    )
