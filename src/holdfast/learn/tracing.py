"""One training at many checkpoints: its current weights, and averages of them that differ only in their memory.

    θ̄_{t+1} = (1 − β_t) θ̄_t + β_t θ_{t+1}

All averages follow the same training, so that they differ only in the averaging.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from ..errors import RecipeError
from ..policy import Planner
from ..recipe import Recipe
from ..seeding import stream
from .dataset import TrainingSet
from .gradients import Parameters
from .optimise import Moments, blend
from .training import TrainState, held_out_loss, initial_state, planner_of, train

LIVE = "live"
"""Name of the weights that are not averaged."""
FARTHER = 1000
"""Factor by which the end of a schedule is delayed to keep its rate constant."""
WINDOWS = 512


@dataclass(frozen=True)
class SteadyDecay:
    """θ̄ = Σ_i d^(t−i) θ_i / Σ_i d^(t−i), that is β_t = (1 − d) / (1 − d^(t+1)).

    The sum is over the weights after each update, without the initial ones, which a long memory would retain throughout
    a short training. The average of the training itself forgets them by another rule, (1 + t) / (10 + t), under which
    decays above 0.99 are equal for the first thousand updates.

    Attributes:
        decay: Decay d; the memory is 1 / (1 − d) updates.
    """

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise RecipeError(f"expected a decay in [0, 1), got {self.decay}.")


@dataclass(frozen=True)
class PolynomialDecay:
    """β_t = (1 + t)^−power: a memory that grows with the training.

    Block et al. 2023 (arXiv 2310.11428) average with a polynomially decaying rate; its power is not
    given there, and ⅔ is our choice.

    Attributes:
        power: Power from 0 (no average) to 1 (mean of all weights so far).
    """

    power: float = 2 / 3

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise RecipeError(f"expected a power from 0 to 1, got {self.power}.")


Averaging: TypeAlias = SteadyDecay | PolynomialDecay


def decay_at(averaging: Averaging, step: int) -> float:
    """1 − β_t, the weight of the old average in update `step`.

    >>> [decay_at(PolynomialDecay(1.0), step) for step in (0, 1, 3)]
    [0.0, 0.5, 0.75]
    >>> [round(decay_at(SteadyDecay(0.5), step), 4) for step in (0, 1, 30)]
    [0.0, 0.3333, 0.5]
    """
    match averaging:
        case SteadyDecay():
            # 1 − β, without cancellation
            decay = averaging.decay
            return decay * (1 - decay**step) / (1 - decay ** (step + 1))
        case PolynomialDecay():
            return 1 - (1 + step) ** -averaging.power


def name_of(averaging: Averaging) -> str:
    """Name of an average in rows and figures.

    >>> name_of(SteadyDecay(0.99)), name_of(PolynomialDecay())
    ('EMA 0.99', 'EMA t^-0.67')
    """
    match averaging:
        case SteadyDecay():
            return f"EMA {averaging.decay:g}"
        case PolynomialDecay():
            return f"EMA t^-{averaging.power:.2g}"


@dataclass(frozen=True)
class Snapshot:
    """One set of weights at a checkpoint, with its losses.

    Attributes:
        planner: Planner with these weights, which it does not share.
        training_loss: Loss on windows of the training episodes; the same windows and noise at every checkpoint.
        held_out_loss: Loss on windows of held-out episodes.
        unexplained: Unexplained fraction of the variance of held-out actions; see `unexplained`.
    """

    planner: Planner
    training_loss: float
    held_out_loss: float
    unexplained: float


@dataclass(frozen=True)
class Checkpoint:
    """Training after `step` updates.

    Attributes:
        step: Number of updates done.
        snapshots: Snapshot of the current weights (`live`) and of each average, by name.
        state: Training state; its tensors change with the next update.
    """

    step: int
    snapshots: Mapping[str, Snapshot]
    state: TrainState


def trace(
    recipe: Recipe,
    data: TrainingSet,
    held_out: TrainingSet,
    *,
    at: Sequence[int],
    averagings: Sequence[Averaging],
    windows: int = WINDOWS,
) -> Iterator[Checkpoint]:
    """Train from the recipe's initial weights and yield checkpoints at the given updates; ends after the last one.

    Args:
        recipe: Recipe of the training; the average that it defines is not shown.
        data: Training set.
        held_out: Held-out episodes in the scales of `data`.
        at: Ascending numbers of updates.
        averagings: Averages of the weights.
        windows: Number of windows of each set for a loss.

    Raises:
        RecipeError: Checkpoints are not ascending or beyond the training, or an averaging is given twice.
        DivergedError: The loss is not finite.
    """
    _check(recipe, at, averagings)

    def traced() -> Iterator[Checkpoint]:
        first, wanted = initial_state(recipe, data), set(at)
        averages = [(one, {name: value.clone() for name, value in first.parameters.items()}) for one in averagings]
        for state in train(recipe, data, first):
            for averaging, average in averages:
                newest = [state.parameters[name] for name in average]
                blend(list(average.values()), newest, decay_at(averaging, state.step - 1))
            if state.step in wanted:
                weights = {LIVE: state.parameters} | {name_of(one): average for one, average in averages}
                snapshots = {
                    name: _snapshot(recipe, data, held_out, state, own, windows) for name, own in weights.items()
                }
                yield Checkpoint(state.step, snapshots, state)
            if state.step == at[-1]:
                return

    return traced()


def hold_rate(recipe: Recipe, *, updates: int) -> Recipe:
    """The recipe with a learning rate that stays constant after the warm-up, for the given number of updates.

    The end of the cosine is moved a thousand times farther away, so that the rate falls by less than three millionths.
    The caller stops the training.
    """
    return replace(recipe, training=replace(recipe.training, steps=FARTHER * updates))


def along_update(
    recipe: Recipe,
    data: TrainingSet,
    held_out: TrainingSet,
    state: TrainState,
    *,
    scales: Sequence[float],
    windows: int = WINDOWS,
) -> Iterator[tuple[float, Snapshot]]:
    """Weights θ + a (θ' − θ) around a state, where θ' are the weights after one more update.

    The direction is the actual step, with AdamW's preconditioning. The state is not changed.
    """
    here = _copied(state)
    following = next(train(recipe, data, _copied(state)), None)
    if following is None:
        raise RecipeError(f"the training ended at update {state.step}: there is no further step.")
    for scale in scales:
        weights = {name: here.parameters[name].lerp(end, scale) for name, end in following.parameters.items()}
        yield scale, _snapshot(recipe, data, held_out, here, weights, windows)


@torch.no_grad()
def unexplained(recipe: Recipe, data: TrainingSet, planner: Planner, *, windows: int = WINDOWS) -> float:
    """E|π(o) − u*|² / Var u*, averaged over action coordinates: the imitation error of the first action.

    π(o) is the first primitive controller of a sampled chunk, at the expert's state. Constant action coordinates are
    left out. Every call uses the same windows and noise.
    """
    rng = stream(recipe.seed, "unexplained", device=data.device)
    now = torch.randint(len(data), (windows,), generator=rng, device=rng.device)
    batch = data.batch(now, sigma=0.0, rng=rng)
    code = planner.model.sample(planner.model_input(batch.observation), rng=rng, prefix=None)
    like = torch.zeros(0, dtype=torch.float64, device=code.device)
    expert, policy = (planner.controllers(chunk[:, :1], like=like).at(0) for chunk in (batch.chunk, code))
    missed = (policy(expert.states) - expert.actions).square().mean(0)
    variance = expert.actions.var(0, correction=0)
    moves = variance > 1e-12
    return float((missed[moves] / variance[moves]).mean())


def _snapshot(
    recipe: Recipe, data: TrainingSet, held_out: TrainingSet, state: TrainState, weights: Parameters, windows: int
) -> Snapshot:
    shown = replace(state, average=weights)
    planner = planner_of(recipe, data, shown)
    return Snapshot(
        planner=planner,
        training_loss=held_out_loss(recipe, data, shown, windows=windows),
        held_out_loss=held_out_loss(recipe, held_out, shown, windows=windows),
        unexplained=unexplained(recipe, held_out, planner, windows=windows),
    )


def _copied(state: TrainState) -> TrainState:
    def copied(values: Parameters) -> Parameters:
        return {name: value.clone() for name, value in values.items()}

    moments = state.moments
    return replace(
        state,
        parameters=copied(state.parameters),
        average=copied(state.average),
        moments=Moments(copied(moments.first), copied(moments.second), copied(moments.count)),
    )


def _check(recipe: Recipe, at: Sequence[int], averagings: Sequence[Averaging]) -> None:
    steps = recipe.training.steps
    rising = all(before < after for before, after in itertools.pairwise(at))
    if not at or not rising or at[0] < 1 or at[-1] > steps:
        raise RecipeError(f"expected ascending checkpoints from 1 to {steps}, got {list(at)}.")
    names = [name_of(one) for one in averagings]
    if len(set(names)) < len(names):
        raise RecipeError(f"expected each average once, got {', '.join(names)}.")
