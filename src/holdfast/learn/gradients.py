"""A loss with its gradients, evaluated operation by operation or compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from ..models import ChunkModel
from ..nn import WithFallback, compiled
from ..types import Batch

__all__ = ["Differentiated", "Loss", "Parameters", "differentiated", "gradients_of"]

Parameters = dict[str, Tensor]

Loss = Callable[..., Tensor]
"""(parameters, anything else) → a loss, or the losses of several variants, whose gradients are those of their sum."""

Differentiated = Callable[..., tuple[Tensor, list[Tensor]]]
"""What a `Loss` takes → its value, and its gradients in the parameters' order, laid out in memory as they are."""


def gradients_of(
    model: ChunkModel, precision: str = "float32", *, compiled_on: torch.device | None = None
) -> Differentiated:
    """(parameters, batch, draws) → the model's loss at those parameters, and its gradients.

    Args:
        model: The structure of the model; its own parameters are not read.
        precision: Of the matrix products: "float32" or "bfloat16".
        compiled_on: Where the loss is compiled at its first call; nowhere if nothing is said.
    """

    def loss(parameters: Parameters, batch: Batch, draws: Any) -> Tensor:
        with torch.autocast(batch.chunk.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            # no model here ties weights, and looking for ties at every step costs a tenth of it
            return cast(Tensor, functional_call(model, parameters, (batch, draws), tie_weights=False))

    return differentiated(loss, compiled_on=compiled_on)


def differentiated(loss: Loss, *, to_compile: Loss | None = None, compiled_on: torch.device | None) -> Differentiated:
    """A loss with its gradients.

    Args:
        loss: As it is evaluated operation by operation.
        to_compile: The same, in a form that compiles better, if there is another.
        compiled_on: Where it is compiled at its first call; nowhere if nothing is said.
    """
    plain = partial(_differentiated, loss)
    if compiled_on is None:
        return plain
    # the backward pass is compiled when it first runs: it must be inside of what can fail
    return WithFallback(partial(_copied, compiled(to_compile or loss, device=compiled_on)), plain, what="the loss")


def _differentiated(loss: Loss, parameters: Parameters, *inputs: Any) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: value.detach().requires_grad_(True) for name, value in parameters.items()}
    with torch.enable_grad():
        value = loss(leaves, *inputs)
        gradients = torch.autograd.grad(value.sum(), list(leaves.values()))
    # the fused optimiser walks through memory, whatever the strides say
    return value.detach(), [gradient.contiguous() for gradient in gradients]


def _copied(loss: Loss, parameters: Parameters, *inputs: Any) -> tuple[Tensor, list[Tensor]]:
    """As `_differentiated`, for a loss whose memory the next call writes over; the gradients are used up by then."""
    value, gradients = _differentiated(loss, parameters, *inputs)
    return value.clone(), gradients
