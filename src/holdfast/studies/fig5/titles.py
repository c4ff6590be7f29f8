"""Titles of the panels of fig5, with numbers from the rows alone."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..engine.tables import Row


def best_of(rows: Iterable[Row], metric: str) -> Row | None:
    """The row with the highest score or the smallest distance, among those with finite numbers."""
    finite = [row for row in rows if _finite(row)]
    return min(finite, key=lambda row: row[metric] if metric == "distance" else -row[metric], default=None)


def score_title(rows: Sequence[Row]) -> str:
    """The best score with and without gains at the fewest demonstrations."""
    fewest = min(row["n_demos"] for row in rows)
    gains, raw = _sides([row for row in rows if row["n_demos"] == fewest and row["noise"] != "train"])
    best, base = best_of(gains, "score"), best_of(raw, "score")
    if best is None or base is None:
        return "Score against the number of demonstrations"
    count = "1 demonstration" if fewest == 1 else f"{fewest} demonstrations"
    return f"From {count}: gains {best['score']:.2f}, raw actions {base['score']:.2f}"


def noise_title(rows: Sequence[Row]) -> str:
    """The effect of the strongest noise with and without gains, each where it is largest."""
    gains, raw = _sides([row for row in rows if row["noise"] != "train"])
    told = [part for part in (_change(gains, "gains"), _change(raw, "raw actions")) if part]
    most = max(row["sigma"] for row in rows)
    return f"Noise of σ {most:g} takes {', '.join(told)}" if told else "Score against noise"


def _change(rows: Sequence[Row], name: str) -> str:
    without = {(row["gains"], row["n_demos"]): row["score"] for row in rows if row["sigma"] == 0}
    most = max((row["sigma"] for row in rows), default=0.0)
    pairs = [
        (without[row["gains"], row["n_demos"]], row)
        for row in rows
        if row["sigma"] == most > 0 and (row["gains"], row["n_demos"]) in without
    ]
    if not pairs:
        return ""
    before, row = max(pairs, key=lambda pair: abs(pair[1]["score"] - pair[0]))
    return f"{name} (N {row['n_demos']}) from {before:.2f} to {row['score']:.2f}"


def distance_title(rows: Sequence[Row]) -> str:
    """The smallest distance with and without gains."""
    pairs = zip((best_of(side, "distance") for side in _sides(rows)), ("gains", "raw actions"), strict=True)
    told = [f"{name} {best['distance']:.2g}" for best, name in pairs if best is not None]
    return f"Nearest to the expert: {', '.join(told)}" if told else "Distance to the expert"


def trade_title(rows: Sequence[Row], references: Sequence[Row]) -> str:
    """A reference without learning that scores like the best policies but stays far from the expert."""
    nearest = best_of(rows, "distance")
    if nearest is not None:
        far = [r for r in references if r["distance"] > 1.3 * nearest["distance"] and r["score"] > 0.9]
        if far:
            best = max(far, key=lambda reference: reference["score"])
            return (
                f"A high score is not imitation: {best['name']} has {best['score']:.2f} at distance "
                f"{best['distance']:.2f}"
            )
    return "Score against distance to the expert"


def _sides(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with gains and rows without, those with finite numbers."""
    finite = [row for row in rows if _finite(row)]
    return [row for row in finite if row["gains"] != "none"], [row for row in finite if row["gains"] == "none"]


def _finite(row: Row) -> bool:
    return bool(np.isfinite(row["score"]) and np.isfinite(row["distance"]))
