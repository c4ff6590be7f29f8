"""Blocks of variants: stacked parameters, optimiser states and batches, and one update for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call

from ..models import ChunkModel
from ..nn import ChunkNetwork, ResidualMlp, for_vmap
from ..policy import build_model
from ..recipe import Recipe, Training
from ..types import Batch, Observation
from .dataset import TrainingSet
from .gradients import Differentiated, Loss, Parameters, differentiated
from .optimise import Moments, apply_update
from .training import TrainState
from .variants_batches import Batches, Stack, batches_of, draws_like


@dataclass(frozen=True)
class Rates:
    """Adjacent variants with equal rates; `trees` are views of parameters, average and moments, and update counts."""

    options: Training
    start: int
    stop: int
    trees: tuple[list[Tensor], ...]

    def update(self, gradients: Sequence[Tensor], step: int) -> None:
        """AdamW and the moving average, from the gradients of the whole block."""
        own = [gradient[self.start : self.stop] for gradient in gradients]
        apply_update(*self.trees, gradients=own, step=step, options=self.options)


@dataclass(frozen=True)
class Block:
    """Stacked trainings, updated in place; `failed` is the first update with a loss that was not finite, or -1."""

    members: tuple[int, ...]
    model: ChunkModel
    differentiated: Differentiated
    batches: Batches
    parameters: Parameters
    average: Parameters
    first: Parameters
    second: Parameters
    losses: Float[Tensor, " v"]
    failed: Int[Tensor, " v"]
    rates: tuple[Rates, ...]

    def advance(self, start: int, stop: int) -> None:
        """Updates from one step to another, without synchronising with the device."""
        for step in range(start, stop):
            losses, gradients = self.differentiated(self.parameters, self.batches.at(step, self.model))
            for rates in self.rates:
                rates.update(gradients, step)
            self.losses.copy_(losses)
            lost = (self.failed < 0) & ~losses.isfinite()
            self.failed.masked_fill_(lost, step)

    def state(self, index: int, step: int) -> TrainState:
        """Copy of the training state of one variant."""
        place = self.members.index(index)
        count = torch.tensor(float(step), device=self.losses.device)

        def of(stack: Parameters) -> Parameters:
            return {name: value[place].clone() for name, value in stack.items()}

        return TrainState(
            step=step,
            parameters=of(self.parameters),
            average=of(self.average),
            moments=Moments(of(self.first), of(self.second), {name: count.clone() for name in self.parameters}),
            loss=self.losses[place].clone(),
        )


def _gradients_of(recipe: Recipe, device: torch.device, *, compiled: bool) -> Differentiated:
    """Function (stacked parameters, `Stack`) → loss of each variant, and the gradients of the sum.

    Threads may not share one: a call replaces the parameters of its model.
    """
    precision = recipe.training.precision
    loss = _stacked_loss(_model_for(recipe).to(device), precision)
    if not compiled:
        return differentiated(loss, compiled_on=None)
    # the compiler fuses what `for_vmap` writes out by hand, and cannot trace through it
    to_compile = _stacked_loss(build_model(recipe.policy).to(device), precision)
    return differentiated(loss, to_compile=to_compile, compiled_on=device)


def _stacked_loss(model: ChunkModel, precision: str) -> Loss:
    def losses(leaves: Parameters, stack: Stack) -> Float[Tensor, " v"]:
        # torch.vmap takes tensors only
        further = {name: values for name, values in stack.further.items() if values is not None}

        def one(weights: Parameters, observation: Tensor, chunk: Tensor, mask: Tensor, *tensors: Tensor) -> Tensor:
            draws = draws_like(stack.template, iter(tensors))
            given = dict(zip(further, tensors[len(stack.draws) :], strict=True))
            batch = Batch(observation=Observation(state=observation), chunk=chunk, mask=mask, **given)
            return functional_call(model, weights, (batch, draws), tie_weights=False)

        mapped: Any = torch.vmap(one)
        with torch.autocast(stack.chunk.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return cast(
                Tensor, mapped(leaves, stack.observation, stack.chunk, stack.mask, *stack.draws, *further.values())
            )

    return losses


def block_of(
    members: tuple[int, ...],
    recipes: Sequence[Recipe],
    data: Sequence[TrainingSet],
    states: Sequence[TrainState],
    *,
    compiled: bool,
) -> Block:
    """Block of the given variants, from their separate states."""
    own = [recipes[index] for index in members]
    begun = [states[index] for index in members]

    def of(parts: Sequence[Parameters]) -> Parameters:
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    parameters, average = of([state.parameters for state in begun]), of([state.average for state in begun])
    first, second = of([state.moments.first for state in begun]), of([state.moments.second for state in begun])
    device = data[0].device
    return Block(
        members=members,
        model=build_model(own[0].policy).to(device),
        differentiated=_gradients_of(own[0], device, compiled=compiled),
        batches=batches_of(own, [data[index] for index in members]),
        parameters=parameters,
        average=average,
        first=first,
        second=second,
        losses=torch.stack([state.loss.to(device) for state in begun]),
        failed=torch.full((len(members),), -1, device=device),
        rates=_groups(own, [parameters, average, first, second], step=begun[0].step),
    )


def _model_for(recipe: Recipe) -> ChunkModel:
    """Structure of a recipe's model, with a network that is fast under `vmap` if there is one."""
    model, network = build_model(recipe.policy), getattr(recipe.policy.model, "network", None)
    # the derivative of Mish needs more precision than bfloat16 has
    precise = recipe.training.precision == "float32" or isinstance(network, ResidualMlp)
    if precise and recipe.policy.model.first_order:
        model.network = for_vmap(cast(ChunkNetwork, model.network))
    return model


def rates_of(options: Training) -> tuple[float, float, float, int]:
    """Settings of the update: variants with equal ones share one call of the optimiser."""
    return options.learning_rate, options.weight_decay, options.ema_decay, options.warmup_steps


def _groups(recipes: Sequence[Recipe], stacks: Sequence[Parameters], *, step: int) -> tuple[Rates, ...]:
    found, start = list[Rates](), 0
    for _, group in groupby([recipe.training for recipe in recipes], key=rates_of):
        options = list(group)
        stop = start + len(options)
        trees = [[value[start:stop] for value in stack.values()] for stack in stacks]
        count = [torch.tensor(float(step), device=value.device) for value in trees[0]]
        found.append(Rates(options[0], start, stop, (*trees, count)))
        start = stop
    return tuple(found)
