"""Demonstrations as a training uses them: without chosen episodes and pauses, with other actions, and weighted.

    read ──► prepared ──► split ──► training set

    drop episodes ──► absolute actions ──► shift actions ──► drop pauses ──► segments of one label ──► weights

A `Preparation` is stored in the recipe of a run, so that training, resuming and the diagnosis use the same rows.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import DataError, RecipeError
from ..types import Episodes
from .absolute import absolute
from .arrays import arrays_of, by_episode, episodes_of
from .choosing import chosen_episodes
from .episodes import select
from .labels import segments
from .pictures import Chosen
from .weighting import WEIGHT, weights_of

Place: TypeAlias = Literal["start", "middle", "end"]

NOTES = "preparation_notes"
"""Entry of `meta` with sentences on what a preparation left out."""
KEPT = 10
"""Number of steps that remain of a pause at the end of an episode; one step remains of other pauses."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Changes of the demonstrations between reading and training, in this order.

    Attributes:
        drop_episodes: Episodes to leave out: numbers, ranges ("3-7", both included) and values of an episode column
            ("success=0"). Numbers are those of the data set as it is read.
        shift_actions: Number of steps k by which actions move against observations: row t gets the action of row t + k
            of its episode, and rows without one are left out. 1 takes the next step's value, where actions are
            recorded as the state that was reached; −k undoes observations that are k steps late.
        drop_idle: Places of pauses to cut out: at the start of episodes, in the middle, at the end. One step of a pause
            remains, at the end ten, from which holding still is learned.
        weights: How often the windows of an episode are drawn: the name of an episode column, `quality` (episodes whose
            actions agree with those of others at similar observations count more), or a file with one number an
            episode of the data set as it is read. "" draws all windows equally often.
        absolute_actions: Whether the commands of robosuite's operational-space controller become the goals that it
            makes of them (`absolute`).
        segments: Label of the segments to train on, "COLUMN=LABEL": the rows with this label in a column of labels
            (`labels_of`), each uninterrupted segment as an episode of its own. "" takes whole episodes.
    """

    drop_episodes: tuple[str, ...] = ()
    shift_actions: int = 0
    drop_idle: tuple[Place, ...] = ()
    weights: str = ""
    segments: str = ""
    absolute_actions: bool = False

    def __post_init__(self) -> None:
        column, sign, name = self.segments.partition("=")
        if self.segments and not (column and sign and name):
            raise RecipeError(f"expected segments as COLUMN=LABEL, for example skill=reach, got {self.segments!r:.80}.")


def prepared(episodes: Episodes, preparation: Preparation) -> Episodes:
    """Demonstrations as a training uses them; weights are added as the episode column `weight`.

    What was left out is said in `meta["preparation_notes"]`.

    Raises:
        DataError: A named episode, column or file does not exist, or nothing is left.
        UnknownNameError: No row has the label of the segments.

    >>> numbers = torch.arange(5.0).unsqueeze(-1)
    >>> made = Episodes(actions=numbers, states=10 * numbers, lengths=torch.tensor([3, 2]))
    >>> late = prepared(made, Preparation(shift_actions=1))
    >>> late.states.flatten().tolist(), late.actions.flatten().tolist(), late.lengths.tolist()
    ([0.0, 10.0, 30.0], [1.0, 2.0, 4.0], [2, 1])
    """
    if preparation == Preparation():
        return episodes
    weights = weights_of(episodes, preparation.weights)
    if weights is not None:
        episodes = replace(episodes, episode_columns={**episodes.episode_columns, WEIGHT: weights})
    left = chosen_episodes(episodes, preparation.drop_episodes)
    chosen = select(episodes, left)
    goals = absolute(chosen) if preparation.absolute_actions else chosen
    moved = shifted(goals, preparation.shift_actions)
    steady = without_pauses(moved, preparation.drop_idle)
    made = _of_one_label(steady, preparation.segments)
    notes = [*_lost(episodes, chosen, "drop_episodes"), *_lost(chosen, moved, "shift_actions")]
    notes += [*_lost(moved, steady, "drop_idle"), *_other_labels(steady, made)]
    return replace(made, meta={**made.meta, NOTES: notes}) if notes else made


def _of_one_label(episodes: Episodes, chosen: str) -> Episodes:
    """The segments with a label as episodes, or the episodes themselves."""
    column, _, name = chosen.partition("=")
    return segments(episodes, column, name) if chosen else episodes


def _other_labels(before: Episodes, after: Episodes) -> list[str]:
    """A sentence on the steps with other labels."""
    steps = len(before.actions) - len(after.actions)
    return [f"--segments left out {steps:,} of {len(before.actions):,} steps, with other labels"] if steps else []


def _lost(before: Episodes, after: Episodes, option: str) -> list[str]:
    """A sentence on the episodes and steps that a part of the preparation left out."""
    episodes, steps = len(before) - len(after), len(before.actions) - len(after.actions)
    if not steps and not episodes:
        return []
    dropped = f"{episodes} of {len(before)} episodes with " if episodes else ""
    return [f"--{option.replace('_', '-')} left out {dropped}{steps:,} of {len(before.actions):,} steps"]


def shifted(episodes: Episodes, steps: int) -> Episodes:
    """Row t with the action of row t + `steps` of its episode, without the rows that have none.

    Raises:
        DataError: No episode is long enough.
    """
    if not steps:
        return episodes
    step = torch.arange(len(episodes.actions)) - episodes.starts.repeat_interleave(episodes.lengths)
    partner = step + steps
    kept = (partner >= 0) & (partner < episodes.lengths.repeat_interleave(episodes.lengths))
    if not kept.any():
        raise DataError(
            f"shift_actions is {steps}, but the longest episode has {int(episodes.lengths.max())} steps: nothing is "
            "left. Shift by fewer steps."
        )
    rows = kept.nonzero().flatten()
    cut = _rows_of(episodes, rows)
    actions = episodes.actions[rows + steps]
    if steps < 0 or episodes.final_states is None:
        return replace(cut, actions=actions)
    # the state after the last row that is left is that of the first row left out
    last = torch.cat([rows[1:] != rows[:-1] + 1, torch.ones(1, dtype=torch.bool)])
    return replace(cut, actions=actions, final_states=episodes.states[rows[last] + 1])


def without_pauses(episodes: Episodes, places: tuple[Place, ...]) -> Episodes:
    """The episodes without their pauses in the given places, except for one step of each, and ten at the end.

    A pause is a stretch of at least ten steps in which nothing moves, as the doctor finds it.
    """
    if not places:
        return episodes
    # imported here, because reading data does not need the doctor
    from .doctor.movement import idle_steps, motion, pauses
    from .doctor.recording import recording_of

    recording = recording_of(episodes)
    moved = motion(recording)
    dropped = torch.zeros(len(episodes.actions), dtype=torch.bool)
    for pause in pauses(recording, moved, idle_steps(recording, moved)):
        if pause.place in places:
            first, last = (KEPT, 1) if pause.place == "end" else (0, 0)
            dropped[pause.first + first : pause.last + last] = True
    kept = (~dropped).nonzero().flatten()
    return _rows_of(_retimed(episodes, dropped), kept)


def _retimed(episodes: Episodes, dropped: Bool[Tensor, " rows"]) -> Episodes:
    """The episodes with the time of the dropped rows taken out of the later timestamps."""
    if episodes.timestamps is None:
        return episodes
    times = episodes.timestamps.clone()
    for first, length in zip(episodes.starts, episodes.lengths, strict=True):
        own = slice(int(first), int(first + length))
        lasting = torch.diff(times[own], append=times[own][-1:])
        times[own] -= (lasting * dropped[own]).cumsum(0) - lasting * dropped[own]
    return replace(episodes, timestamps=times)


def _rows_of(episodes: Episodes, rows: Int[Tensor, " kept"]) -> Episodes:
    """Some rows of each episode, in order; episodes without rows are left out."""
    owner = torch.arange(len(episodes)).repeat_interleave(episodes.lengths)
    lengths = torch.bincount(owner[rows], minlength=len(episodes))
    left = lengths.nonzero().flatten()

    def cut(name: str, values: Tensor | tuple[str, ...]) -> Tensor | tuple[str, ...]:
        chosen = left if by_episode(name) else rows
        return values[chosen] if isinstance(values, Tensor) else tuple(values[int(index)] for index in chosen)

    return episodes_of(
        {name: cut(name, values) for name, values in arrays_of(episodes).items()},
        lengths[left],
        cameras={camera: Chosen(pictures, rows) for camera, pictures in episodes.cameras.items()},
        names=episodes.names,
        dt=episodes.dt,
        system=episodes.system,
        meta=episodes.meta,
    )
