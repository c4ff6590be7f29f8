"""`rows` of `result.json`: the same keys in every study, one row per metric.

    {"kind": "measurement", "task", "arm", <settings>, "seeds", "episodes", "metric", "value", "low", "high"}
    {"kind": "comparison", "of", "against", <settings>, "metric", "difference", "low", "high"}

Settings have the names of the study's own fields. A metric whose name ends in "ratio" is a quotient: its `difference`
is the ratio itself, and 1 means equality. `low` and `high` are `None` where there is no interval.

Studies compute wide rows, one per cell with several metrics (`score`, `score_low`, `score_high`, …), which are easier
to read for figures and sentences; the functions below convert them once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

_INTERNAL = ("_side",)


def measurement_rows(
    wide: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    *,
    task: str = "",
    arm: str = "arm",
    omit: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Measurements of wide rows.

    Args:
        wide: One row per cell. All entries that are no metric are settings.
        metrics: Names of the measured values; a row may lack some.
        task: Name of the task, unless the rows have their own entry `task`.
        arm: Entry that names the arm.
        omit: Entries that are neither metrics nor settings.

    >>> measurement_rows([{"arm": "bc", "sigma": 0.1, "score": 0.5}], ["score"], task="push")
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'kind': 'measurement', 'task': 'push', 'arm': 'bc', 'sigma': 0.1, 'seeds': 1, 'episodes': None,
      'metric': 'score', 'value': 0.5, 'low': None, 'high': None}]
    """
    found = list[dict[str, Any]]()
    for row in wide:
        seeds = row.get("seeds", 1)
        head = {"kind": "measurement", "task": row.get("task", task), "arm": row[arm]}
        tail = {
            "seeds": len(cast("list[int]", seeds)) if isinstance(seeds, list) else seeds,
            "episodes": row.get("episodes"),
        }
        reserved = {arm, *head, *tail, *omit, "metric", "value", "low", "high"}
        settings = _settings(row, metrics, reserved)
        for metric in metrics:
            if metric in row:
                ends = {end: row.get(f"{metric}_{end}") for end in ("low", "high")}
                found.append({**head, **settings, **tail, "metric": metric, "value": row[metric], **ends})
    return found


def comparison_rows(
    wide: Sequence[Mapping[str, Any]], metrics: Mapping[str, str], *, of: str = "arm", omit: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Comparisons of wide rows.

    Args:
        wide: One row per pair; the entry `against` names the base.
        metrics: Entry of the wide rows → name of the metric.
        of: Entry that names the arm which is compared.
        omit: Entries that are neither metrics nor settings.

    >>> comparison_rows([{"arm": "a", "against": "b", "gap": 0.1}], {"gap": "score"})
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'kind': 'comparison', 'of': 'a', 'against': 'b', 'metric': 'score', 'difference': 0.1, 'low': None,
      'high': None}]
    """
    found = list[dict[str, Any]]()
    for row in wide:
        head = {"kind": "comparison", "of": row[of], "against": row["against"]}
        settings = _settings(row, list(metrics), {of, "of", "against", "kind", *omit})
        for key, metric in metrics.items():
            if key in row:
                ends = {end: row.get(f"{key}_{end}") for end in ("low", "high")}
                found.append({**head, **settings, "metric": metric, "difference": row[key], **ends})
    return found


def _settings(row: Mapping[str, Any], metrics: Sequence[str], reserved: set[str]) -> dict[str, Any]:
    measured = {f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")}
    return {
        key: value
        for key, value in row.items()
        if key not in measured and key not in reserved and not key.endswith(_INTERNAL)
    }
