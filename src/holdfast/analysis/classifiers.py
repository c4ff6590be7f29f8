"""Small classifiers for two-sample tests, each represented by the *region* of points assigned to the first sample.

    region       A = points …                                                A^ε = points within ε of A
    Atoms        equal to values that are more frequent in the first sample  within ε of such a value
    HalfSpace    on one side of a hyperplane                                 on that side of the plane moved by ε
    Quadric      on one side of a quadratic surface                          only ε = 0
    Neighbours   whose nearest neighbours are mostly of the first sample      only ε = 0

The test is valid only if A^ε is computed exactly or overestimated; for the last two regions it is known only for ε = 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PENALTIES = (0.1, 10.0)
"""Candidate ridge penalties, on standardised features."""
LOGISTIC_STEPS = 60
"""Iterations of the logistic fit; its direction converges long before its length."""
COMPONENTS = 8
"""Number of principal components whose products are features; more would exceed the number of samples."""

_linalg = cast(Any, torch.linalg)  # its functions carry no types


@runtime_checkable
class Region(Protocol):
    """A set A of points, fitted to the first of two samples."""

    def contains(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point is within `margin` of A."""
        ...


@dataclass(frozen=True)
class Atoms:
    """A finite set of exact values, which identifies distributions with atoms (deterministic or binned policies).

    Attributes:
        values: Values that are more frequent in the first sample.
        include_unobserved: Whether unobserved values are assigned to the first sample (only for margin 0).
        observed: All observed values.
    """

    values: Float[Tensor, "k d"]
    include_unobserved: bool
    observed: Float[Tensor, "s d"]

    def contains(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point equals one of the values, or is within `margin` of one."""
        if margin > 0:
            # the default computation for many points uses a matrix product, whose rounding would miss equal values
            distances = torch.cdist(points, self.values, compute_mode="donot_use_mm_for_euclid_dist")
            return (distances <= margin).any(1)
        found = _is_in(points, self.values)
        return found | ~_is_in(points, self.observed) if self.include_unobserved else found


@dataclass(frozen=True)
class HalfSpace:
    """Half-space `w·x ≥ c` with `‖w‖ = 1`, in the coordinates of the points, so that margins are distances."""

    normal: Float[Tensor, " d"]
    offset: float

    def contains(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point is in the half-space, or within `margin` of it."""
        return points @ self.normal >= self.offset - margin


@dataclass(frozen=True)
class Quadric:
    """A half-space of the points' coordinates and the products of their first principal components."""

    features: "Products"
    plane: HalfSpace

    def contains(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether each point is inside; only for margin 0."""
        assert margin == 0, "the neighborhood of a quadric is not known"
        return self.plane.contains(self.features(points))


@dataclass(frozen=True)
class Neighbours:
    """Majority vote of the `k` nearest points, in standardised coordinates."""

    scale: "Standard"
    known: Float[Tensor, "n d"]
    first: Bool[Tensor, " n"]
    k: int

    def contains(self, points: Float[Tensor, "n d"], margin: float = 0.0) -> Bool[Tensor, " n"]:
        """Whether most neighbours are of the first sample; only for margin 0."""
        assert margin == 0, "the neighborhood of a vote is not known"
        nearest = torch.cdist(self.scale(points), self.known).topk(self.k, largest=False).indices
        return self.first[nearest].double().mean(1) >= 0.5


@dataclass(frozen=True)
class Standard:
    """Standardisation `(x − mean) / std`; constant coordinates are only centred."""

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]

    @staticmethod
    def of(points: Float[Tensor, "n d"]) -> "Standard":
        """Standardisation fitted to some points."""
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
        """Features fitted to some points."""
        scale = Standard.of(points)
        axes: Tensor = _linalg.svd(scale(points), full_matrices=False)[2]
        return Products(scale, axes[:COMPONENTS].mT)

    def __call__(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        z = self.scale(points)
        main = z @ self.components
        row, column = torch.triu_indices(main.shape[1], main.shape[1])
        return torch.cat([z, main[:, row] * main[:, column]], 1)


def classifiers(*, margin: float = 0.0) -> Mapping[str, Callable[[Tensor, Tensor], Region]]:
    """Functions that fit a region to a first and a second sample `[n, d]`, by name, for the given margin."""
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
    # the number of values that occur once estimates the probability of unobserved values (Good 1953)
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
    """Ridge logistic regression; the plane is in the coordinates of the points, moved inwards by half a margin."""
    scale = Standard.of(points)
    weights, bias = _logistic(scale(points), labels, penalty)
    normal = weights / scale.std
    offset = float((normal * scale.mean).sum() - bias)
    length = float(normal.square().sum()) ** 0.5
    if length == 0:
        return HalfSpace(torch.zeros_like(normal), 1.0)
    return HalfSpace(normal / length, offset / length + margin / 2)


def _logistic(z: Float[Tensor, "n d"], labels: Bool[Tensor, " n"], penalty: float) -> tuple[Tensor, Tensor]:
    """Maximum of the penalised likelihood by steps that increase it monotonically.

    The Hessian is bounded by XᵀX/4, so that one factorisation serves all steps (Böhning and Lindsay 1988).
    """
    # with fewer samples than coordinates the solution is in the span of the samples
    basis: Tensor = _linalg.qr(z.mT)[0] if z.shape[1] > z.shape[0] else torch.eye(z.shape[1]).to(z)
    x = torch.cat([z @ basis, torch.ones(len(z), 1).to(z)], 1)
    ridge = torch.full((x.shape[1],), penalty).to(z)
    ridge[-1] = 1e-6  # the bias is nearly unpenalised; the factorisation needs a positive value
    factor: Tensor = _linalg.cholesky(x.mT @ x / 4 + torch.diag(ridge))
    w = torch.zeros(x.shape[1]).to(z)
    for _ in range(LOGISTIC_STEPS):
        slope = x.mT @ (labels.to(z) - torch.sigmoid(x @ w)) - ridge * w
        w = w + torch.cholesky_solve(slope[:, None], factor)[:, 0]
    return basis @ w[:-1], w[-1]


def _is_in(points: Float[Tensor, "n d"], values: Float[Tensor, "k d"]) -> Bool[Tensor, " n"]:
    """Whether each point equals one of the values exactly."""
    if len(values) == 0:
        return torch.zeros(len(points), dtype=torch.bool)
    _, inverse = _distinct(torch.cat([values, points]))
    return torch.isin(inverse[len(values) :], inverse[: len(values)])


def _distinct(points: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    """Distinct rows, and the index of each row among them."""
    values, inverse = cast(Any, points).unique(dim=0, return_inverse=True)
    return values, inverse
