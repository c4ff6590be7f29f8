"""Convolutions along the steps of a chunk, as matrix products where these are faster on a CPU.

    y_t = c + Σ_j W_j x_{t·stride + j − p},     p = ⌊kernel / 2⌋, zero padding at both ends

PyTorch's kernels are made for large batches of long signals. Inside a U-Net a chunk can be four steps long, and a
single plan is one chunk: PyTorch then unpacks it into columns of four numbers, and reorders large weights at every
call, which in a gradient takes as long as the products. On a CPU the following are used instead; they are equal up to
rounding.

    few rows (chunks × steps)    one product [x_{t−p} … x_{t+p}] · W, which reads the weights once, in order
    many weights, with gradient  the same; for few steps, one product per tap j over the steps it reaches (with 4 steps
                                 and 5 taps, a third of the single product would be zeros)
    otherwise                    PyTorch's convolution

The thresholds were measured (AVX-512, one thread). Names and shapes of the parameters are those of `torch.nn`.
"""

from jaxtyping import Float
from torch import Tensor, is_grad_enabled, nn, stack
from torch.nn.functional import linear, pad

FEW_ROWS = 32
FEW_STEPS = 8
MANY_WEIGHTS = 2**21


def rows_of(x: Float[Tensor, "b n t"], kernel: int, stride: int = 1) -> Float[Tensor, "b s row"]:
    """The inputs of each output of a convolution, concatenated: `row` is n · kernel."""
    if kernel == 1 and stride == 1:
        return x.mT
    windows = pad(x, (kernel // 2, kernel // 2)).unfold(-1, kernel, stride)
    return windows.transpose(1, 2).flatten(2)


def by_rows(
    x: Float[Tensor, "b n t"], weight: Float[Tensor, "m n k"], bias: Float[Tensor, " m"] | None, *, stride: int = 1
) -> Float[Tensor, "b m s"]:
    """A convolution as one matrix product."""
    return linear(rows_of(x, weight.shape[-1], stride), weight.flatten(1), bias).mT


def folded(given: Float[Tensor, "b t four"]) -> Float[Tensor, "b m s"]:
    """Sum the contributions of each step to the four outputs it reaches, of twice as many steps; `four` is m · 4."""
    parts = given.view(*given.shape[:2], -1, 4)
    earlier, later = pad(parts[..., 3], (0, 0, 1, 0))[:, :-1], pad(parts[..., 0], (0, 0, 0, 1))[:, 1:]
    # even and odd steps alternate
    return stack([parts[..., 1] + earlier, parts[..., 2] + later], dim=2).flatten(1, 2).mT


def by_taps(
    x: Float[Tensor, "b n t"], weight: Float[Tensor, "m n k"], bias: Float[Tensor, " m"] | None
) -> Float[Tensor, "b m t"]:
    """A convolution of stride 1 as one matrix product per tap."""
    # steps first, so that those a tap reaches are contiguous; unbound and stacked, so that gradients have the layout of
    # `x` and `weight`: with other layouts elementwise kernels are ten times slower, and a fused optimiser is wrong
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
    """A convolution with an odd kernel and zero padding that keeps the number of steps."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride=stride, padding=kernel // 2)  # pyright: ignore[reportUnknownMemberType]

    def forward(self, input: Tensor) -> Tensor:  # named as in the base class
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


class Upsampling(nn.ConvTranspose1d):
    """Upsampling by two: a transposed convolution of stride 2 and kernel 4.

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
