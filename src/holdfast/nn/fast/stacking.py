"""Networks evaluated at stacked parameters: one batched matrix product per layer for all variants.

Training (`for_vmap`): `torch.vmap` evaluates the loss of one policy for a stack of policies. For the MLPs this is slow:
caching the condition for samplers turns one product into two with padded gradients, and Mish is slow in PyTorch's
kernels. The two MLPs therefore have their own rule under `vmap`, with the arithmetic of `holdfast.nn.mlp` and
`holdfast.nn.residual` up to the order of sums. Other networks are unchanged.

Sampling (`stacked_network`): one network whose rows belong to the variants in turn.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.func import functional_call

from ...errors import RecipeError
from ..network import ChunkNetwork, InputChunks, OutputChunks, Times
from .stacked_mlp import Evaluate, applied, evaluation


def for_vmap(network: ChunkNetwork) -> ChunkNetwork:
    """An equal network that is fast under `torch.vmap` over parameters, if there is one; else the network itself.

    The fast one has first derivatives only.
    """
    evaluate = evaluation(network)
    return network if evaluate is None else _UnderVmap(network, evaluate)


def stacked_network(networks: Sequence[ChunkNetwork]) -> ChunkNetwork:
    """One network for rows `[v · b]`, those of each of several networks of equal shape in turn.

    Raises:
        RecipeError: Their shapes differ.
    """
    return _StackedNetwork(networks)


class _UnderVmap(ChunkNetwork):
    """A network with the parameters of another, evaluated for all variants at once under `vmap`."""

    def __init__(self, network: ChunkNetwork, evaluate: Evaluate) -> None:
        super().__init__(network.ports)
        self.evaluate = evaluate
        for name, child in network.named_children():
            self.add_module(name, child)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b c"]:
        """The flattened window: caching is useless if every call has other weights."""
        return observation.flatten(1)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b c"]) -> OutputChunks:
        weights = dict(self.named_parameters())
        out = applied(_AllVariants, self.evaluate, tuple(weights), chunk, times, memory, *weights.values())
        return out.view(-1, self.ports.horizon, self.ports.n_out)


class _StackedNetwork(ChunkNetwork):
    """Networks of equal shape with stacked parameters; a batch holds the rows of each in turn."""

    def __init__(self, networks: Sequence[ChunkNetwork]) -> None:
        super().__init__(networks[0].ports)
        self.count = len(networks)
        parts = [dict(network.named_parameters()) for network in networks]
        if any({n: p.shape for n, p in part.items()} != {n: p.shape for n, p in parts[0].items()} for part in parts):
            raise RecipeError("stacked networks must agree in every shape. Run those that differ separately.")
        self.weights = {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}
        self.evaluate = evaluation(networks[0])
        self.encodes, self.calls = _Method(networks[0], "encode"), _Method(networks[0], "forward")

    def encode(self, observation: Float[Tensor, "b o d"]) -> Tensor:
        rows = self._rows(observation)
        return rows.flatten(2).flatten(0, 1) if self.evaluate else self._mapped(self.encodes, rows).flatten(0, 1)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b ..."]) -> OutputChunks:
        rows = [self._rows(value) for value in (chunk, times, memory)]
        out = self.evaluate(self.weights, *rows) if self.evaluate else self._mapped(self.calls, *rows)
        return out.reshape(-1, self.ports.horizon, self.ports.n_out)

    def _rows(self, values: Tensor) -> Tensor:
        return values.reshape(self.count, len(values) // self.count, *values.shape[1:])

    def _mapped(self, part: nn.Module, *rows: Tensor) -> Tensor:
        weights = {f"network.{name}": value for name, value in self.weights.items()}
        mapped: Any = torch.vmap(partial(functional_call, part))
        return cast(Tensor, mapped(weights, rows))


class _Method(nn.Module):
    """A method of a network as a module with the same names of parameters, for `functional_call`."""

    def __init__(self, network: ChunkNetwork, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.network, self.name)(*inputs)


class _AllVariants(torch.autograd.Function):
    """An operation whose `vmap` rule evaluates all variants at once; autograd differentiates the rule."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        raise NotImplementedError("a stacked network is called under torch.vmap only.")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: Any, output: Any) -> None:
        """Save nothing: autograd differentiates the `vmap` rule."""

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[Any, ...], evaluate: Evaluate, names: tuple[str, ...], *values: Tensor
    ) -> tuple[Tensor, int]:
        count = int(info.batch_size)
        chunk, times, condition, *weights = (
            value.expand(count, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip(values, in_dims[2:], strict=True)
        )
        return evaluate(dict(zip(names, weights, strict=True)), chunk, times, condition), 0
