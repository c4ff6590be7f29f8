"""Compiled functions, with a fallback to eager execution.

`torch.compile` fuses the operations between matrix products; on a GPU it also launches the whole function as one CUDA
graph. It needs a C++ compiler on a CPU and Triton on a GPU, takes ten seconds to a minute at the first call of each
shape (less if PyTorch's cache on disk has the result), and changes the rounding of the last bits.
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

P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)
MOST = 64
"""Limit on the number of compilations of one function, for different shapes."""


def compiled(function: Callable[P, R], *, device: torch.device) -> Callable[P, R]:
    """A function compiled as one graph for a type of device, separately for each shape of its inputs.

    On a GPU the next call overwrites the returned tensors: copy what is needed for longer.
    """
    on_gpu = device.type == "cuda"
    mode = "reduce-overhead" if on_gpu else None
    # PyTorch declares no complete type for it
    by_torch = cast(Any, torch).compile
    fast: Callable[P, R] = by_torch(function, fullgraph=True, dynamic=False, mode=mode, **_limits(by_torch))
    if not on_gpu:
        return fast

    def with_new_step(*args: P.args, **kwargs: P.kwargs) -> R:
        # without it, a call keeps the outputs of earlier calls alive
        torch.compiler.cudagraph_mark_step_begin()
        return fast(*args, **kwargs)

    return with_new_step


class WithFallback(Generic[P, R]):
    """A compiled function that is replaced by its eager version once compilation fails.

    Attributes:
        fast: Function that is compiled at its first call; `None` after a failure.
        plain: Eager function with the same result.
        what: Name of the function in the warning, for example "the loss".
    """

    def __init__(self, fast: Callable[P, R], plain: Callable[P, R], *, what: str) -> None:
        self.fast: Callable[P, R] | None = fast
        self.plain = plain
        self.what = what

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the compiled function, or of the eager one."""
        if (fast := self.fast) is not None:
            try:
                return fast(*args, **kwargs)
            except _failures() as error:
                self._give_up(error)
        return self.plain(*args, **kwargs)

    def _give_up(self, error: BaseException) -> None:
        # blocks of variants fail in several threads; one warning is enough
        warned, self.fast = self.fast is None, None
        if not warned:
            warnings.warn(
                f"{self.what} could not be compiled and is evaluated operation by operation instead: "
                f"{_first_line(error)}",
                CompileWarning,
                stacklevel=3,
            )


def with_compiled_networks(module: Module) -> Module | None:
    """A copy of a module, with shared parameters, whose networks are compiled at their first calls.

    `None` if the module contains no `ChunkNetwork`.
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
    """A network whose calls are compiled; `encode`, called once per plan, is not."""

    def __init__(self, network: ChunkNetwork) -> None:
        super().__init__(network.ports)
        self.network = network
        device = next(network.parameters()).device
        self.call = WithFallback(compiled(network.forward, device=device), network.forward, what="a network")

    def encode(self, observation: Tensor) -> Tensor:
        return self.network.encode(observation)

    def forward(self, chunk: Tensor, times: Tensor, memory: Tensor) -> Tensor:
        # samplers of several steps use the outputs of earlier calls
        out = self.call(chunk, times, memory)
        return out.clone() if out.device.type == "cuda" else out

    def blank(self, memory: Tensor) -> Tensor:
        return self.network.blank(memory)


@cache
def _limits(by_torch: Any) -> dict[str, Any]:
    """Options that give each compiled function its own limit, so that a process can run more than eight trainings.

    PyTorch before 2.13 has one limit for all functions, which is raised instead.
    """
    if "isolate_recompiles" in signature(by_torch).parameters:
        return {"isolate_recompiles": True, "recompile_limit": MOST}
    import torch._dynamo.config as settings

    settings.recompile_limit = max(settings.recompile_limit, MOST)
    return {}


@cache
def _failures() -> tuple[type[Exception], ...]:
    """Exceptions that PyTorch raises if it cannot compile; those of the function itself are not caught."""
    # importing PyTorch's compiler takes as long as importing PyTorch
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, CppWrapperCodegenError, InvalidCxxCompiler, OperatorIssue

    inductor = (CppCompileError, CppWrapperCodegenError, InvalidCxxCompiler, OperatorIssue)
    return TorchDynamoException, FailOnRecompileLimitHit, *inductor


def _first_line(error: BaseException) -> str:
    """The first line of a message that can be several pages long."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= 200 else f"{line[:200]} …"
