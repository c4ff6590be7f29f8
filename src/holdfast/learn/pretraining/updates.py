"""Pre-training as a generator of states: the caller logs, saves and stops.

The random stream of update i is (seed, "update", i), so that a resumed training draws what an uninterrupted one draws.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from ...errors import DivergedError
from ...nn.vision.pretraining import Draws, PretrainingModel
from ...seeding import stream
from ..gradients import Differentiated, Parameters, differentiated
from ..optimise import train_step, zero_moments
from ..pictures import ahead
from ..training import TrainState
from .frames import PICTURES, PictureSet
from .recipe import Pretraining

HELD_OUT = 512
"""Number of held-out pictures whose loss is computed."""


def pretraining_model(recipe: Pretraining, parameters: Mapping[str, Tensor] | None = None) -> PretrainingModel:
    """The model of a recipe, with its first weights or with others; the global generator is not changed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(stream(recipe.seed, "weights").initial_seed())
    try:
        model = recipe.method.build(recipe.vision)
    finally:
        torch.set_rng_state(before)
    if parameters is not None:
        model.load_state_dict({**model.state_dict(), **{name: value.clone() for name, value in parameters.items()}})
    return model.eval()


def first_state(recipe: Pretraining, device: torch.device | str = "cpu") -> TrainState:
    """State before the first update."""
    model = pretraining_model(recipe)
    parameters = {name: value.detach().clone().to(device) for name, value in model.named_parameters()}
    return TrainState(
        step=0,
        parameters=parameters,
        average={name: value.clone() for name, value in parameters.items()},
        moments=zero_moments(parameters),
        loss=torch.tensor(float("nan"), device=device),
    )


def states(recipe: Pretraining, pictures: PictureSet, state: TrainState) -> Iterator[TrainState]:
    """Train from a state to the end of the recipe; yields the state after each update.

    Successive states share their tensors, which are written in place.

    Raises:
        DivergedError: The loss is not finite.
    """
    device = state.loss.device
    model = pretraining_model(recipe).to(device)
    gradients = _gradients(model, recipe.training.precision)
    with ahead({PICTURES: pictures.training}, _rows(recipe, pictures, state.step)) as coming:
        while coming is not None and state.step < recipe.training.steps:
            shown = coming.next(device)[PICTURES][:, 0]
            draws = model.draw(len(shown), rng=stream(recipe.seed, "noise", state.step, device=device))
            loss = train_step(
                gradients,
                state.parameters,
                state.moments,
                state.average,
                shown,
                draws,
                step=state.step,
                options=recipe.training,
            )
            if not bool(loss.isfinite()):
                raise DivergedError(
                    f"the loss of update {state.step} is {float(loss)}. The last checkpoint is kept. Lower the "
                    f"learning rate (now {recipe.training.learning_rate:g})."
                )
            state = replace(state, step=state.step + 1, loss=loss, waited=coming.waited)
            yield state


def _rows(recipe: Pretraining, pictures: PictureSet, step: int) -> Iterator[Tensor]:
    """Rows of the pictures of an update and of all later ones."""
    for later in range(step, recipe.training.steps):
        yield pictures.draw(recipe.training.batch_size, stream(recipe.seed, "update", later))[:, None]


def _gradients(model: PretrainingModel, precision: str) -> Differentiated:
    def loss(parameters: Parameters, pictures: Tensor, draws: Draws) -> Tensor:
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return cast(Tensor, functional_call(model, cast(Any, parameters), (pictures, draws), tie_weights=False))

    return differentiated(loss, compiled_on=None)


@torch.no_grad()
def held_out_loss(recipe: Pretraining, pictures: PictureSet, state: TrainState) -> float | None:
    """Loss of the averaged weights on held-out pictures, always the same with the same noise; `None` without any.

    Pictures are taken in batches of the training's size, because the loss of some methods depends on it.
    """
    if pictures.held_out is None:
        return None
    device, rng = state.loss.device, stream(recipe.seed, "held out")
    shown = pictures.sample(HELD_OUT, held_out=True, rng=rng)
    model = pretraining_model(recipe, state.average).to(device)
    size = min(recipe.training.batch_size, len(shown))
    losses = list[float]()
    for first in range(0, len(shown) // size * size, size):
        batch = shown[first : first + size]
        draws = model.draw(size, rng=rng)
        losses.append(float(model(batch.to(device), {name: value.to(device) for name, value in draws.items()})))
    return sum(losses) / len(losses)
