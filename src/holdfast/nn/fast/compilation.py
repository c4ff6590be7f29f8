"""Functions that PyTorch compiles, and what is called in their place where it cannot.

`torch.compile` fuses what lies between the matrix products of a function; on a graphics card it also launches all of
it as one CUDA graph. It asks for a C++ compiler on a processor and for Triton on a card, takes ten seconds to a minute
at the first call of each shape (less where PyTorch still has the result on disk), and rounds otherwise in the last
bits.
"""

import copy
import warnings
from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from ...errors import CompileWarning
from ..network import ChunkNetwork

__all__ = ["OrPlain", "compiled", "with_compiled_networks"]

P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)
MOST = 64
"""How often something may be compiled anew, for other shapes."""


def compiled(function: Callable[P, R], *, device: torch.device) -> Callable[P, R]:
    """A function compiled as one graph for the device's kind, each shape of its inputs for itself.

    On a graphics card what it returns is written over by its next call: copy what must outlast it.
    """
    on_card = device.type == "cuda"
    mode = "reduce-overhead" if on_card else None
    # PyTorch declares no full type for it
    by_torch = cast(Any, torch).compile
    fast: Callable[P, R] = by_torch(function, fullgraph=True, dynamic=False, mode=mode, **_limits(by_torch))
    if not on_card:
        return fast

    def begun_anew(*args: P.args, **kwargs: P.kwargs) -> R:
        # without it, a call holds on to what the calls before returned, for want of knowing that nobody reads it
        torch.compiler.cudagraph_mark_step_begin()
        return fast(*args, **kwargs)

    return begun_anew


class OrPlain(Generic[P, R]):
    """A compiled function until compiling fails, and the plain one from then on.

    Attributes:
        fast: What is compiled at its first call.
        plain: What returns the same without being compiled.
        what: What is said not to be compiled: "the loss".
    """

    def __init__(self, fast: Callable[P, R], plain: Callable[P, R], *, what: str) -> None:
        self.fast: Callable[P, R] | None = fast
        self.plain = plain
        self.what = what

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What either returns."""
        if (fast := self.fast) is not None:
            try:
                return fast(*args, **kwargs)
            except _failures() as error:
                self._give_up(error)
        return self.plain(*args, **kwargs)

    def _give_up(self, error: BaseException) -> None:
        # blocks of variants come here from several threads; one line is enough
        told, self.fast = self.fast is None, None
        if not told:
            warnings.warn(
                f"{self.what} could not be compiled and is evaluated operation by operation instead: {_said(error)}",
                CompileWarning,
                stacklevel=3,
            )


def with_compiled_networks(module: Module) -> Module | None:
    """A copy of a module, its parameters shared, whose networks of chunks are compiled at their first calls.

    `None` if it has none.
    """
    if not any(isinstance(part, ChunkNetwork) for part in module.modules()):
        return None
    ready = copy.deepcopy(module, {id(value): value for value in module.parameters()})
    for parent in list(ready.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ChunkNetwork):
                setattr(parent, name, _CompiledNetwork(child))
    return ready


class _CompiledNetwork(ChunkNetwork):
    """A network whose calls are compiled; encoding a window, once a plan, is not worth it."""

    def __init__(self, network: ChunkNetwork) -> None:
        super().__init__()
        self.ports = network.ports
        self.network = network
        device = next(network.parameters()).device
        self.call = OrPlain(compiled(network.forward, device=device), network.forward, what="a network")

    def encode(self, observation: Tensor) -> Tensor:
        """As the network's own."""
        return self.network.encode(observation)

    def forward(self, chunk: Tensor, times: Tensor, memory: Tensor) -> Tensor:
        """As the network's own."""
        # samplers of several steps look back at what earlier calls returned
        out = self.call(chunk, times, memory)
        return out.clone() if out.device.type == "cuda" else out

    def blank(self, memory: Tensor) -> Tensor:
        """As the network's own."""
        return self.network.blank(memory)


@cache
def _limits(by_torch: Any) -> dict[str, Any]:
    """What keeps PyTorch from giving up after eight trainings of one process: a count for each thing compiled.

    Before 2.13 it counts all as one; that limit is raised then.
    """
    if "isolate_recompiles" in signature(by_torch).parameters:
        return {"isolate_recompiles": True, "recompile_limit": MOST}
    import torch._dynamo.config as of_all

    of_all.recompile_limit = max(of_all.recompile_limit, MOST)
    return {}


@cache
def _failures() -> tuple[type[Exception], ...]:
    """What PyTorch raises where it cannot compile; what the function itself raises stays an error."""
    # importing PyTorch's compiler takes as long as importing PyTorch: only who compiles pays for it
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, CppWrapperCodegenError, InvalidCxxCompiler, OperatorIssue

    of_the_compiler = (CppCompileError, CppWrapperCodegenError, InvalidCxxCompiler, OperatorIssue)
    return TorchDynamoException, FailOnRecompileLimitHit, *of_the_compiler


def _said(error: BaseException) -> str:
    """The first line of a message that can be pages long."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= 200 else f"{line[:200]} …"
