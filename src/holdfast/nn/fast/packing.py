"""Weights packed for fast inference on a CPU.

Planning a single chunk is bound by the memory bandwidth of reading the weights. Packed once in the order in which the
CPU multiplies by them, they are read in one stream; in bfloat16 they are half as large. Sums, norms and all operations
between the products stay in float32.

Packed weights are copies. Where the weights changed since they were packed, with gradients enabled, and for many rows
in float32, packed layers compute what the original layers compute.
"""

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import RecipeError
from ..convolve import Convolution, Upsampling, folded, rows_of
from ..modulations import Modulations

Precision = Literal["float32", "bfloat16"]
Module = TypeVar("Module", bound=nn.Module)

USUAL_ROWS, MOST_ROWS = 16, 128
"""Rows that weights are packed for (packed for one, four rows take twice as long), and limit of the speed-up."""


def can_be_packed(module: nn.Module) -> bool:
    """Whether PyTorch can pack weights, and those of the module are float32 on a CPU."""
    values = list(module.parameters())
    float_on_cpu = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in values)
    # the operators are undocumented: other versions of PyTorch may name them differently
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
    return float_on_cpu and torch.backends.mkldnn.is_available() and has_operators


def packs_bfloat16() -> bool:
    """Whether this CPU has the instructions (AVX-512) with which PyTorch packs weights in bfloat16."""
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return ask is not None and bool(ask())


def packed(module: Module, precision: Precision = "float32") -> Module:
    """A copy of a module, with shared parameters, whose linear layers and convolutions have packed weights as well.

    Raises:
        RecipeError: This CPU cannot multiply by weights in bfloat16.
    """
    if precision == "bfloat16" and not packs_bfloat16():
        raise RecipeError(
            "weights cannot be packed in bfloat16 here: this processor lacks the instructions for it (AVX-512). Pack "
            "them in float32."
        )
    ready = copy.deepcopy(module, {id(value): value for value in module.parameters()})
    for parent in list(ready.modules()):
        for name, layer in parent.named_children():
            match layer:
                case Convolution():
                    setattr(parent, name, PackedConvolution(layer, precision))
                case Upsampling():
                    setattr(parent, name, PackedUpsampling(layer, precision))
                case Modulations():
                    setattr(parent, name, PackedModulations(layer, precision))
                case nn.Linear():
                    setattr(parent, name, PackedLinear(layer, precision))
                case _:
                    pass
    return ready


def unpacked(module: Module) -> Module:
    """A copy of a module, with shared parameters, whose layers are those from which `packed` made others."""
    packs = [part.pack for part in module.modules() if isinstance(part, tuple(_ORIGINAL))]
    ready = copy.deepcopy(module, {id(value): value for value in (*module.parameters(), *packs)})
    for part in ready.modules():
        part.__class__ = _ORIGINAL.get(type(part), type(part))
    return ready


class Pack:
    """Packed weights `[m, n]` of a product.

    Args:
        source: Parameter that is packed.
        bias: Bias of the product.
        precision: Precision of the packed weights.
        form: The weights `[m, n]` as a function of the parameter.
    """

    def __init__(
        self,
        source: Tensor,
        bias: Tensor | None,
        precision: Precision,
        form: Callable[[Tensor], Float[Tensor, "m n"]] = torch.clone,
    ) -> None:
        self.sources = [value for value in (source, bias) if value is not None]
        self.packed_as = [_state(value) for value in self.sources]
        self.again = partial(Pack, precision=precision, form=form)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        operations: Any = torch.ops.mkldnn
        self.multiply = operations._linear_pointwise.default
        weight = form(source.detach()).to(self.dtype).contiguous()
        self.weight = operations._reorder_linear_weight(weight, USUAL_ROWS)
        self.bias = None if bias is None else bias.detach().to(self.dtype)

    def __call__(self, rows: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        if self.dtype == rows.dtype:
            return self.multiply(rows, self.weight, self.bias, "none", [], "")
        return self.multiply(rows.to(self.dtype), self.weight, self.bias, "none", [], "").to(rows.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pack":
        """Packed weights of the copied parameters."""
        source, *bias = (copy.deepcopy(value, memo) for value in self.sources)
        return self.again(source, bias[0] if bias else None)

    def takes(self, rows: int, source: Tensor) -> bool:
        """Whether a product with this number of rows and this parameter uses the packed weights."""
        wanted = not torch.is_grad_enabled() and (rows <= MOST_ROWS or self.dtype == torch.bfloat16)
        # another parameter takes its place where several networks are evaluated as one
        return wanted and source is self.sources[0] and self.packed_as == [_state(value) for value in self.sources]


def _state(value: Tensor) -> tuple[int, int]:
    """What changes when the values of a parameter are changed in place, or replaced."""
    return value.data_ptr(), 0 if value.is_inference() else value._version


def _flat(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def _flat_transposed(weight: Tensor) -> Tensor:
    return weight.flatten(1).mT


def _first_columns(count: int, weight: Tensor) -> Tensor:
    return weight[:, :count]


class PackedLinear(nn.Linear):
    """A linear layer with packed weights."""

    def __init__(self, layer: nn.Linear, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features)  # pyright: ignore[reportUnknownMemberType]
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight, layer.bias, precision)

    def forward(self, input: Tensor) -> Tensor:
        if self.pack.takes(math.prod(input.shape[:-1]), self.weight):
            return self.pack(input)
        return super().forward(input)


class PackedModulations(Modulations):
    """Modulations with packed weights for the times; the observations' part is computed once per plan."""

    def __init__(self, layer: Modulations, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.n_embedded, layer.in_features - layer.n_embedded, layer.out_features)
        self.weight, self.bias = layer.weight, layer.bias
        # there is nothing to pack for a family without generative times
        form = partial(_first_columns, layer.n_embedded)
        self.pack = Pack(layer.weight, None, precision, form) if layer.n_embedded else None

    def of_times(self, times: Tensor) -> Tensor:
        if self.pack is not None and self.pack.takes(len(times), self.weight):
            return self.pack(times)
        return super().of_times(times)


class PackedConvolution(Convolution):
    """A convolution with packed weights."""

    def __init__(self, layer: Convolution, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_channels, layer.out_channels, layer.kernel_size[0], stride=layer.stride[0])
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight, layer.bias, precision, _flat)

    def forward(self, input: Tensor) -> Tensor:
        if self.pack.takes(input.shape[0] * input.shape[-1] // self.stride[0], self.weight):
            return self.pack(rows_of(input, self.kernel_size[0], self.stride[0])).mT
        return super().forward(input)


class PackedUpsampling(Upsampling):
    """Upsampling with packed weights."""

    def __init__(self, layer: Upsampling, precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_channels)
        self.weight, self.bias = layer.weight, layer.bias
        self.pack = Pack(layer.weight, None, precision, _flat_transposed)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.pack.takes(input.shape[0] * input.shape[-1], self.weight) and self.bias is not None:
            return folded(self.pack(input.mT)) + self.bias[:, None]
        return super().forward(input, output_size)


_ORIGINAL: dict[type[nn.Module], type[nn.Module]] = {
    PackedLinear: nn.Linear,
    PackedModulations: Modulations,
    PackedConvolution: Convolution,
    PackedUpsampling: Upsampling,
}
