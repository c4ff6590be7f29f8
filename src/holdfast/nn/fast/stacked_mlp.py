"""The two MLPs evaluated at stacked parameters `[v, …]`, with fast first derivatives."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from ..mlp import FilmMlp, FilmMlpNet
from ..network import ChunkNetwork, sinusoidal
from ..residual import ResidualMlp, ResidualMlpNet

Weights = Mapping[str, Tensor]
"""Parameters by their names in the network, each with a leading axis of variants."""

Evaluate = Callable[[Weights, Tensor, Tensor, Tensor], Tensor]
"""(weights, chunk [v, b, h, n], times [v, b, t], condition [v, b, c]) → [v, b, h n]."""

SATURATED = 20.0
"""Mish is the identity above this value in float32."""


def evaluation(network: ChunkNetwork) -> Evaluate | None:
    """A function that evaluates a network at stacked parameters; `None` for networks without one."""
    match network:
        case FilmMlpNet(options=options):
            return partial(_film, options)
        case ResidualMlpNet(options=options):
            return partial(_residual, options)
        case _:
            return None


def _film(options: FilmMlp, weights: Weights, chunk: Tensor, times: Tensor, condition: Tensor) -> Tensor:
    smooth = options.activation == "mish"
    modulating = torch.cat([*_embedded(_mish, options.embedding, weights, times), condition], dim=-1)
    hidden = torch.cat([chunk.flatten(2), condition], dim=-1)
    for index in range(len(options.widths)):
        entered = _linear(weights, f"layers.{index}", hidden)
        hidden = applied(_Modulated, entered, _linear(weights, f"films.{index}", modulating), smooth)
    out = _linear(weights, "head", hidden)
    if options.linear_skip:
        out = out + _linear(weights, "skip", condition)
    return out.tanh() if options.bounded else out


def _residual(options: ResidualMlp, weights: Weights, chunk: Tensor, times: Tensor, condition: Tensor) -> Tensor:
    modulating = torch.cat([*_embedded(silu, options.embedding, weights, times), condition], dim=-1)
    hidden = _linear(weights, "enter", torch.cat([chunk.flatten(2), condition], dim=-1))
    for index in range(options.blocks):
        modulation = _linear(weights, f"blocks.{index}.film", modulating)
        scale, shift = modulation[..., : options.width], modulation[..., options.width :]
        normed = layer_norm(hidden, (options.width,))
        inner = silu(_linear(weights, f"blocks.{index}.expand", normed * (1 + scale)) + shift)
        hidden = hidden + _linear(weights, f"blocks.{index}.contract", inner)
    normed = layer_norm(hidden, (options.width,)) * weights["norm.weight"][:, None] + weights["norm.bias"][:, None]
    return _linear(weights, "head", normed)


def _embedded(activation: Callable[[Tensor], Tensor], size: int, weights: Weights, times: Tensor) -> list[Tensor]:
    """The embedding of the times, `[v, b, size]`; empty if there are no times."""
    if not times.shape[-1]:
        return []
    waves = sinusoidal(times.flatten(0, 1), size).view(*times.shape[:2], -1)
    return [_linear(weights, "embed.layers.2", activation(_linear(weights, "embed.layers.0", waves)))]


def _linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    return applied(_Linear, values, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _mish(values: Tensor) -> Tensor:
    return applied(_Mish, values)


def applied(function: Any, *inputs: Any) -> Tensor:
    """Apply an autograd function; PyTorch declares no type for `apply`."""
    return cast(Tensor, function.apply(*inputs))


class _Linear(torch.autograd.Function):
    """x Wᵀ + b of each variant; the gradient of W has the memory layout of W, as the fused optimiser requires.

    Under autocast the products of both passes use its precision; gradients have the precision of their inputs.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.precisions, ctx.biased, device = (values.dtype, weight.dtype), bias is not None, values.device.type
        if torch.is_autocast_enabled(device):
            low = torch.get_autocast_dtype(device)
            values, weight, bias = values.to(low), weight.to(low), None if bias is None else bias.to(low)
        ctx.save_for_backward(values, weight)
        return torch.bmm(values, weight.mT) if bias is None else torch.baddbmm(bias[:, None], values, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (values, weight), (values_type, weight_type) = ctx.saved_tensors, ctx.precisions
        return (
            torch.bmm(gradient, weight).to(values_type) if ctx.needs_input_grad[0] else None,
            torch.bmm(gradient.mT, values).to(weight_type),
            gradient.sum(1, dtype=weight_type) if ctx.biased else None,
        )


class _Mish(torch.autograd.Function):
    """Mish, with its derivative computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        value, slope = mish_and_slope(values)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * ctx.saved_tensors[0]


class _Modulated(torch.autograd.Function):
    """(1 + γ) ⊙ act(z) + β for concatenated [γ, β]; β of width 1 is the published defect."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, modulation: Tensor, smooth: bool) -> Tensor:
        width = values.shape[-1]
        value, slope = mish_and_slope(values) if smooth else (values.relu(), (values > 0).to(values))
        ctx.save_for_backward(value, slope, modulation)
        return torch.add(value, modulation[..., width:]).addcmul_(value, modulation[..., :width])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        value, slope, modulation = ctx.saved_tensors
        width = value.shape[-1]
        of_modulation = torch.empty_like(modulation)
        torch.mul(gradient, value, out=of_modulation[..., :width])
        shared = modulation.shape[-1] == width + 1 != 2 * width
        of_modulation[..., width:] = gradient.sum(-1, keepdim=True) if shared else gradient
        return torch.addcmul(gradient, gradient, modulation[..., :width]).mul_(slope), of_modulation, None


def mish_and_slope(z: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Mish and its derivative, with one exponential and without a logarithm.

        mish = z tanh(log(1 + eᶻ)) = z t,   mish' = t + 4 z e (e + 1) / (n + 2)²
        t = n / (n + 2),   n = e (e + 2),   e = eᶻ

    Misra 2019 (arXiv 1908.08681), eq. 1, with tanh(log(1 + e)) = ((1 + e)² − 1) / ((1 + e)² + 1).

    >>> value, slope = mish_and_slope(torch.tensor([0.0, 50.0]))
    >>> value.tolist(), slope.tolist()
    ([0.0, 50.0], [0.6000000238418579, 1.0])
    """
    # 2^x is three times faster than e^x here
    power = (z * (1 / math.log(2))).clamp_max_(SATURATED / math.log(2)).exp2_()
    tanh = (power + 2).mul_(power)
    below = tanh + 2
    tanh.div_(below)
    slope = (power + 1).mul_(power).div_(below.square_()).mul_(z)
    slope = torch.add(tanh, slope, alpha=4)
    return tanh.mul_(z), slope
