"""Convolutions along the steps of a chunk, in the form that suits a processor.

    y_t = c + Σ_j W_j x_{t·stride + j − p},     p = ⌊kernel / 2⌋, zeros beyond both ends

PyTorch's kernels are made for long signals and many of them. A chunk that was halved twice has four steps, and a single
plan has one chunk: there they unpack it into columns of four numbers; and where the weights are many they reorder them
at every call, which in a gradient takes as long as the products. So on a processor, equal but for rounding,

    few rows (chunks × steps)    one product [x_{t−p} … x_{t+p}] · W: the weights are read once, as they lie
    many weights, with gradient  the same, or of few steps one product a tap j, over the steps that it reaches: of 4
                                 steps and 5 taps a third of the one product is zeros
    all else                     PyTorch's own

Where each begins was measured (AVX-512, one thread). The names and shapes of the parameters are those of `torch.nn`.
"""

from jaxtyping import Float
from torch import Tensor, is_grad_enabled, nn, stack
from torch.nn.functional import linear, pad

__all__ = ["FEW_ROWS", "Convolution", "Growth", "by_rows", "by_taps", "folded", "rows_of"]

FEW_ROWS = 32
FEW_STEPS = 8
MANY_WEIGHTS = 2**21


def rows_of(x: Float[Tensor, "b n t"], kernel: int, stride: int = 1) -> Float[Tensor, "b s row"]:
    """What each output of a convolution sees, side by side: `row` is n · kernel."""
    if kernel == 1 and stride == 1:
        return x.mT
    windows = pad(x, (kernel // 2, kernel // 2)).unfold(-1, kernel, stride)
    return windows.transpose(1, 2).flatten(2)


def by_rows(
    x: Float[Tensor, "b n t"], weight: Float[Tensor, "m n k"], bias: Float[Tensor, " m"] | None, *, stride: int = 1
) -> Float[Tensor, "b m s"]:
    """A convolution as one product."""
    return linear(rows_of(x, weight.shape[-1], stride), weight.flatten(1), bias).mT


def folded(given: Float[Tensor, "b t four"]) -> Float[Tensor, "b m s"]:
    """The sums of what steps give to the four that each of them reaches, twice as many steps; `four` is m · 4."""
    parts = given.view(*given.shape[:2], -1, 4)
    earlier, later = pad(parts[..., 3], (0, 0, 1, 0))[:, :-1], pad(parts[..., 0], (0, 0, 0, 1))[:, 1:]
    # even and odd steps in turn
    return stack([parts[..., 1] + earlier, parts[..., 2] + later], dim=2).flatten(1, 2).mT


def by_taps(
    x: Float[Tensor, "b n t"], weight: Float[Tensor, "m n k"], bias: Float[Tensor, " m"] | None
) -> Float[Tensor, "b m t"]:
    """A convolution of stride 1 as one product a tap."""
    # steps first, so that those a tap reaches lie together; taken apart and stacked, so that gradients lie as `x` and
    # `weight` do: elementwise kernels are ten times slower where layouts differ, and a fused optimiser is wrong
    steps = stack(x.unbind(-1))
    middle, count = weight.shape[-1] // 2, x.shape[-1]
    taps = [tap.contiguous() for tap in weight.unbind(-1)]
    total = linear(steps, taps[middle], bias)
    for offset in [*range(-middle, 0), *range(1, middle + 1)]:
        first, end = max(0, -offset), min(count, count - offset)
        if first < end:
            part = linear(steps[first + offset : end + offset], taps[middle + offset])
            total = total + pad(part, (0, 0, 0, 0, first, count - end))
    return total.permute(1, 2, 0)


class Convolution(nn.Conv1d):
    """A convolution with an odd kernel, as many zeros beyond both ends as it reaches."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride=stride, padding=kernel // 2)  # pyright: ignore[reportUnknownMemberType]

    def forward(self, input: Tensor) -> Tensor:  # the name is that of the class it replaces
        """`[b, n, t]` → `[b, m, t / stride]`."""
        if input.device.type != "cpu":
            return super().forward(input)
        steps, stride = input.shape[-1] // self.stride[0], self.stride[0]
        many = is_grad_enabled() and self.weight.numel() >= MANY_WEIGHTS
        if many and stride == 1 and input.shape[0] * steps > FEW_ROWS and steps <= FEW_STEPS:
            return by_taps(input, self.weight, self.bias)
        if many or input.shape[0] * steps <= FEW_ROWS:
            return by_rows(input, self.weight, self.bias, stride=stride)
        return super().forward(input)


class Growth(nn.ConvTranspose1d):
    """Twice as many steps: the transpose of a convolution of stride 2 and kernel 4.

    y_2t = c + W_1 x_t + W_3 x_{t−1},    y_2t+1 = c + W_2 x_t + W_0 x_{t+1}
    """

    def __init__(self, n: int) -> None:
        super().__init__(n, n, 4, stride=2, padding=1)  # pyright: ignore[reportUnknownMemberType]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """`[b, n, t]` → `[b, n, 2 t]`."""
        if input.device.type != "cpu" or input.shape[0] * input.shape[-1] > FEW_ROWS:
            return super().forward(input, output_size)
        grown = folded(linear(input.mT, self.weight.flatten(1).mT))
        return grown if self.bias is None else grown + self.bias[:, None]
