"""Quick clones: regressions on the demonstrations that are fitted in a second and run, to test a cause in the data.

    a_t ≈ W [1, z_t, ReLU(V z_t + v)],    z_t the scaled window of observations

with fixed random V and v, and W by ridge regression (random features: Rahimi and Recht 2007). Two clones that differ
only in the data, or in what they observe, show what that difference is worth in closed loop. A clone that solves the
task shows that the demonstrations suffice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

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
FEWEST = 50
RIDGE = 1e-3

_cholesky = cast(Any, torch.linalg).cholesky  # torch's types of it are partial


View: TypeAlias = Callable[[Float[Tensor, "b d"]], Float[Tensor, "b d"]]


@dataclass
class Clone:
    """A regression policy that plans `steps` actions at once and executes all of them.

    Attributes:
        weights: W, for all actions of a plan.
        features: Maps windows `[b, o · d]` to the regression's inputs.
        window: Number of observations in a window.
        steps: Number of steps of a plan.
        low: Smallest demonstrated action.
        high: Largest demonstrated action.
        past: Window of the current episodes.
        plan: Remaining steps of the current plan.
    """

    weights: Float[Tensor, "f plan"]
    features: Callable[[Float[Tensor, "b i"]], Float[Tensor, "b f"]]
    window: int
    steps: int
    low: Float[Tensor, " m"]
    high: Float[Tensor, " m"]
    past: list[Tensor] = field(default_factory=lambda: list[Tensor]())
    plan: list[Tensor] = field(default_factory=lambda: list[Tensor]())

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.past.clear()
        self.plan.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The next action of the plan, within the range of the demonstrated ones."""
        self.past.append(observation.vector.double())
        del self.past[: -self.window]
        if not self.plan:
            seen = [self.past[0]] * (self.window - len(self.past)) + self.past
            planned = self.features(torch.cat(seen, dim=-1)) @ self.weights
            width = len(self.low)
            self.plan = [planned[..., at : at + width] for at in range(0, planned.shape[-1], width)]
        return self.plan.pop(0).clamp(self.low, self.high).to(state)

    def predict(self, episodes: Episodes) -> Float[Tensor, "rows m"]:
        """Its first action at every step of a data set, for what was observed until then."""
        planned = self.features(_windows(episodes, self.window, None)) @ self.weights
        return planned[:, : len(self.low)]


def fit_clone(episodes: Episodes, *, window: int = 1, view: View | None = None, steps: int = 1, seed: int = 0) -> Clone:
    """Fit a clone to demonstrations.

    Args:
        episodes: Demonstrations.
        window: Number of observations that it sees.
        view: Applied to every observation before it is used, in fitting and in rollouts. Default: none.
        steps: Number of steps of a plan; beyond the end of an episode its last action is repeated.
        seed: Random seed of the features and of the choice of rows.

    Raises:
        DataError: There are fewer than 50 steps.
    """
    inputs, plans = _windows(episodes, window, view), _plans(episodes, steps)
    if len(inputs) < FEWEST:
        raise DataError(f"{len(inputs)} steps are too few for a regression. Record more demonstrations.")
    rows = torch.randperm(len(inputs), generator=stream(seed, "clone rows"))[:ROWS]
    features = _features(inputs[rows], view, episodes.observed.vector.shape[1], seed)
    x = features.of_viewed(inputs[rows])
    weights = _ridge(x, plans[rows], linear=1 + inputs.shape[1])
    return Clone(weights, features, window, steps, *_range(episodes.actions.double()))


def _ridge(x: Float[Tensor, "rows f"], y: Float[Tensor, "rows k"], *, linear: int) -> Float[Tensor, "f k"]:
    gram = x.T @ x / len(x)
    # the linear part is hardly penalised, so that linear laws, with exact fixed points, are found exactly
    sizes = torch.where(torch.arange(len(gram)) < linear, 1e-9, RIDGE)
    gram += torch.diag(sizes * torch.diag(gram).mean())
    return torch.cholesky_solve(x.T @ y / len(x), _cholesky(gram))


def _range(values: Float[Tensor, "rows m"]) -> tuple[Tensor, Tensor]:
    return values.amin(dim=0), values.amax(dim=0)


def _plans(episodes: Episodes, steps: int) -> Float[Tensor, "rows plan"]:
    """The next actions of each row."""
    actions = episodes.actions.double()
    owner = owners(episodes.lengths)
    last = (episodes.starts + episodes.lengths - 1)[owner]
    rows = torch.arange(len(actions))
    return torch.cat([actions[torch.minimum(rows + ahead, last)] for ahead in range(steps)], dim=-1)


@dataclass(frozen=True)
class _Features:
    scale: MinMax
    directions: Float[Tensor, "i f"]
    offsets: Float[Tensor, " f"]
    view: View | None
    width: int

    def __call__(self, windows: Float[Tensor, "b i"]) -> Float[Tensor, "b f"]:
        if self.view is not None:
            parts = (windows[..., at : at + self.width] for at in range(0, windows.shape[-1], self.width))
            windows = torch.cat([self.view(part) for part in parts], dim=-1)
        return self.of_viewed(windows)

    def of_viewed(self, windows: Float[Tensor, "b i"]) -> Float[Tensor, "b f"]:
        z = self.scale.normalize(windows)
        hidden = torch.relu(z @ self.directions + self.offsets)
        return torch.cat([torch.ones_like(z[..., :1]), z, hidden], dim=-1)


def _features(inputs: Tensor, view: View | None, width: int, seed: int) -> "_Features":
    rng = stream(seed, "clone features")
    count = inputs.shape[1]
    directions = torch.randn(count, FEATURES, generator=rng, dtype=torch.float64) / count**0.5 * 2
    offsets = torch.randn(FEATURES, generator=rng, dtype=torch.float64)
    return _Features(MinMax.fit(inputs), directions, offsets, view, width)


def _windows(episodes: Episodes, window: int, view: View | None) -> Float[Tensor, "rows i"]:
    seen = episodes.observed.vector.double()
    seen = seen if view is None else view(seen)
    begins = episodes.starts[owners(episodes.lengths)]
    rows = torch.arange(len(seen))
    return torch.cat([seen[torch.maximum(rows - back, begins)] for back in range(window - 1, -1, -1)], dim=-1)
