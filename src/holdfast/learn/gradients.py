"""Losses with their gradients, eager or compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from ..models import ChunkModel
from ..nn import WithFallback, compiled
from ..types import Batch

Parameters = dict[str, Tensor]

Loss = Callable[..., Tensor]
"""(parameters, further inputs) → a loss, or the losses of several variants; gradients are those of the sum."""

Differentiated = Callable[..., tuple[Tensor, list[Tensor]]]
"""Arguments of a `Loss` → its value, and its contiguous gradients in the order of the parameters."""


def gradients_of(
    model: ChunkModel, precision: str = "float32", *, compiled_on: torch.device | None = None
) -> Differentiated:
    """Function (parameters, batch, draws) → a model's loss at those parameters, and its gradients."""

    def loss(parameters: Parameters, batch: Batch, draws: Any) -> Tensor:
        with torch.autocast(batch.chunk.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            # no model ties weights, and searching for ties takes a tenth of a step
            return cast(Tensor, functional_call(model, parameters, (batch, draws), tie_weights=False))

    return differentiated(loss, compiled_on=compiled_on)


def differentiated(loss: Loss, *, to_compile: Loss | None = None, compiled_on: torch.device | None) -> Differentiated:
    """Function of a loss and its gradients; `to_compile` is the same loss in a form that compiles better."""
    plain = partial(_differentiated, loss)
    if compiled_on is None:
        return plain
    # the backward pass is compiled at its first run, so it belongs to what may fail
    return WithFallback(partial(_copied, compiled(to_compile or loss, device=compiled_on)), plain, what="the loss")


def _differentiated(loss: Loss, parameters: Parameters, *inputs: Any) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: value.detach().requires_grad_(True) for name, value in parameters.items()}
    with torch.enable_grad():
        value = loss(leaves, *inputs)
        gradients = torch.autograd.grad(value.sum(), list(leaves.values()))
    # the fused optimiser ignores strides
    return value.detach(), [gradient.contiguous() for gradient in gradients]


def _copied(loss: Loss, parameters: Parameters, *inputs: Any) -> tuple[Tensor, list[Tensor]]:
    """As `_differentiated`, for a loss whose memory the next call overwrites; gradients are consumed before that."""
    value, gradients = _differentiated(loss, parameters, *inputs)
    return value.clone(), gradients
