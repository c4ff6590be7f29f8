"""Networks made ready for many calls with the same weights.

A plan of one chunk is bound by how fast its weights come from memory. Packed once in the order in which the processor
multiplies by them, they are read in one stream; in bfloat16 there are half as many bytes of them. Sums, norms and what
lies between the products stay float32.

A packed network is for planning on a processor with weights that stay as they are: packed ones follow no training.
Where gradients are asked for, and for many rows in float32, its layers answer as those that they were made of.
"""

import copy
import math
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..convolve import Convolution, Growth, folded, rows_of
from ..modulations import Modulations

__all__ = ["Precision", "can_be_packed", "packed"]

Precision = Literal["float32", "bfloat16"]
Module = TypeVar("Module", bound=nn.Module)

USUAL_ROWS, MOST_ROWS = 16, 128
"""What weights are packed for (for one row, they take twice as long at four), and where PyTorch is as fast."""


def can_be_packed(module: nn.Module) -> bool:
    """Whether PyTorch packs weights here, and the module's are on a processor and in single precision."""
    values = list(module.parameters())
    at_home = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in values)
    # the operators are PyTorch's own but not documented: another version may name them otherwise
    known = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    return at_home and torch.backends.mkldnn.is_available() and known


def packed(module: Module, precision: Precision = "float32") -> Module:
    """A copy of a module, its parameters shared, whose linear layers and convolutions hold packed weights besides.

    Args:
        module: On a processor, in single precision (`can_be_packed`).
        precision: Of the packed weights, and of what they are multiplied by.
    """
    # the parameters stand for their own copies
    ready = copy.deepcopy(module, {id(value): value for value in module.parameters()})
    for parent in list(ready.modules()):
        for name, layer in parent.named_children():
            match layer:
                case Convolution():
                    setattr(parent, name, PackedConvolution(layer, precision))
                case Growth():
                    setattr(parent, name, PackedGrowth(layer, precision))
                case Modulations():
                    setattr(parent, name, PackedModulations(layer, precision))
                case nn.Linear():
                    setattr(parent, name, PackedLinear(layer, precision))
                case _:
                    pass
    return ready


class Pack:
    """The weights `[m, n]` of a product, packed."""

    def __init__(self, weight: Float[Tensor, "m n"], bias: Tensor | None, precision: Precision) -> None:
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        operations: Any = torch.ops.mkldnn
        self.multiply = operations._linear_pointwise.default
        self.weight = operations._reorder_linear_weight(weight.detach().to(self.dtype).contiguous(), USUAL_ROWS)
        self.bias = None if bias is None else bias.detach().to(self.dtype)

    def __call__(self, rows: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        if self.dtype == rows.dtype:
            return self.multiply(rows, self.weight, self.bias, "none", [], "")
        return self.multiply(rows.to(self.dtype), self.weight, self.bias, "none", [], "").to(rows.dtype)

    def takes(self, rows: int) -> bool:
        """Whether the packed weights are the fast way for so many rows."""
        return not torch.is_grad_enabled() and (rows <= MOST_ROWS or self.dtype == torch.bfloat16)


class PackedLinear(nn.Linear):
    """A linear layer with packed weights besides its own."""

    def __init__(self, layer: nn.Linear, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features)  # pyright: ignore[reportUnknownMemberType]
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight, layer.bias, precision)

    def forward(self, input: Tensor) -> Tensor:
        """As the layer's own."""
        if self.pack.takes(math.prod(input.shape[:-1])):
            return self.pack(input)
        return super().forward(input)


class PackedModulations(Modulations):
    """Modulations whose share of the times is packed; the observations' is asked for once a plan."""

    def __init__(self, layer: Modulations, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.n_told, layer.in_features - layer.n_told, layer.out_features)
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight[:, : layer.n_told], None, precision)

    def told(self, times: Tensor) -> Tensor:
        """As the layer's own."""
        return self.pack(times) if self.pack.takes(len(times)) and self.n_told else super().told(times)


class PackedConvolution(Convolution):
    """A convolution with packed weights besides its own."""

    def __init__(self, layer: Convolution, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_channels, layer.out_channels, layer.kernel_size[0], stride=layer.stride[0])
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight.flatten(1), layer.bias, precision)

    def forward(self, input: Tensor) -> Tensor:
        """As the layer's own."""
        if self.pack.takes(input.shape[0] * input.shape[-1] // self.stride[0]):
            return self.pack(rows_of(input, self.kernel_size[0], self.stride[0])).mT
        return super().forward(input)


class PackedGrowth(Growth):
    """A growth with packed weights besides its own."""

    def __init__(self, layer: Growth, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_channels)
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight.flatten(1).mT, None, precision)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As the layer's own."""
        if self.pack.takes(input.shape[0] * input.shape[-1]) and self.bias is not None:
            return folded(self.pack(input.mT)) + self.bias[:, None]
        return super().forward(input, output_size)
