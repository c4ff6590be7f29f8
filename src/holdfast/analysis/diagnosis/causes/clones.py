"""Quick clones: regressions on the demonstrations that are fitted in a second and flown, to test a cause in the data.

    a_t ≈ W [1, z_t, ReLU(V z_t + v)],    z_t the scaled window of observations

with fixed random V and v, and W by ridge regression (random features: Rahimi and Recht 2007). Two clones that differ
only in the data, or in what they observe, show what that difference is worth in closed loop. A clone that solves the
task shows that the demonstrations suffice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ....data import MinMax
from ....errors import DataError
from ....seeding import stream
from ....types import Episodes, Observation
from .rows import owners

FEATURES = 384
ROWS = 12_000
RIDGE = 1e-3


@dataclass
class Clone:
    """A regression policy.

    Attributes:
        weights: W.
        features: Maps windows `[b, o · d]` to the regression's inputs.
        window: Number of observations in a window.
        low: Smallest demonstrated action.
        high: Largest demonstrated action.
        past: Window of the current episodes.
    """

    weights: Float[Tensor, "f m"]
    features: Callable[[Float[Tensor, "b i"]], Float[Tensor, "b f"]]
    window: int
    low: Float[Tensor, " m"]
    high: Float[Tensor, " m"]
    past: list[Tensor] = field(default_factory=lambda: list[Tensor]())

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.past.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The regression's action, within the range of the demonstrated ones."""
        self.past.append(observation.vector.double())
        del self.past[: -self.window]
        seen = [self.past[0]] * (self.window - len(self.past)) + self.past
        action = self.features(torch.cat(seen, dim=-1)) @ self.weights
        return action.clamp(self.low, self.high).to(state)

    def predict(self, episodes: Episodes) -> Float[Tensor, "rows m"]:
        """Its action at every step of a data set, for what was observed until then."""
        return self.features(_windows(episodes, self.window, None)) @ self.weights


def fit_clone(
    episodes: Episodes,
    *,
    window: int = 1,
    view: Callable[[Float[Tensor, "b d"]], Float[Tensor, "b d"]] | None = None,
    seed: int = 0,
) -> Clone:
    """Fit a clone to demonstrations.

    Args:
        episodes: Demonstrations.
        window: Number of observations that it sees.
        view: Applied to every observation before it is used, in fitting and in rollouts. Default: none.
        seed: Random seed of the features and of the choice of rows.

    Raises:
        DataError: There are fewer than 50 steps.
    """
    inputs, actions = _windows(episodes, window, view), episodes.actions.double()
    if len(inputs) < 50:
        raise DataError(f"{len(inputs)} steps are too few for a regression. Record more demonstrations.")
    rows = torch.randperm(len(inputs), generator=stream(seed, "clone rows"))[:ROWS]
    features = _features(inputs[rows], view, episodes.observed.vector.shape[1], window, seed)
    x = features.of_viewed(inputs[rows])
    gram = x.T @ x / len(rows)
    # the linear part is hardly penalised, so that linear laws, with exact fixed points, are found exactly
    linear = torch.arange(len(gram)) <= inputs.shape[1]
    gram += torch.diag(torch.where(linear, 1e-9, RIDGE) * torch.diag(gram).mean())
    weights = torch.linalg.solve(gram, x.T @ actions[rows] / len(rows))
    return Clone(weights, features, window, actions.amin(dim=0), actions.amax(dim=0))


@dataclass(frozen=True)
class _Features:
    scale: MinMax
    directions: Float[Tensor, "i f"]
    offsets: Float[Tensor, " f"]
    view: Callable[[Tensor], Tensor] | None
    width: int

    def __call__(self, windows: Float[Tensor, "b i"]) -> Float[Tensor, "b f"]:
        if self.view is not None:
            windows = torch.cat([self.view(part) for part in windows.split(self.width, dim=-1)], dim=-1)
        return self.of_viewed(windows)

    def of_viewed(self, windows: Float[Tensor, "b i"]) -> Float[Tensor, "b f"]:
        z = self.scale.normalize(windows)
        hidden = torch.relu(z @ self.directions + self.offsets)
        return torch.cat([torch.ones_like(z[..., :1]), z, hidden], dim=-1)


def _features(inputs: Tensor, view: Callable[[Tensor], Tensor] | None, width: int, window: int, seed: int) -> _Features:
    rng = stream(seed, "clone features")
    count = inputs.shape[1]
    directions = torch.randn(count, FEATURES, generator=rng, dtype=torch.float64) / count**0.5 * 2
    offsets = torch.randn(FEATURES, generator=rng, dtype=torch.float64)
    return _Features(MinMax.fit(inputs), directions, offsets, view, width)


def _windows(episodes: Episodes, window: int, view: Callable[[Tensor], Tensor] | None) -> Float[Tensor, "rows i"]:
    seen = episodes.observed.vector.double()
    seen = seen if view is None else view(seen)
    begins = episodes.starts[owners(episodes.lengths)]
    rows = torch.arange(len(seen))
    return torch.cat([seen[torch.maximum(rows - back, begins)] for back in range(window - 1, -1, -1)], dim=-1)
