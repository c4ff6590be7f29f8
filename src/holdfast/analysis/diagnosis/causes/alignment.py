"""Orders, units and frames of an observation in which the environment agrees with the data.

Every coordinate is described by its first values (quantiles over episodes), its steps (root mean square within an
episode), and by correlations of its change with all coordinates and actions:

    C[i, j] = corr(o_i[t + 1] − o_i[t], o_j[t]),    D[i, k] = corr(o_i[t + 1] − o_i[t], a_k[t])

The order π minimises Σ_i c(i, π(i)) + Σ_ij |C_data[i, j] − C_env[π(i), π(j)]| / d, with the cost c of the first two and
of D. It is found by the assignment of least Σ c and by exchanges of two coordinates, from several initial orders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ....types import Episodes
from .rows import first_rows, owners
from .scene import Scene

ORDERS = 4
"""Number of orders to try in rollouts."""
UNITS = (1000.0, 100.0, 10.0, 57.29577951308232, 25.4, 0.1, 0.01, 0.001, 1 / 57.29577951308232, 1 / 25.4)
RESTARTS = 24
WIDEST = 32
"""Number of coordinates from which orders are not searched."""

_optimize = cast(Any, optimize)  # scipy ships no types


@dataclass(frozen=True)
class Alignment:
    """A change of the environment's observation into that of the data: o'[i] = scale[i] · o[order[i]] + shift[i]."""

    kind: Literal["order", "units"]
    order: Int[Tensor, " d"]
    scale: Float[Tensor, " d"]
    shift: Float[Tensor, " d"]

    def apply(self, observed: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The observation as in the data."""
        return observed[..., self.order] * self.scale.to(observed) + self.shift.to(observed)

    @property
    def values(self) -> dict[str, Any]:
        """As JSON values."""
        if self.kind == "order":
            return {"order": [int(index) for index in self.order]}
        return {"scale": [float(part) for part in self.scale], "shift": [float(part) for part in self.shift]}


@dataclass(frozen=True)
class _Description:
    quantiles: Float[ndarray, "d q"]
    steps: Float[ndarray, " d"]
    own: Float[ndarray, "d d"]
    actions: Float[ndarray, "d m"]


def alignments(scene: Scene, shown: Episodes) -> Iterator[Alignment]:
    """The most likely changes, units before orders."""
    identity = torch.arange(scene.first.shape[1])
    units = _units(scene.first, first_rows(shown))
    if units is not None:
        yield Alignment("units", identity, *units)
        # a velocity that is zero at every start does not show its unit; it is that of the positions, if these share one
        shared = _shared(*units, begun=first_rows(shown))
        if shared is not None:
            yield Alignment("units", identity, *shared)
    if len(identity) > WIDEST:
        return
    for order in _orders(scene, shown):
        if not bool((order == identity).all()):
            ones = torch.ones(len(identity), dtype=torch.float64)
            yield Alignment("order", order, ones, 0 * ones)


