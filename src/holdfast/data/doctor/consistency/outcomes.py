"""Labels of success that the final states of the episodes contradict.

Each episode has features of its end: the final state, its distances to the goals, which are coordinates that stand
still within episodes, and the final speed. The feature that best separates the labels is searched, over thresholds. If
a threshold separates them except for a few episodes, and each of these lies as deep among the other label in this
feature and in all others, its label is wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ....types import Episodes
from ...choosing import dropping
from ..columns import goals
from ..findings import DataFinding, counted, listed, warning
from ..labels import marked
from ..recording import Recording
from .clusters import agrees, by_chance, far_of

LAST = 5
FEWEST, SMALLEST = 10, 3
"""Smallest number of episodes, and of episodes of each label."""
RIGHT, LIKELY = 0.8, 0.6
"""Smallest fractions of the labels of each kind that the threshold explains: without further evidence, and if no random
assignment of the labels reaches as much with any feature."""
DEEP = 0.1
"""Quantile of the other label beyond which an episode lies deep in it."""
INSIDE = 1.5
FAR, OUTER = 8.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Episodes whose label contradicts their end.

    Attributes:
        column: The column of labels.
        feature: What separates the labels.
        threshold: Its value between them.
        failed: Episodes labelled successful that end as failed ones.
        solved: Episodes labelled failed that end as successful ones.
        values: The feature of these episodes.
        separated: Fraction of the labels that the threshold explains.
    """

    column: str
    feature: str
    threshold: float
    failed: tuple[int, ...]
    solved: tuple[int, ...]
    values: tuple[float, ...]
    separated: float


def contradiction_of(episodes: Episodes, recording: Recording) -> Contradiction | None:
    """Episodes whose label of success contradicts their end; `None` without labels, or if they agree."""
    features: Mapping[str, ndarray] | None = None
    for column, failed, _ in marked(episodes):
        own = failed[recording.episodes]
        if len(own) < FEWEST:
            return None
        features = _ends(episodes, recording) if features is None else features
        if own.any():
            found = _split(column, features, own, recording) or _clustered(column, features, own, recording)
        else:
            found = _outlying(column, features, recording)
        if found is not None:
            return found
    return None


def _ends(episodes: Episodes, recording: Recording) -> dict[str, Float[ndarray, " episodes"]]:
    """Features of the ends of the episodes."""
    rows = recording.starts + recording.lengths - 1
    before = np.maximum(rows - LAST, recording.starts)
    columns, seen = _columns(recording)
    held = goals(columns, recording)
    final = columns[rows]
    found = {label: final[:, n] for n, label in enumerate(seen) if not held[n]}
    distances = dict[str, ndarray]()
    for goal in np.flatnonzero(held):
        for n in np.flatnonzero(~held):
            distances[f"the distance of {seen[n]} from {seen[goal]}"] = np.abs(final[:, n] - final[:, goal])
    found |= distances
    if (paired := _paired(final, held)) is not None:
        found["the distance from the goal"] = paired
    spread = columns.std(axis=0)
    moved = np.abs(final - columns[before]) / np.where(spread > 0, spread, np.inf)
    found["the final motion"] = moved.max(axis=1)
    found["the length"] = recording.lengths.astype(float)
    if episodes.rewards is not None and len(episodes.rewards) == len(recording.owner):
        found["the last reward"] = episodes.rewards.double().numpy(force=True)[rows]
    return found


def _columns(recording: Recording) -> tuple[Float[ndarray, "rows n"], list[str]]:
    """All coordinates of the state and the observation, each once."""
    items = [item for item in recording.quantities if item.name != recording.actions.name]
    values = np.concatenate([item.values for item in items], axis=1).astype(np.float64)
    return values, [label for item in items for label in item.labels]


