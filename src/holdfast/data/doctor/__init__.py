"""The doctor: content and defects of a data set, before training on it.

    episodes ──► recording ──► checks ──► findings (good, note, warning, error), and the numbers for pictures

A check is a function of a recording that returns findings. Data sets that training would refuse are accepted: numbers
that are not finite are reported, and the other checks continue without them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from ...types import Episodes
from .apart import check_shuffled, check_units, shuffled_of, units_of, unlike_of
from .cameras import check_cameras
from .clock import check_clock
from .clocks import check_clocks, clocks_of
from .columns import without_labels
from .consistency import check_consistency, check_frozen, check_outcomes, check_views, contradiction_of, frozen_of
from .coordinates import check_coordinates, check_finite, not_finite, summarise
from .coverage import check_coverage, coverage_of
from .effects import check_lag, effects_of
from .findings import Coverage, DataFinding, Inspection, Lag, Severity, Summary, note, warning
from .frames import check_frames
from .future import check_future, future_of
from .grippers import check_switches, switches_of
from .held import Held, check_held, held_of
from .history import check_history, history_of
from .jumps import jumps_of
from .labels import check_failures
from .leaks import check_leaks, leaks_of
from .limits import check_limits
from .modes import check_modes
from .movement import check_endings, check_idle, idle_steps, motion
from .neighbours import neighbours_of
from .offsets import check_offset, check_readings, readings_of
from .padding import blanks_of, check_blanks, check_padding, paddings_of, unpadded
from .rates import check_rates
from .recording import Recording, recording_of
from .repeats import check_repeats
from .semantics import Meaning, meanings, with_effects
from .shape import check_acceptance, check_description, check_lengths, facts_of
from .unseen import check_unseen
from .verdicts import check_semantics

__all__ = ["STAGES", "Coverage", "DataFinding", "Inspection", "Lag", "Severity", "Summary", "inspect_episodes"]

ORDER: tuple[Severity, ...] = ("error", "warning", "note", "good")
SHOWN = 40
"""Number of episodes whose pauses are drawn."""
LARGE, HUGE = 20_000, 1e100
MOST, HALF = 0.4, 0.5
"""Largest share of episodes with jumps that are left out, since more of them may be the motion of the task, and largest
share with another rate, since no rate is usual otherwise."""


def inspect_episodes(
    episodes: Episodes,
    *,
    horizon: int = 16,
    damage: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Inspection:
    """Check a data set, valid or not, for what matters in training.

    Args:
        episodes: The data set; NaN, infinities and empty episodes are reported, not refused.
        horizon: Steps of an action chunk, for the checks that compare chunks.
        damage: Sentences on what differs from its checksums, from the warnings of `read(check=False)`.
        progress: Called with the number of completed groups of checks, at most `STAGES`.

    >>> import torch
    >>> times = torch.linspace(0, 6, 50, dtype=torch.float64)[:, None]
    >>> states = torch.cat([times.sin(), torch.full_like(times, 3.0)], dim=1)
    >>> still = Episodes(actions=times.cos(), states=states, lengths=torch.tensor([50]), dt=0.1, system="swing")
    >>> [finding.what for finding in inspect_episodes(still).findings if finding.severity == "warning"]
    ['1 of 3 coordinates never change: state[1] (3).']
    """
    facts, whole = facts_of(episodes), recording_of(episodes)
    first = [*check_acceptance(episodes, damage), *check_lengths(episodes, horizon), *check_description(episodes)]
    blanks = blanks_of(whole)
    filled = unpadded(whole, blanks)
    masks = not_finite(filled)
    first += [
        *check_unseen(episodes),
        *check_cameras(episodes),
        *check_frames(episodes),
        *check_views(episodes),
        *check_blanks(blanks, whole),
        *check_finite(filled, masks),
        *check_clock(episodes, whole),
    ]
    recording = healthy(filled, masks)
    progress(1)
    if not len(recording.lengths) or not recording.actions.labels or not recording.states.labels:
        return Inspection(facts=facts, findings=_ordered(first), lengths=[int(length) for length in episodes.lengths])
    if huge := [
        item.name for item in recording.quantities if item.values.size and float(np.abs(item.values).max()) > HUGE
    ]:
        what = f"Numbers beyond ±{HUGE:g}, whose squares overflow: {', '.join(huge)}. The other checks are left out."
        first.append(warning("range", what, remedy="Correct the units or the damaged steps, and inspect again."))
        return Inspection(facts=facts, findings=_ordered(first), lengths=[int(length) for length in episodes.lengths])
    if facts["steps"] > LARGE:
        facts["sampled"] = f"meaning of actions, leaks, modes and coverage: about {LARGE} random steps"
    return _examined(recording, first, facts, episodes, horizon, progress)


STAGES = 5
"""Number of groups of checks in `inspect_episodes`."""


def _examined(
    recording: Recording,
    first: list[DataFinding],
    facts: Mapping[str, Any],
    episodes: Episodes,
    horizon: int,
    progress: Callable[[int], None],
) -> Inspection:
    whole, found = _unpadded(recording, first)
    recording = _uniform(whole, found)
    summaries = summarise(recording)
    found += [*check_coordinates(recording, summaries), *check_limits(recording, summaries)]
    found += [*check_switches(switches_of(recording)), *check_failures(episodes)]
    progress(2)
    jumped = jumps_of(recording)
    if jumped.episodes.mean() <= MOST:
        recording = recording.leave_out(jumped.episodes)
    held, recording = _full_rate(recording, found)
    frozen = frozen_of(recording)
    found += [*check_frozen(frozen, len(episodes)), *check_outcomes(contradiction_of(episodes, recording))]
    # what wraps or changes sign moves by large steps that are no motion
    slow = () if held is None or held.all_columns else held.labels
    steady = _sound(recording, [*jumped.coordinates, *(one.label for one in frozen), *slow])
    moved = motion(steady)
    idle = idle_steps(steady, moved)
    found += [
        check_idle(recording, moved, idle),
        *check_endings(steady, moved),
        *jumped.findings,
        *check_repeats(whole, recording, idle, held=held is not None),
    ]
    progress(3)
    leaks = leaks_of(recording)
    clocks = clocks_of(recording)
    copies = {*(leak.observation for leak in leaks or ()), *(clock.label for clock in clocks), *slow}
    ahead = future_of(recording, copies)
    found += [*check_leaks(leaks), *check_clocks(clocks, recording), *check_future(ahead, recording)]
    leaked = [*(leak.observation for leak in leaks or ()), *(one.label for one in (*clocks, *ahead))]
    sound, meant = steady, list[Meaning]()
    if held is None or not held.all_columns:
        paired = any(leak.back == 1 and not leak.noisy for leak in leaks or ())
        sound, meant = _meant(steady, episodes, leaked, found, whole=not slow, paired=paired)
    progress(4)
    near = neighbours_of(sound, horizon)
    coverage = None if near is None else coverage_of(near)
    if near is not None and coverage is not None:
        found += [*check_modes(near), *check_coverage(near, coverage)]
    progress(5)
    return Inspection(
        facts=facts,
        findings=_ordered(found),
        strips=summaries,
        lengths=[int(length) for length in episodes.lengths],
        idle=_timelines(recording, idle),
        lags=[meaning.lags for meaning in meant if meaning.lags is not None],
        coverage=coverage,
    )


def _unpadded(recording: Recording, first: list[DataFinding]) -> tuple[Recording, list[DataFinding]]:
    """The recording without padding, if enough of it is padding to be reported, and the findings so far."""
    paddings = paddings_of(recording)
    found = list(check_padding(paddings, recording))
    return unpadded(recording, paddings) if found else recording, [*first, *found]


def _uniform(recording: Recording, found: list[DataFinding]) -> Recording:
    """The episodes in the usual units whose rows are in order; adds the findings on the others."""
    units = units_of(recording)
    found += check_units(units, recording)
    for one in units:
        recording = recording.leave_out(np.isin(recording.episodes, one.episodes))
    shuffled = shuffled_of(recording)
    found += check_shuffled(shuffled, recording)
    return recording.leave_out(shuffled)


def _full_rate(recording: Recording, found: list[DataFinding]) -> tuple[Held | None, Recording]:
    """Coordinates held in most episodes, and the recording without a minority of held episodes; adds the findings."""
    held = held_of(recording)
    found += check_held(held, recording)
    if held is None or not held.some:
        return held, recording
    return None, recording.leave_out(held.episodes)


def _meant(
    steady: Recording, episodes: Episodes, leaked: list[str], found: list[DataFinding], *, whole: bool, paired: bool
) -> tuple[Recording, list[Meaning]]:
    """The recording without what was condemned, and the meaning of its actions; adds the findings.

    Where the recording is not `whole`, because the policy observes coordinates that it lacks, `history` is not judged.
    No action is late where the rows are `paired` by a previous action among the observations.
    """
    recording = _sound(steady, leaked)
    readings = readings_of(recording, leaked)
    found += check_readings(readings)
    commands = _sound(recording, [reading.action for reading in readings if reading.steps <= 0])
    if not commands.actions.labels or not commands.states.labels:
        found.append(
            note("semantics", "The actions are readings or copies, so that their meaning cannot be determined.")
        )
        return recording, []
    rates = list(check_rates(episodes, commands))
    for finding in rates:
        other = np.isin(commands.episodes, finding.values["episodes"])
        if other.mean() <= HALF:
            commands = commands.leave_out(other)
    findings, unlike = unlike_of(commands, episodes.dt)
    found += [*rates, *findings]
    commands = commands.leave_out(unlike)
    recording = recording.leave_out(~np.isin(recording.episodes, commands.episodes))
    effects = effects_of(commands)
    meant = with_effects(meanings(commands, effects), effects)
    late = list(check_lag(effects, episodes.dt, paired=paired))
    found += [*check_semantics(meant, episodes.dt), *late, *check_offset(commands, meant)]
    # rows that hold observation and action of different times tell nothing of what one explains of the other
    found += [] if late or not whole else check_history(history_of(commands))
    found += check_consistency(episodes, commands, meant, late=bool(late))
    return recording, meant


def _sound(recording: Recording, condemned: Collection[str]) -> Recording:
    """The recording without coordinates that a check condemned; all of it if no state or observation would be left."""
    left = without_labels(recording, condemned)
    return left if left.states.labels and left.observed_labels else recording


def healthy(recording: Recording, masks: Mapping[str, Bool[ndarray, "rows d"]]) -> Recording:
    """The recording without coordinates that are broken in most episodes, then without broken episodes."""
    if not masks:
        return recording
    broken = {name: np.logical_or.reduceat(mask, recording.starts, axis=0) for name, mask in masks.items()}
    columns = {name: mask.mean(axis=0) > 0.5 for name, mask in broken.items()}
    left = np.zeros(len(recording.lengths), dtype=bool)
    for name, mask in broken.items():
        left |= mask[:, ~columns[name]].any(axis=1)
    return recording.without(columns).choose(np.flatnonzero(~left))


def _ordered(findings: list[DataFinding]) -> list[DataFinding]:
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def _timelines(recording: Recording, idle: Bool[ndarray, " rows"]) -> dict[int, Bool[ndarray, " steps"]]:
    """Idle steps of the episodes that pause most, by episode."""
    own = recording.by_episode(idle)
    worst = sorted(range(len(own)), key=lambda number: -int(own[number].sum()))[:SHOWN]
    return {int(recording.episodes[number]): own[number] for number in sorted(worst)}
