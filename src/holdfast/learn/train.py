"""Training as a generator of values: the caller logs, saves and stops.

    for state in train(recipe, data, initial_state(recipe)):
        ...

The randomness of update i is the stream (seed, "update", i), so a training that goes on from a checkpoint draws what an
uninterrupted one would have drawn: resuming needs no generator's state.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..models import ChunkModel
from ..policy import Planner, build_model
from ..recipe import Recipe
from ..seeding import stream
from .dataset import TrainingSet
from .optimise import Moments, Parameters, train_step, zero_moments

__all__ = ["TrainState", "held_out_loss", "initial_state", "planner_of", "train", "train_to_end"]


@dataclass(frozen=True)
class TrainState:
    """A training between two updates.

    Attributes:
        step: Updates done.
        parameters: The live parameters.
        average: Their exponential moving average, which is what is deployed.
        moments: AdamW's state.
        loss: Of the last update, before it; NaN before the first.
    """

    step: int
    parameters: Parameters
    average: Parameters
    moments: Moments
    loss: torch.Tensor


def initial_state(recipe: Recipe, *, device: torch.device | str = "cpu") -> TrainState:
    """First weights, drawn from the recipe's seed; the global generator is left as it was."""
    model = build_model(recipe.policy, seed=stream(recipe.seed, "weights").initial_seed())
    parameters = {name: value.detach().clone().to(device) for name, value in model.named_parameters()}
    return TrainState(
        step=0,
        parameters=parameters,
        average={name: value.clone() for name, value in parameters.items()},
        moments=zero_moments(parameters),
        loss=torch.tensor(float("nan")),
    )


def train(recipe: Recipe, data: TrainingSet, state: TrainState) -> Iterator[TrainState]:
    """Updates from a state to the recipe's end; yields after each.

    The tensors of successive states are the same, written in place: copy what must outlast the next update.
    """
    model = build_model(recipe.policy)
    while state.step < recipe.training.steps:
        state = replace(state, step=state.step + 1, loss=_update(recipe, data, model, state))
        yield state


def train_to_end(recipe: Recipe, data: TrainingSet) -> TrainState:
    """A whole training, for callers that want its last state only."""
    state = initial_state(recipe, device=data.observations.device)
    for following in train(recipe, data, state):
        state = following
    return state


def _update(recipe: Recipe, data: TrainingSet, model: ChunkModel, state: TrainState) -> torch.Tensor:
    options = recipe.training
    rng = stream(recipe.seed, "update", state.step, device=data.observations.device)
    now = torch.randint(len(data), (options.batch_size,), generator=rng, device=rng.device)
    batch = data.batch(now, sigma=options.sigma_train, rng=rng, law=options.noise_law)
    draws = model.draw(batch.chunk.shape, rng=rng)
    return train_step(
        model, state.parameters, state.moments, state.average, batch, draws, step=state.step, options=options
    )


@torch.no_grad()
def held_out_loss(recipe: Recipe, held_out: TrainingSet, state: TrainState, *, windows: int = 1024) -> float:
    """Loss of the averaged weights on windows of held-out episodes; the same windows and noise at every call."""
    rng = stream(recipe.seed, "held out", device=held_out.observations.device)
    now = torch.randint(len(held_out), (windows,), generator=rng, device=rng.device)
    batch = held_out.batch(now, sigma=recipe.training.sigma_train, rng=rng, law=recipe.training.noise_law)
    model = planner_of(recipe, held_out, state).model
    return float(model.loss(batch, model.draw(batch.chunk.shape, rng=rng)))


def planner_of(recipe: Recipe, data: TrainingSet, state: TrainState) -> Planner:
    """The planner that a training state amounts to: its averaged weights with the data's scales."""
    model = build_model(recipe.policy)
    model.load_state_dict({name: value.clone() for name, value in state.average.items()})
    return Planner(
        recipe.policy,
        model.to(data.observations.device).eval(),
        observation_scale=data.observation_scale,
        code_scale=data.code_scale,
    )
