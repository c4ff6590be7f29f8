"""Learned tokenizers: their quantisers, and the training and evaluation of their perceptrons."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import MissingExtraError


@runtime_checkable
class Updates(Protocol):
    """Number, size and rate of the updates of a fit."""

    @property
    def updates(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


@contextmanager
def globally_seeded(rng: torch.Generator, device: torch.device) -> Generator[None, None, None]:
    """Seed PyTorch's global generator with the initial seed of `rng`, and restore it afterwards.

    Initial weights use it, as do packages that accept no generator.
    """
    # torch declares no complete types for these
    untyped: Any = torch
    with untyped.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        untyped.manual_seed(rng.initial_seed())
        yield


def quantisers() -> Any:
    """The package `vector-quantize-pytorch`, an extra without types."""
    try:
        import vector_quantize_pytorch as package  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtraError("vector_quantize_pytorch", extra="tokens") from error
    return cast(Any, package)


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLUs between them; initial weights come from PyTorch's global generator."""
    layers = list[nn.Module]()
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def layers_of(name: str, *sizes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a fitted `perceptron`.

    >>> layers_of("net", 3, 4)
    {'net.0.weight': (4, 3), 'net.0.bias': (4,)}
    """
    shapes = dict[str, tuple[int, ...]]()
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        # the layers between them are ReLUs
        shapes |= {f"{name}.{2 * place}.weight": (outputs, inputs), f"{name}.{2 * place}.bias": (outputs,)}
    return shapes


def run_perceptron(weights: Mapping[str, Tensor], name: str, x: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
    """Output of a fitted perceptron with weights `<name>.<layer>.weight` and `.bias`, in the dtype of `x`.

    >>> net = perceptron(3, 4, 2)
    >>> x = torch.linspace(-1, 1, 6).view(2, 3)
    >>> weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    >>> torch.allclose(run_perceptron(weights, "net", x), net(x))
    True
    """
    places = sorted({int(key.split(".")[1]) for key in weights if key.startswith(f"{name}.")})
    for place in places:
        if place:
            x = x.relu()
        x = x @ weights[f"{name}.{place}.weight"].to(x).T + weights[f"{name}.{place}.bias"].to(x)
    return x


def weights_of(networks: Mapping[str, nn.Module], dtype: torch.dtype) -> dict[str, Tensor]:
    """Fitted weights `<network>.<layer>.weight` and `.bias`, for `run_perceptron`."""
    return {f"{name}.{key}": t.cpu().to(dtype) for name, net in networks.items() for key, t in net.state_dict().items()}


def train_on(
    chunks: Float[Tensor, "n h w"],
    loss: Callable[[Float[Tensor, "b h w"]], Float[Tensor, ""]],
    parameters: list[nn.Parameter],
    options: Updates,
    *,
    rng: torch.Generator,
    on_step: Callable[[int], None],
) -> None:
    """Minimise a loss by Adam on batches drawn with replacement."""
    adam = torch.optim.Adam(parameters, lr=options.learning_rate)
    for done in range(1, options.updates + 1):
        rows = torch.randint(len(chunks), (options.batch_size,), generator=rng)
        adam.zero_grad()
        cast(Any, loss(chunks[rows.to(chunks.device)])).backward()
        cast(Any, adam).step()
        on_step(done)
