"""Linear layers of concatenated inputs, computed in parts, so that constant parts are computed once.

W [a, b] + c  =  W_a a  +  (W_b b + c)
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from .network import Times, sinusoidal


def part_of(layer: nn.Linear, values: Float[Tensor, "*b part"], *, start: int, bias: bool = False) -> Tensor:
    """Contribution of the inputs from index `start` on to a layer's output; one of the parts includes the bias."""
    weight = layer.weight[:, start : start + values.shape[-1]]
    return linear(values, weight, layer.bias if bias else None)


class TimeEmbedding(nn.Module):
    """Generative times → a vector of `size` numbers, which is empty if there are no times."""

    def __init__(self, n_times: int, embedding: int, activation: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.size = embedding if n_times else 0
        inner = 4 * embedding
        layers = (nn.Linear(n_times * embedding, inner), activation, nn.Linear(inner, embedding)) if n_times else ()
        self.layers = nn.Sequential(*layers)

    def forward(self, times: Times) -> Float[Tensor, "b size"]:
        """The embedding of each row of times."""
        if self.size == 0:
            return times
        return cast(Tensor, self.layers(sinusoidal(times, self.embedding)))
