"""Linear regression between coordinates at a lag, fitted on some episodes and evaluated on others."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class Fits:
    """A line `y ≈ slope · x + offset` for each pair of an x and a y.

    Attributes:
        r2: Fraction of the variance of y that the line explains on held-out rows; negative if worse than the mean.
    """

    r2: Float[ndarray, "x y"]
    slope: Float[ndarray, "x y"]
    offset: Float[ndarray, "x y"]


def held_out_rows(owner: Int[ndarray, " rows"]) -> Bool[ndarray, " rows"]:
    """Rows for evaluation: every third episode, or the last third of a single episode."""
    if owner[0] != owner[-1]:
        return owner % 3 == 2 if (owner % 3 == 2).any() else owner == owner[-1]
    return np.arange(len(owner)) >= 2 * len(owner) // 3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs of lines to several targets, centred at the mean of the rows of the fit.

    Attributes:
        train: Rows of the fit.
        test: Held-out rows.
        mean: What was subtracted from both.
        size: Σ x² of the rows of the fit.
        size_test: Σ x² of the held-out rows.
    """

    train: Float[ndarray, "rows x"]
    test: Float[ndarray, "held x"]
    mean: Float[ndarray, " x"]
    size: Float[ndarray, " x"]
    size_test: Float[ndarray, " x"]

    @classmethod
    def of(cls, x: Float[ndarray, "all x"], held_out: Bool[ndarray, " all"]) -> "Inputs":
        """Centred inputs."""
        mean = x[~held_out].mean(axis=0)
        train, test = x[~held_out] - mean, x[held_out] - mean
        return cls(train=train, test=test, mean=mean, size=_squares(train), size_test=_squares(test))

    def fits(self, y: Float[ndarray, "all y"], fitted: int) -> Fits:
        """Fit a line for every pair of coordinates; the first rows of y, whose mean is near 0, are those of the fit."""
        mean = y[:fitted].mean(axis=0)
        # the inputs sum to 0 over the rows of the fit, so that a constant in y changes nothing there
        test = y[fitted:] - mean
        slope = (self.train.T @ y[:fitted]) / np.maximum(self.size, TINY)[:, None]
        # Σ(y − ȳ − slope (x − x̄))² of the test rows, for all pairs at once
        xx, yy, xy = self.size_test[:, None], _squares(test)[None], self.test.T @ test
        error = yy - 2 * slope * xy + slope**2 * xx
        r2 = np.where(yy > TINY, 1 - error / np.maximum(yy, TINY), 0.0)
        return Fits(r2=r2, slope=slope, offset=mean[None] - slope * self.mean[:, None])


def fit_each(x: Float[ndarray, "rows x"], y: Float[ndarray, "rows y"], held_out: Bool[ndarray, " rows"]) -> Fits:
    """Fit a line for every pair of coordinates."""
    order = np.argsort(held_out, kind="stable")
    centre = y.mean(axis=0)
    fits = Inputs.of(x, held_out).fits(y[order] - centre, int((~held_out).sum()))
    return replace(fits, offset=fits.offset + centre)


def _squares(values: Float[ndarray, "rows d"]) -> Float[ndarray, " d"]:
    return np.einsum("rd,rd->d", values, values)


def standard(values: Float[ndarray, "rows d"]) -> Float[ndarray, "rows d"]:
    """Coordinates scaled to mean 0 and standard deviation 1; constant ones become 0."""
    found = values - values.mean(axis=0)
    spread = np.sqrt(_squares(found) / max(len(found), 1))
    found /= np.where(spread > TINY, spread, np.inf)
    return found


def explained(x: Float[ndarray, "rows x"], y: Float[ndarray, "rows y"], held_out: Bool[ndarray, " rows"]) -> ndarray:
    """Fraction of the variance of each y that all x together explain on held-out rows."""
    wide = np.concatenate([standard(x), np.ones((len(x), 1))], axis=1)
    train = wide[~held_out]
    gram = train.T @ train + 1e-9 * len(train) * np.eye(wide.shape[1])
    weights = np.linalg.solve(gram, train.T @ y[~held_out])
    error = ((y - wide @ weights)[held_out] ** 2).mean(axis=0)
    spread = ((y[held_out] - y[~held_out].mean(axis=0)) ** 2).mean(axis=0)
    return np.where(spread > TINY, 1 - error / np.maximum(spread, TINY), 0.0)


def partial(
    x: Float[ndarray, "rows x"], others: Float[ndarray, "rows o"], y: Float[ndarray, "rows y"]
) -> Float[ndarray, "x y"]:
    """Partial R² of each x for each y, given the others and the other x.

    1 − SSE(all) / SSE(all but this x)
    """
    wide = standard(np.concatenate([x, others], axis=1))
    right = y - y.mean(axis=0)
    gram = wide.T @ wide + 1e-9 * len(wide) * np.eye(wide.shape[1])
    inverse = np.linalg.inv(gram)
    weights = inverse @ (wide.T @ right)
    left = _squares(right - wide @ weights)
    added = weights[: x.shape[1]] ** 2 / np.diag(inverse)[: x.shape[1], None]
    return added / np.maximum(added + left, TINY)
