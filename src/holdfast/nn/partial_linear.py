"""A linear layer of several inputs, taken apart, so that what does not change between calls is computed once.

W [a, b] + c  =  W_a a  +  (W_b b + c)
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from .network import sinusoidal

__all__ = ["TimeEmbedding", "part_of"]


def part_of(layer: nn.Linear, values: Float[Tensor, "*b part"], *, start: int, bias: bool = False) -> Tensor:
    """What the inputs from number `start` on contribute to a layer's output; the bias comes with one of the parts."""
    weight = layer.weight[:, start : start + values.shape[-1]]
    return linear(values, weight, layer.bias if bias else None)


class TimeEmbedding(nn.Module):
    """Generative times → a vector of `size` numbers; of none, where there are no times."""

    def __init__(self, n_times: int, embedding: int, activation: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.size = embedding if n_times else 0
        inner = 4 * embedding
        layers = (nn.Linear(n_times * embedding, inner), activation, nn.Linear(inner, embedding)) if n_times else ()
        self.layers = nn.Sequential(*layers)

    def forward(self, times: Float[Tensor, "b n_times"]) -> Float[Tensor, "b size"]:
        """The embedding of each row of times."""
        return cast(Tensor, self.layers(sinusoidal(times, self.embedding)))
