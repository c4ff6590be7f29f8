"""Two columns that are exchanged from some episode on: the pair that restores the model of the episodes before.

With the squared errors e₀ of the fit on the episodes before, on those same episodes, and e₁ on the later ones, the
exchange of a pair leaves e₂ on the later ones. It explains the change if

    (e₂ − e₀) ≤ RESTORES · (e₁ − e₀)

and if no other pair comes near.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .changes import Changed, from_on
from .habits import Habits
from .steps import Steps

RESTORES = 0.25
SOME = 1500
LARGEST = 40
"""Largest number of columns of which all pairs are tried."""


def exchanged_pair(model: Steps | Habits, changed: Changed, other: Habits | None = None) -> tuple[str, str] | None:
    """Names of the two columns whose exchange undoes a change; `None` if no pair does.

    Where several pairs undo it, as two positions and their two commands do alike, the other regression decides.
    """
    found = {pair: left for pair, left in _left_over(model, changed).items() if left <= RESTORES}
    if not found:
        return None
    if len(found) > 1 and other is not None:
        first = from_on(len(other.recording.lengths), changed.first)
        moments = other.moments()
        acts = replace(changed, before=moments.fit(~first), after=moments.fit(first))
        judged = _left_over(other, acts)
        found = {pair: judged.get(pair, 1.0) for pair in found}
    return min(found, key=lambda pair: found[pair])


def _left_over(model: Steps | Habits, changed: Changed) -> dict[tuple[str, str], float]:
    """Fraction of the additional error of the later episodes that is left if two columns are exchanged, by pair."""
    owner = model.owner
    late, early = np.flatnonzero(owner >= changed.first), np.flatnonzero(owner < changed.first)
    late, early = (rows[:: max(1, len(rows) // SOME)] for rows in (late, early))
    inputs, targets = _rows(model)
    before, now = _error(inputs[early], targets[early], changed), _error(inputs[late], targets[late], changed)
    if now <= before:
        return {}
    if isinstance(model, Habits) and inputs.shape[1] == len(model.labels):
        grown = {"state": _states(inputs[late], targets[late], changed)}
        grown["action"] = _actions(inputs[late], targets[late], changed)
        return {
            names: (now + float(grown[kind][one, other]) - before) / (now - before)
            for kind, one, other, names in _pairs(model)
        }
    return {
        names: (_error(x, y, changed) - before) / (now - before)
        for kind, one, other, names in _pairs(model)
        for x, y in [model.exchanged(kind, one, other, late)]
    }


def _states(x: Float[ndarray, "rows d"], y: Float[ndarray, "rows p"], changed: Changed) -> Float[ndarray, "d d"]:
    """Growth of the squared error of a linear model if two inputs are exchanged, by pair.

    The prediction of an exchanged row differs by (x_j − x_i)(w_i − w_j).
    """
    weights = changed.before[:-1]
    left = y - x @ weights - changed.before[-1]
    gram, cross = x.T @ x / len(x), (x.T @ left / len(x)) @ weights.T
    alike = weights @ weights.T
    apart, turned = (np.diag(m)[:, None] + np.diag(m)[None] - m - m.T for m in (gram, alike))
    # (c_j − c_i)·(w_i − w_j), with c · w in `cross`
    along = cross + cross.T - np.diag(cross)[:, None] - np.diag(cross)[None]
    return apart * turned - 2 * along


def _actions(x: Float[ndarray, "rows d"], y: Float[ndarray, "rows p"], changed: Changed) -> Float[ndarray, "p p"]:
    """Growth of the squared error of a linear model if two targets are exchanged, by pair."""
    alike = y.T @ (x @ changed.before[:-1] + changed.before[-1]) / len(x)
    own = np.diag(alike)
    return 2 * (own[:, None] + own[None] - alike - alike.T)


def _rows(model: Steps | Habits) -> tuple[ndarray, ndarray]:
    return (model.inputs, model.change) if isinstance(model, Steps) else (model.inputs(model.seen), model.acts)


def _error(inputs: ndarray, targets: ndarray, changed: Changed) -> float:
    guess = inputs @ changed.before[:-1] + changed.before[-1]
    return float(((targets - guess) ** 2).mean(axis=0).sum())


def _pairs(model: Steps | Habits) -> Iterator[tuple[str, int, int, tuple[str, str]]]:
    for kind, labels in (("state", model.labels), ("action", model.actions)):
        for one, other in combinations(range(min(len(labels), LARGEST)), 2):
            yield kind, one, other, (labels[one], labels[other])