def _paired(final: Float[ndarray, "episodes n"], held: Bool[ndarray, " n"]) -> Float[ndarray, " episodes"] | None:
    """Root of the summed squared distances from the goals, each paired with the coordinate that ends nearest to it."""
    moving = np.flatnonzero(~held)
    varied = [goal for goal in np.flatnonzero(held) if np.ptp(final[:, goal]) > 0]
    total, used = np.zeros(len(final)), set[int]()
    for goal in varied:
        away = np.median(np.abs(final[:, moving] - final[:, [goal]]), axis=0)
        nearest = int(moving[away.argmin()])
        if away.min() < 0.5 * final[:, goal].std() and nearest not in used:
            total += (final[:, nearest] - final[:, goal]) ** 2
            used.add(nearest)
    return np.sqrt(total) if len(used) > 1 else None


def _split(
    column: str, features: Mapping[str, ndarray], failed: Bool[ndarray, " episodes"], recording: Recording
) -> Contradiction | None:
    if min(int(failed.sum()), int((~failed).sum())) < SMALLEST:
        return None
    scored = [(*_threshold(values, failed), name) for name, values in features.items()]
    # the clearest feature: the most labels, then the widest gap
    right, _, threshold, high, name = max(scored, key=lambda item: (item[0], item[1]))
    looks_failed = (features[name] > threshold) == high
    wrong = looks_failed != failed
    if not wrong.any() or right < LIKELY:
        return None
    # with many wrong labels, only what has to do with a goal is believed, as a place could be by chance
    if right < RIGHT and (name in recording.states.labels or right <= by_chance(features, failed)):
        return None
    return _contradicted(column, features, recording, (name, threshold, right), looks_failed, wrong)


def _clustered(
    column: str, features: Mapping[str, ndarray], failed: Bool[ndarray, " episodes"], recording: Recording
) -> Contradiction | None:
    """Labels that contradict two clusters of the distance from the goal, which do not depend on the labels."""
    name = "the distance from the goal"
    found = far_of(features[name], SMALLEST) if name in features else None
    if found is None or not agrees(found[0], failed):
        return None
    wrong = found[0] != failed
    told = name, found[1], float((~wrong).mean())
    return _contradicted(column, features, recording, told, found[0], wrong) if wrong.any() else None


def _contradicted(
    column: str,
    features: Mapping[str, ndarray],
    recording: Recording,
    told: tuple[str, float, float],
    looks_failed: Bool[ndarray, " episodes"],
    wrong: Bool[ndarray, " episodes"],
) -> Contradiction | None:
    """The wrong labels of episodes that lie deep among those of the other label, by a feature and its threshold."""
    name, threshold, right = told
    deep = wrong & _deep(features[name], looks_failed, wrong)
    bad, good = looks_failed & ~wrong, ~looks_failed & ~wrong
    deep &= np.array([_fits(features, bad, good, e, bool(looks_failed[e])) for e in range(len(wrong))])
    if not deep.any():
        return None
    numbers = np.flatnonzero(deep)
    return Contradiction(
        column=column,
        feature=name,
        threshold=threshold,
        failed=tuple(int(recording.episodes[e]) for e in numbers if looks_failed[e]),
        solved=tuple(int(recording.episodes[e]) for e in numbers if not looks_failed[e]),
        values=tuple(float(features[name][e]) for e in numbers),
        separated=right,
    )


def _threshold(
    values: Float[ndarray, " episodes"], failed: Bool[ndarray, " episodes"]
) -> tuple[float, float, float, bool]:
    """Smaller fraction of right labels of the two kinds, relative gap, threshold, and whether failures lie above it."""
    order = np.argsort(values)
    ranked, marks = values[order], failed[order]
    below = np.cumsum(marks)[:-1]
    rows = np.arange(1, len(marks))
    bad, good = int(marks.sum()), int((~marks).sum())
    above_bad = np.minimum((bad - below) / bad, (rows - below) / good)
    below_bad = np.minimum(below / bad, (good - (rows - below)) / good)
    gaps = np.diff(ranked)
    score = np.where(gaps > 0, np.maximum(above_bad, below_bad), 0.0)
    best = int(max(range(len(score)), key=lambda at: (score[at], gaps[at])))
    gap = float(gaps[best]) / max(float(ranked[-1] - ranked[0]), 1e-300)
    return (
        float(score[best]),
        gap,
        float((ranked[best] + ranked[best + 1]) / 2),
        bool(above_bad[best] >= below_bad[best]),
    )


