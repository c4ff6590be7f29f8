"""Small classifiers that tell two samples apart, each as a *region* of points that look like the first sample.

    region       A = points …                                                A^ε = points within ε of A
    Atoms        equal to values that the first sample shows more often      within ε of such a value
    HalfSpace    on one side of a hyperplane                                 on that side of the plane moved by ε
    Quadric      on one side of a quadratic surface                          only ε = 0
    Neighbours   most of whose nearest neighbours are of the first sample    only ε = 0

A^ε has to be known exactly, or to be too large, for what is concluded from it to hold; so the last two serve ε = 0
only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Atoms", "HalfSpace", "Neighbours", "Quadric", "Region", "classifiers"]

PENALTIES = (0.1, 10.0)
"""Ridge penalties that are tried, on standardised features."""
CLIMBS = 60
"""Steps of the logistic fit; its direction settles long before its length does."""
SQUARED = 8
"""Principal components whose products are features: more of them than draws would say nothing."""

_linalg = cast(Any, torch.linalg)  # its functions carry no types


@runtime_checkable
class Region(Protocol):
    """A set A of points, fitted to look like the first of two samples."""

    def holds(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point lies within `margin` of A."""
        ...


@dataclass(frozen=True)
class Atoms:
    """Exact values: what a law with atoms, a deterministic or binned policy's, is told by.

    Attributes:
        values: Those that the first sample showed more often.
        rest: Whether a value that neither sample showed counts as the first's (only where margins are 0).
        seen: All values that were shown.
    """

    values: Float[Tensor, "k d"]
    rest: bool
    seen: Float[Tensor, "s d"]

    def holds(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point is one of the values, or within `margin` of one."""
        if margin > 0:
            # the matrix product that is otherwise used for many points rounds, and would miss equal values
            apart = torch.cdist(points, self.values, compute_mode="donot_use_mm_for_euclid_dist")
            return (apart <= margin).any(1)
        found = _is_in(points, self.values)
        return found | ~_is_in(points, self.seen) if self.rest else found


@dataclass(frozen=True)
class HalfSpace:
    """`w·x ≥ c` with `‖w‖ = 1`, in the coordinates of the points, so that margins are distances."""

    normal: Float[Tensor, " d"]
    offset: float

    def holds(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point lies on the side, or within `margin` of it."""
        return points @ self.normal >= self.offset - margin


@dataclass(frozen=True)
class Quadric:
    """A half-space of the points' coordinates and of the products of their first principal components."""

    features: "Products"
    plane: HalfSpace

    def holds(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point lies inside; margins cannot be answered."""
        assert margin == 0, "the neighbourhood of a quadric is not known"
        return self.plane.holds(self.features(points))


@dataclass(frozen=True)
class Neighbours:
    """Majority of the `k` nearest known points, in standardised coordinates."""

    scale: "Standard"
    known: Float[Tensor, "n d"]
    first: Bool[Tensor, " n"]
    k: int

    def holds(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether most neighbours are of the first sample; margins cannot be answered."""
        assert margin == 0, "the neighbourhood of a vote is not known"
        nearest = torch.cdist(self.scale(points), self.known).topk(self.k, largest=False).indices
        return self.first[nearest].double().mean(1) >= 0.5


@dataclass(frozen=True)
class Standard:
    """`(x − mean) / std` of each coordinate; one that never changes is left as it is."""

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]

    @staticmethod
    def of(points: Float[Tensor, "n d"]) -> "Standard":
        std = points.std(0)
        return Standard(points.mean(0), torch.where(std > 0, std, torch.ones_like(std)))

    def __call__(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (points - self.mean) / self.std


@dataclass(frozen=True)
class Products:
    """Standardised coordinates, and all products of two of their first principal components."""

    scale: Standard
    components: Float[Tensor, "d p"]

    @staticmethod
    def of(points: Float[Tensor, "n d"]) -> "Products":
        scale = Standard.of(points)
        axes: Tensor = _linalg.svd(scale(points), full_matrices=False)[2]
        return Products(scale, axes[:SQUARED].mT)

    def __call__(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        z = self.scale(points)
        main = z @ self.components
        row, column = torch.triu_indices(main.shape[1], main.shape[1])
        return torch.cat([z, main[:, row] * main[:, column]], 1)


def classifiers(*, margin: float = 0.0) -> Mapping[str, Callable[[Tensor, Tensor], Region]]:
    """What fits a region to a first and a second sample `[n, d]`, by name: all that can answer the margin."""
    found: dict[str, Callable[[Tensor, Tensor], Region]] = {"atoms": _fit_atoms}
    for penalty in PENALTIES:
        found[f"linear, ridge {penalty:g}"] = partial(_fit_half_space, penalty=penalty, margin=margin)
        if margin == 0:
            found[f"quadratic, ridge {penalty:g}"] = partial(_fit_quadric, penalty=penalty)
    return found if margin > 0 else found | {"neighbours": _fit_neighbours}


def _fit_atoms(first: Tensor, second: Tensor) -> Atoms:
    values, inverse = _distinct(torch.cat([first, second]))
    ours = torch.bincount(inverse[: len(first)], minlength=len(values))
    theirs = torch.bincount(inverse[len(first) :], minlength=len(values))
    # values shown once tell how often a new one comes up (Good 1953)
    rest = int(((ours == 1) & (theirs == 0)).sum()) > int(((theirs == 1) & (ours == 0)).sum())
    return Atoms(values[ours > theirs], rest, values)


def _fit_half_space(first: Tensor, second: Tensor, *, penalty: float, margin: float) -> HalfSpace:
    return _plane(*_labelled(first, second), penalty=penalty, margin=margin)


def _fit_quadric(first: Tensor, second: Tensor, *, penalty: float) -> Quadric:
    points, labels = _labelled(first, second)
    features = Products.of(points)
    return Quadric(features, _plane(features(points), labels, penalty=penalty))


def _fit_neighbours(first: Tensor, second: Tensor) -> Neighbours:
    points, labels = _labelled(first, second)
    scale = Standard.of(points)
    return Neighbours(scale, scale(points), labels, 2 * (int(len(points) ** 0.5) // 2) + 1)


def _labelled(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    points = torch.cat([first, second])
    return points, torch.arange(len(points)) < len(first)


def _plane(
    points: Float[Tensor, "n d"], labels: Bool[Tensor, " n"], *, penalty: float, margin: float = 0.0
) -> HalfSpace:
    """Ridge logistic regression, its plane in the points' own coordinates, half a margin inside."""
    scale = Standard.of(points)
    weights, bias = _logistic(scale(points), labels, penalty)
    normal = weights / scale.std
    offset = float((normal * scale.mean).sum() - bias)
    length = float(normal.square().sum()) ** 0.5
    if length == 0:
        return HalfSpace(torch.zeros_like(normal), 1.0)
    return HalfSpace(normal / length, offset / length + margin / 2)


def _logistic(z: Float[Tensor, "n d"], labels: Bool[Tensor, " n"], penalty: float) -> tuple[Tensor, Tensor]:
    """Maximum of the penalised likelihood, by steps that always climb.

    The curvature is bounded by XᵀX/4, so that one factorisation serves all steps (Böhning and Lindsay 1988).
    """
    # with fewer draws than coordinates the solution lies in the span of the draws
    basis: Tensor = _linalg.qr(z.mT)[0] if z.shape[1] > z.shape[0] else torch.eye(z.shape[1]).to(z)
    x = torch.cat([z @ basis, torch.ones(len(z), 1).to(z)], 1)
    ridge = torch.full((x.shape[1],), penalty).to(z)
    ridge[-1] = 1e-6  # the bias is free; a trace of it keeps the factorisation safe
    factor: Tensor = _linalg.cholesky(x.mT @ x / 4 + torch.diag(ridge))
    w = torch.zeros(x.shape[1]).to(z)
    for _ in range(CLIMBS):
        slope = x.mT @ (labels.to(z) - torch.sigmoid(x @ w)) - ridge * w
        w = w + torch.cholesky_solve(slope[:, None], factor)[:, 0]
    return basis @ w[:-1], w[-1]


def _is_in(points: Float[Tensor, "n d"], values: Float[Tensor, "k d"]) -> Bool[Tensor, " n"]:
    """Whether each point equals one of the values, to the last bit."""
    if len(values) == 0:
        return torch.zeros(len(points), dtype=torch.bool)
    _, inverse = _distinct(torch.cat([values, points]))
    return torch.isin(inverse[len(values) :], inverse[: len(values)])


def _distinct(points: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    """The distinct rows, and which of them each row is."""
    values, inverse = cast(Any, points).unique(dim=0, return_inverse=True)
    return values, inverse
