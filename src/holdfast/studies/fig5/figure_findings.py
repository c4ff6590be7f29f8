"""What a sweep shows, as titles: only numbers that are in the rows, so a title cannot outrun its picture."""

from collections.abc import Iterable, Sequence

import numpy as np

from .figure_rows import Reference, Row

__all__ = ["distance_finding", "noise_finding", "score_finding", "trade_finding"]


def score_finding(rows: Sequence[Row]) -> str:
    """The best score with and without gains at the fewest demonstrations."""
    fewest = min(row.n_demos for row in rows)
    gains, raw = _both([row for row in rows if row.n_demos == fewest and row.noise != "train"])
    if not gains or not raw:
        return "Score against the number of demonstrations"
    best = [max(row.score.mean for row in side) for side in (gains, raw)]
    return f"From {_demonstrations(fewest)}: gains {best[0]:.2f}, raw actions {best[1]:.2f}"


def noise_finding(rows: Sequence[Row]) -> str:
    """What the strongest noise does to both sides, each at the number of demonstrations where it does most."""
    parts = [
        _change(side, name)
        for side, name in zip(_both([r for r in rows if r.noise != "train"]), ("gains", "raw actions"), strict=True)
    ]
    told = [part for part in parts if part]
    most = max(row.sigma for row in rows)
    return f"Noise of σ {most:g} takes {', '.join(told)}" if told else "Score against noise"


def _change(rows: Sequence[Row], name: str) -> str:
    without = {(row.arm, row.n_demos): row.score.mean for row in rows if row.sigma == 0}
    most = max((row.sigma for row in rows), default=0.0)
    pairs = [
        (abs(row.score.mean - without[row.arm, row.n_demos]), row)
        for row in rows
        if row.sigma == most > 0 and (row.arm, row.n_demos) in without
    ]
    finite = [pair for pair in pairs if np.isfinite(pair[0])]
    if not finite:
        return ""
    row = max(finite, key=lambda pair: pair[0])[1]
    return f"{name} (N {row.n_demos}) from {without[row.arm, row.n_demos]:.2f} to {row.score.mean:.2f}"


def distance_finding(rows: Sequence[Row]) -> str:
    """The smallest distance of each side."""
    sides = zip(_both(rows), ("gains", "raw actions"), strict=True)
    told = [f"{name} {min(row.distance.mean for row in side):.2g}" for side, name in sides if side]
    return f"Nearest to the expert: {', '.join(told)}" if told else "Distance to the expert"


def trade_finding(rows: Sequence[Row], references: Sequence[Reference]) -> str:
    """That a high score is not imitation, where something without learning scores like the best and stays far."""
    finite = [row for row in rows if np.isfinite(row.score.mean) and np.isfinite(row.distance.mean)]
    if finite:
        nearest = min(row.distance.mean for row in finite)
        far = [r for r in references if r.distance > 1.3 * nearest and r.score > 0.9]
        if far:
            best = max(far, key=lambda reference: reference.score)
            return f"A high score is not imitation: {best.name} has {best.score:.2f} at distance {best.distance:.2f}"
    return "Score against distance to the expert"


def _both(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with gains and rows without, those that measured something."""
    finite = [row for row in rows if np.isfinite(row.score.mean) and np.isfinite(row.distance.mean)]
    return [row for row in finite if row.arm.gains], [row for row in finite if not row.arm.gains]


def _demonstrations(count: int) -> str:
    return "1 demonstration" if count == 1 else f"{count} demonstrations"