def _deep(values: ndarray, looks_failed: Bool[ndarray, " episodes"], wrong: Bool[ndarray, " episodes"]) -> ndarray:
    """Which episodes lie among the rightly labelled ones of the side they are on, not at its edge."""
    found = np.zeros(len(values), dtype=bool)
    for side in (looks_failed, ~looks_failed):
        rest = values[side & ~wrong]
        if len(rest) >= SMALLEST:
            low, high = np.quantile(rest, [0.0, 1.0])
            far = np.quantile(rest, [DEEP, 1 - DEEP])
            other = float(np.median(values[~side]))
            edge = far[0] if other < np.median(rest) else far[1]
            beyond = values >= edge if other < np.median(rest) else values <= edge
            width = INSIDE * (high - low)
            found |= side & beyond & (values >= low - width) & (values <= high + width)
    return found


def _fits(features: Mapping[str, ndarray], bad: ndarray, good: ndarray, episode: int, looks_failed: bool) -> bool:
    """Whether no feature sets an episode that looks solved apart from the solved ones.

    An episode may fail for a reason that the main feature does not show, as an open gripper at the goal.
    """
    if looks_failed:
        return True
    for values in features.values():
        rest = values[good]
        low, high = float(rest.min()), float(rest.max())
        if not low - 0.1 * (high - low) <= values[episode] <= high + 0.1 * (high - low):
            return False
    return bool(bad.any())


def _outlying(column: str, features: Mapping[str, ndarray], recording: Recording) -> Contradiction | None:
    """Episodes that end far from the goal, in a set in which all are labelled successful."""
    name = next((key for key in ("the distance from the goal",) if key in features), None)
    if name is None:
        return None
    values = features[name]
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    limit = max(middle + FAR * spread, OUTER * middle)
    usual = values <= limit
    far = values > max(limit, OUTER * float(values[usual].max()))
    if not far.any() or far.mean() > 1 - RIGHT:
        return None
    return Contradiction(
        column=column,
        feature=name,
        threshold=limit,
        failed=tuple(int(recording.episodes[e]) for e in np.flatnonzero(far)),
        solved=(),
        values=tuple(float(values[e]) for e in np.flatnonzero(far)),
        separated=float(usual.mean()),
    )


def check_outcomes(found: Contradiction | None) -> Iterator[DataFinding]:
    """Labels of success that the ends of the episodes contradict."""
    if found is None:
        return
    numbers = [*found.failed, *found.solved]
    parts = [
        f"{counted(len(group), 'episode')} labeled {label} {'ends' if len(group) == 1 else 'end'} as the {other} ones "
        f"do ({listed(group)})"
        for group, label, other in (
            (found.failed, "successful", "failed"),
            (found.solved, "failed", "successful"),
        )
        if group
    ]
    drop = dropping(found.failed) if found.failed else "--episodes"
    yield warning(
        "mislabelled",
        f"Labels of {found.column} contradict the ends of the episodes: {listed(parts)}. {found.feature.capitalize()} "
        f"separates {found.separated:.0%} of the labels at {found.threshold:.3g}; these are on the other side.",
        effect="Failures are imitated, and successes are left out, where episodes are chosen by their label.",
        remedy="Look at these episodes and correct the column; "
        + (f"or train with {drop}." if found.failed else "until then, do not choose episodes by it."),
        values={
            "column": found.column,
            "episodes": sorted(numbers),
            "labelled_success_but_failed": list(found.failed),
            "labelled_failure_but_solved": list(found.solved),
            "feature": found.feature,
            "threshold": found.threshold,
        },
    )
