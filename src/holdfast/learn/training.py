"""Training as a generator of values: the caller logs, saves and stops.

    for state in train(recipe, data, initial_state(recipe)):
        ...

The randomness of update i is the stream (seed, "update", i), so a training that goes on from a checkpoint draws what an
uninterrupted one would have drawn: resuming needs no generator's state.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..errors import CompileWarning, DivergedError
from ..models import ChunkModel
from ..policy import Planner, build_model
from ..recipe import Recipe
from ..seeding import stream
from .dataset import TrainingSet
from .gradients import Differentiated, Parameters, gradients_of
from .optimise import Moments, train_step, zero_moments

__all__ = ["TrainState", "held_out_loss", "initial_state", "planner_of", "train", "train_to_end"]

CHECK_EVERY = 50
"""Updates between two looks at the loss where a look costs."""


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


def initial_state(recipe: Recipe, data: TrainingSet) -> TrainState:
    """First weights, drawn from the recipe's seed, where the data are; the global generator is left as it was."""
    seed = stream(recipe.seed, "weights").initial_seed()
    model, device = build_model(recipe.policy, seed=seed, tokenizer=data.tokenizer), data.device
    parameters = {name: value.detach().clone().to(device) for name, value in model.named_parameters()}
    return TrainState(
        step=0,
        parameters=parameters,
        average={name: value.clone() for name, value in parameters.items()},
        moments=zero_moments(parameters),
        loss=torch.tensor(float("nan"), device=device),
    )


def train(recipe: Recipe, data: TrainingSet, state: TrainState, *, compiled: bool = False) -> Iterator[TrainState]:
    """Updates from a state to the recipe's end; yields after each.

    The tensors of successive states are the same, written in place: copy what must outlast the next update.

    Args:
        recipe: What to train.
        data: On what.
        state: Where to begin.
        compiled: Compile the loss (`torch.compile`) at the first update, which takes up to a minute; the last bits
            are others then. A loss that cannot be compiled is not, and a `CompileWarning` says so.

    Raises:
        DivergedError: A loss that is not finite.
    """
    device = data.device
    model = build_model(recipe.policy, tokenizer=data.tokenizer).to(device)
    compiled_on = device if compiled and _compiles(data) else None
    differentiated = gradients_of(model, recipe.training.precision, compiled_on=compiled_on)
    while state.step < recipe.training.steps:
        loss = _update(recipe, data, model, differentiated, state)
        # asking a graphics card after every update would make it wait for the question
        if (loss.device.type == "cpu" or state.step % CHECK_EVERY == 0) and not bool(loss.isfinite()):
            raise _diverged(recipe, data, state.step, loss)
        state = replace(state, step=state.step + 1, loss=loss)
        yield state


def train_to_end(recipe: Recipe, data: TrainingSet) -> TrainState:
    """A whole training, for callers that want its last state only."""
    state = initial_state(recipe, data)
    for following in train(recipe, data, state):
        state = following
    return state


def _compiles(data: TrainingSet) -> bool:
    """Whether the loss is a fixed program; a line says so where it is not."""
    if data.tokenizer is not None:
        warnings.warn(
            "the loss of tokens looks at its numbers and cannot be compiled: it is evaluated operation by operation.",
            CompileWarning,
            stacklevel=3,
        )
    return data.tokenizer is None


def _update(
    recipe: Recipe, data: TrainingSet, model: ChunkModel, differentiated: Differentiated, state: TrainState
) -> torch.Tensor:
    options = recipe.training
    now, rng = _drawn(recipe, data, state.step)
    batch = data.batch(now, sigma=options.sigma_train, rng=rng, law=options.noise_law)
    draws = model.draw(batch.chunk.shape, rng=rng)
    return train_step(
        differentiated, state.parameters, state.moments, state.average, batch, draws, step=state.step, options=options
    )


def _drawn(recipe: Recipe, data: TrainingSet, step: int) -> tuple[torch.Tensor, torch.Generator]:
    """The rows of an update's windows, and the generator of what else it draws."""
    rng = stream(recipe.seed, "update", step, device=data.device)
    now = torch.randint(len(data), (recipe.training.batch_size,), generator=rng, device=rng.device)
    return now, rng


def _diverged(recipe: Recipe, data: TrainingSet, step: int, loss: torch.Tensor) -> DivergedError:
    now, _ = _drawn(recipe, data, step)
    ends = data.windows.lengths.cumsum(0)
    episodes = torch.searchsorted(ends, now, right=True)
    steps = now - (ends - data.windows.lengths)[episodes]
    places = ", ".join(f"{int(e)}:{int(t)}" for e, t in zip(episodes[:5], steps[:5], strict=True))
    return DivergedError(
        f"the loss of update {step} is {float(loss)}. Its batch holds {len(now)} windows, the first (episode:step) "
        f"{places}. The last checkpoint is kept. Lower the learning rate (now {recipe.training.learning_rate:g}), or "
        "look for extreme values with: holdfast inspect"
    )


@torch.no_grad()
def held_out_loss(recipe: Recipe, held_out: TrainingSet, state: TrainState, *, windows: int = 1024) -> float:
    """Loss of the averaged weights on windows of held-out episodes; the same windows and noise at every call."""
    rng = stream(recipe.seed, "held out", device=held_out.device)
    now = torch.randint(len(held_out), (windows,), generator=rng, device=rng.device)
    batch = held_out.batch(now, sigma=recipe.training.sigma_train, rng=rng, law=recipe.training.noise_law)
    model = planner_of(recipe, held_out, state).model
    return float(model.loss(batch, model.draw(batch.chunk.shape, rng=rng)))


def planner_of(recipe: Recipe, data: TrainingSet, state: TrainState) -> Planner:
    """The planner that a training state amounts to: its averaged weights with the data's scales."""
    model = build_model(recipe.policy, tokenizer=data.tokenizer)
    model.load_state_dict({name: value.clone() for name, value in state.average.items()})
    return Planner(
        recipe.policy,
        model.to(data.device).eval(),
        observation_scale=data.observation_scale,
        code_scale=data.code_scale,
    )
