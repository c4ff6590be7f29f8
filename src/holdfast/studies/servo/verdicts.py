"""Claims on servos and what was seen of them."""

from collections.abc import Sequence
from typing import Any

from ..engine.result import Verdict, answer
from ..engine.statistics import sides_of
from ..engine.tables import Row, brackets, ratio, with_signs
from .named import TASK_NAMES
from .plan import OTHERS, PREDICTORS
from .tasks import TaskName

BRONARS = "Bronars et al. 2026, arXiv 2604.02523"
SEO = "Seo 2026, arXiv 2604.14484"


def verdicts_of(comparisons: Sequence[Row], rankings: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims of both papers; those without measurements are omitted.

    A claim is judged with chunks, between whose plans the servo acts alone; the numbers with a plan at every step are
    evidence beside it.
    """
    found = [
        _better(
            f"Compliant, overdamped servos make cloning best: better than the mean of the others ({BRONARS}).",
            OTHERS,
            comparisons,
        ),
        _better(
            f"Compliant, overdamped servos are better than stiff, underdamped ones ({SEO} ranks them first and last).",
            "stiff, underdamped",
            comparisons,
        ),
        _higher_loss(comparisons),
        _ranked("variance", f"Amplification times validation loss ranks servos by failure ({SEO}).", rankings),
        _ranked("loss", "The validation loss, in the units of the targets, ranks servos by failure.", rankings),
        _beyond_loss(rankings),
        _in_chunks(comparisons),
    ]
    return [verdict for verdict in found if verdict is not None]


def _main(rows: Sequence[Row]) -> list[Row]:
    """Rows of policies that execute chunks."""
    return [row for row in rows if row["executed"] > 1]


def _place(row: Row) -> str:
    count = row["executed"]
    return f"{TASK_NAMES[row['task']]}, {count} step{'s' * (count != 1)} per plan"


def _better(claim: str, against: str, comparisons: Sequence[Row]) -> Verdict | None:
    rows = [row for row in comparisons if row["against"] == against]
    if not (judged := _main(rows)):
        return None
    sides = sides_of(judged, "difference")
    seen = (
        "With chunks, the score of the compliant, overdamped servo is significantly higher on "
        f"{sides.count('above')} of {_tasks(judged)}, and significantly lower on {sides.count('below')}."
    )
    told = tuple(f"{_place(row)}: score {with_signs(row)}" for row in rows)
    return Verdict(claim, seen, answer(sides.count("above"), sides.count("below"), of=len(judged)), told)


def _higher_loss(comparisons: Sequence[Row]) -> Verdict | None:
    rows = _main([row for row in comparisons if row["against"] == OTHERS])
    if not rows:
        return None
    names = ("relative_loss_ratio", "loss_ratio")
    sides = {name: sides_of(rows, name, 1.0) for name in names}
    seen = (
        "The validation loss of the compliant, overdamped servo is significantly higher than the geometric mean of the "
        f"others on {sides['loss_ratio'].count('above')} of {_tasks(rows)} in the units of the targets, and on "
        f"{sides['relative_loss_ratio'].count('above')} relative to their range."
    )
    told = tuple(f"{TASK_NAMES[row['task']]}: loss {factor_in(row, 'loss_ratio')}, relative loss "
                 f"{factor_in(row, 'relative_loss_ratio')}" for row in rows)  # fmt: skip
    every = [side for found in sides.values() for side in found]
    return Verdict(
        f"The validation loss of compliant, overdamped servos is higher ({BRONARS}).",
        seen,
        answer(every.count("above"), every.count("below"), of=len(every)),
        told,
    )


def _ranked(predictor: str, claim: str, rankings: Sequence[Row]) -> Verdict | None:
    rows = [row for row in rankings if row["predictor"] == predictor]
    if not (judged := _main(rows)):
        return None
    sides = sides_of(judged, "correlation")
    seen = (
        f"With chunks, its rank correlation with failure is significantly positive on {sides.count('above')} of "
        f"{_tasks(judged)}, and significantly negative on {sides.count('below')}."
    )
    told = tuple(f"{_place(row)}: ρ = {_signed(row, 'correlation')}" for row in rows)
    return Verdict(claim, seen, answer(sides.count("above"), sides.count("below"), of=len(judged)), told)


def _beyond_loss(rankings: Sequence[Row]) -> Verdict | None:
    rows = [row for row in rankings if row["predictor"] == "variance"]
    if not (judged := _main(rows)):
        return None
    sides = sides_of(judged, "gain")
    best = {
        row["task"]: max(_main([one for one in rankings if one["task"] == row["task"]]), key=_correlation)
        for row in judged
    }
    seen = (
        f"With chunks, the correlation of amplification × loss is significantly above that of the validation loss on "
        f"{sides.count('above')} of {_tasks(judged)}, and significantly below on {sides.count('below')}."
    )
    told = [f"{_place(row)}: {_signed(row, 'gain')}" for row in rows]
    told += [
        f"{TASK_NAMES[task]}: the largest correlation with chunks is that of {PREDICTORS[row['predictor']]}, "
        f"{_signed(row, 'correlation')}"
        for task, row in best.items()
    ]
    return Verdict(
        f"The validation loss alone ranks servos worse than amplification × loss does ({SEO}).",
        seen,
        answer(sides.count("above"), sides.count("below"), of=len(judged)),
        tuple(told),
    )


def _in_chunks(comparisons: Sequence[Row]) -> Verdict | None:
    """Whether the servo matters less where every step is planned anew, described without a test."""
    rows = [row for row in comparisons if row["against"] == "stiff, underdamped"]
    pairs = dict[TaskName, dict[bool, Row]]()
    for row in rows:
        pairs.setdefault(row["task"], {})[row["executed"] > 1] = row
    full: dict[TaskName, dict[bool, Row]] = {task: pair for task, pair in pairs.items() if len(pair) == 2}
    if not full:
        return None
    told = tuple(
        f"{TASK_NAMES[task]}: {with_signs(pair[True])} with chunks, {with_signs(pair[False])} with a plan at every step"
        for task, pair in full.items()
    )
    smaller = sum(abs(pair[False]["difference"]) < abs(pair[True]["difference"]) for pair in full.values())
    seen = (
        "The difference between the compliant, overdamped and the stiff, underdamped servo is smaller with a plan at "
        f"every step on {smaller} of {len(full)} task{'s' * (len(full) != 1)}. The two are not compared by a test."
    )
    return Verdict("The servo matters less where every step is planned anew.", seen, "open", told)


def _correlation(row: Row) -> float:
    value = row["correlation"]
    return value if value == value else -2.0


def _tasks(rows: Sequence[Any]) -> str:
    return f"{len(rows)} task{'s' * (len(rows) != 1)}"


def _signed(row: Row, name: str) -> str:
    return f"{row[name]:+.2f} {brackets(row[f'{name}_low'], row[f'{name}_high'], '+.2f')}"


def factor_in(row: Row, name: str) -> str:
    """A ratio of a row with its interval."""
    return f"× {ratio(row[name])} {brackets(row[f'{name}_low'], row[f'{name}_high'], ratio)}"
