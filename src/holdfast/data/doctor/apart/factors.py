"""The factor between two units, by a regression of a column on columns whose unit is the same in all episodes.

With the prediction p[t] of x[t], or of x[t + 1] − x[t], by a fit on the other episodes, the factor is the slope
Σ p x / Σ p² over the episodes with another unit. It is precise where most of the variance is predicted.
"""

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..recording import Recording
from ..regression import standard

PREDICTED = 0.8
"""Smallest R² of the prediction, on the rows of the fit."""
ALIKE = 0.8
"""Smallest correlation of the column with its prediction in the episodes with another unit."""
ROWS = 8000
RIDGE = 1e-6


def factor_of(recording: Recording, labels: Collection[str], odd: Bool[ndarray, " episodes"]) -> float | None:
    """The factor of columns in some episodes; `None` if the other columns predict none of them, 1 if not in these.

    Args:
        recording: All episodes.
        labels: Columns in another unit.
        odd: Episodes with the other unit.
    """
    all_labels = [label for item in recording.quantities for label in item.labels]
    rest = [label for label in all_labels if label not in labels]
    rows = np.flatnonzero(recording.pairs())
    rows = rows[:: max(1, len(rows) // ROWS)]
    there = odd[recording.owner[rows]]
    if not rest or not there.any() or there.all():
        return None
    wide = standard(np.stack([recording.column(label)[rows] for label in rest], axis=1))
    wide = np.concatenate([wide, np.ones((len(wide), 1))], axis=1)
    columns = [recording.column(label) for label in labels]
    answers = np.stack([part for x in columns for part in (x[rows], x[rows + 1] - x[rows])], axis=1)
    guess, r2 = _predicted(wide, answers, ~there)
    best = int(r2.argmax())
    if r2[best] < PREDICTED:
        return None
    p, x = guess[there, best], answers[there, best]
    along = float(p @ x)
    # motion below the noise of the others is no other unit
    if along <= ALIKE * float(np.sqrt((p @ p) * (x @ x))):
        return 1.0
    return along / float(p @ p)


def _predicted(
    wide: Float[ndarray, "rows d"], answers: Float[ndarray, "rows k"], fitted: Bool[ndarray, " rows"]
) -> tuple[Float[ndarray, "rows k"], Float[ndarray, " k"]]:
    """Predictions of a fit on some rows, and their R² there."""
    train, wanted = wide[fitted], answers[fitted]
    gram = train.T @ train + RIDGE * len(train) * np.eye(wide.shape[1])
    guess = wide @ np.linalg.solve(gram, train.T @ wanted)
    spread = wanted.var(axis=0)
    left = ((wanted - guess[fitted]) ** 2).mean(axis=0)
    return guess, np.where(spread > 0, 1 - left / np.maximum(spread, 1e-300), 0.0)