def _units(here: Float[Tensor, "b d"], there: Float[Tensor, "e d"]) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of coordinates whose first values differ by a known unit or by a constant."""
    scale, shift = torch.ones(here.shape[1], dtype=torch.float64), torch.zeros(here.shape[1], dtype=torch.float64)
    for index in range(here.shape[1]):
        scale[index], shift[index] = _unit(here[:, index], there[:, index])
    changed = bool(((scale != 1) | (shift != 0)).any())
    return (scale, shift) if changed else None


def _shared(scale: Tensor, shift: Tensor, *, begun: Float[Tensor, "e d"]) -> tuple[Tensor, Tensor] | None:
    """The common factor of the other coordinates for those that are constant at the starts."""
    constant = begun.amax(dim=0) == begun.amin(dim=0)
    factors = {float(factor) for factor in scale[scale != 1]}
    if not bool(constant.any()) or len(factors) != 1:
        return None
    return torch.where(constant, factors.pop(), scale), shift


def _unit(here: Float[Tensor, " b"], there: Float[Tensor, " e"]) -> tuple[float, float]:
    own, known = _middle(here), _middle(there)
    if (own[1] <= 0) != (known[1] <= 0):
        return 1.0, 0.0
    if own[1] <= 0:
        return 1.0, known[0] - own[0]
    ratio = known[1] / own[1]
    factor = min(UNITS, key=lambda unit: abs(np.log(unit / ratio)))
    if abs(np.log(factor / ratio)) < 0.5 and not 0.6 < ratio < 1.6:
        return factor, 0.0
    away = abs(known[0] - own[0]) > 2 * (known[1] + own[1])
    if away and abs(known[0] + own[0]) < 0.5 * (known[1] + own[1]):
        return -1.0, 0.0
    return 1.0, known[0] - own[0] if away else 0.0


def _middle(values: Float[Tensor, " n"]) -> tuple[float, float]:
    """Median and spread."""
    low, middle, high = (float(values.quantile(share)) for share in (0.25, 0.5, 0.75))
    return middle, high - low


def _orders(scene: Scene, shown: Episodes) -> list[Int[Tensor, " d"]]:
    rollouts = scene.subject.rollout.episodes
    data, env = _described(shown), _described(rollouts)
    unary = _unary(data, env)
    first = _optimize.linear_sum_assignment(unary)[1]
    rng = np.random.default_rng(0)
    restarts = RESTARTS if len(first) <= 12 else RESTARTS // 8
    begins = [first, np.arange(len(first)), *(rng.permutation(len(first)) for _ in range(restarts))]
    optima = [_improved(begin, unary, data.own, env.own)[0] for begin in begins]
    best = min(optima, key=lambda order: _cost(order, unary, data.own, env.own))
    # dynamics cannot tell two goals or two obstacles apart, so the exchanges of the best order are tried as well
    near = [_exchanged(best, i, j) for i, j in combinations(range(len(best)), 2)]
    unique = {tuple(order.tolist()): order for order in [*optima, *near]}
    ordered = sorted(unique.values(), key=lambda order: _cost(order, unary, data.own, env.own))
    return [torch.as_tensor(order) for order in ordered[:ORDERS]]


def _improved(order: ndarray, unary: ndarray, data: ndarray, env: ndarray) -> tuple[ndarray, float]:
    """Exchange pairs of coordinates as long as this lowers the cost."""
    best = _cost(order, unary, data, env)
    while True:
        trials = [_exchanged(order, i, j) for i, j in combinations(range(len(order)), 2)]
        costs = [_cost(trial, unary, data, env) for trial in trials]
        if not costs or min(costs) >= best - 1e-9:
            return order, best
        order, best = trials[int(np.argmin(costs))], min(costs)


def _exchanged(order: ndarray, i: int, j: int) -> ndarray:
    other = order.copy()
    other[[i, j]] = other[[j, i]]
    return other


def _cost(order: ndarray, unary: ndarray, data: ndarray, env: ndarray) -> float:
    pairs = np.abs(data - env[np.ix_(order, order)]).sum() / len(order)
    return float(unary[np.arange(len(order)), order].sum() + pairs)


def _described(episodes: Episodes) -> _Description:
    seen = episodes.observed.vector.double().cpu()
    actions = episodes.actions.double().cpu()
    owner = owners(episodes.lengths.cpu())
    inside = owner[1:] == owner[:-1]
    change = (seen[1:] - seen[:-1])[inside]
    shares = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    return _Description(
        quantiles=first_rows(episodes).cpu().quantile(shares, dim=0).T.numpy(),
        steps=change.square().mean(dim=0).sqrt().numpy(),
        own=_correlation(change, seen[:-1][inside]),
        actions=_correlation(change, actions[:-1][inside]),
    )


def _correlation(x: Float[Tensor, "rows i"], y: Float[Tensor, "rows j"]) -> Float[ndarray, "i j"]:
    left, right = ((values - values.mean(dim=0)).numpy() for values in (x, y))
    norms = np.sqrt((left**2).sum(axis=0))[:, None] * np.sqrt((right**2).sum(axis=0))[None]
    return np.where(norms > 1e-12, left.T @ right / np.maximum(norms, 1e-12), 0.0)


def _unary(data: _Description, env: _Description) -> Float[ndarray, "d d"]:
    """Cost of giving the environment's coordinate j in the place of the data's coordinate i."""
    size = np.abs(data.quantiles).max() + 1e-9
    begun = np.abs(data.quantiles[:, None] - env.quantiles[None]).mean(axis=-1) / size
    steps = np.abs(np.log((data.steps[:, None] + 1e-6 * size) / (env.steps[None] + 1e-6 * size))).clip(max=4) / 4
    moved = np.abs(data.actions[:, None] - env.actions[None]).mean(axis=-1)
    return 2 * begun + steps + moved
