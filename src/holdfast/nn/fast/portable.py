"""Networks whose operations do not depend on the number of rows, for graphs of any batch size."""

import copy
from typing import TypeVar

from torch import Tensor, nn

from ..convolve import Convolution, Upsampling
from ..modulations import Modulations
from .packing import PackedConvolution, PackedLinear, PackedModulations, PackedUpsampling

Module = TypeVar("Module", bound=nn.Module)


class _Convolution(Convolution):
    def forward(self, input: Tensor) -> Tensor:
        return nn.Conv1d.forward(self, input)


class _Upsampling(Upsampling):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return nn.ConvTranspose1d.forward(self, input, output_size)


# each has the parameters of its replacement, and differs in `forward`
_PORTABLE: dict[type[nn.Module], type[nn.Module]] = {
    Convolution: _Convolution,
    PackedConvolution: _Convolution,
    Upsampling: _Upsampling,
    PackedUpsampling: _Upsampling,
    PackedLinear: nn.Linear,
    PackedModulations: Modulations,
}


_PACKED = (PackedConvolution, PackedUpsampling, PackedLinear, PackedModulations)


def portable(module: Module) -> Module:
    """A copy of a module, with shared parameters, whose layers are PyTorch's own, also where they were packed."""
    shared = [*module.parameters(), *(part.pack for part in module.modules() if isinstance(part, _PACKED))]
    ready = copy.deepcopy(module, {id(value): value for value in shared})
    for part in ready.modules():
        part.__class__ = _PORTABLE.get(type(part), type(part))
    return ready
