"""Every error that Holdfast raises on purpose.

    HoldfastError
    ├── DataError        (ValueError)   demonstrations that cannot be used: NaN, unequal lengths, empty episodes
    ├── ShapeError       (ValueError)   an array whose shape does not fit the rest
    ├── RecipeError      (ValueError)   options that contradict one another
    ├── UnknownNameError (LookupError)  a name outside a closed list; the message lists the known ones
    ├── SynthesisError   (ValueError)   a linearisation that no feedback can stabilise
    ├── DivergedError    (ArithmeticError) a training whose loss is no longer finite
    ├── LikelihoodError  (NotImplementedError) a likelihood asked of a model that has none
    ├── MissingExtraError (ImportError) an optional dependency that is not installed
    ├── Interrupted                     Ctrl-C during a training whose checkpoint is written (`holdfast.learn`)
    ├── RunError         (ValueError)   a run folder that is incomplete, damaged or of another version
    └── OutputError      (OSError)      an output folder that must not be written to

and one warning: CompileWarning, of what is slower than it was asked to be.

A message says what was expected, what came and the way out.
"""

from collections.abc import Iterable

__all__ = [
    "CompileWarning",
    "DataError",
    "DivergedError",
    "HoldfastError",
    "LikelihoodError",
    "MissingExtraError",
    "OutputError",
    "RecipeError",
    "RunError",
    "ShapeError",
    "SynthesisError",
    "UnknownNameError",
]


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose."""


class CompileWarning(UserWarning):
    """Something could not be compiled, and is computed operation by operation instead."""


class DataError(HoldfastError, ValueError):
    """Demonstrations that cannot be used as they are."""


class ShapeError(HoldfastError, ValueError):
    """An array whose shape does not fit the rest."""


class RecipeError(HoldfastError, ValueError):
    """Options that contradict one another."""


class DivergedError(HoldfastError, ArithmeticError):
    """A training whose loss or parameters are no longer finite."""


class LikelihoodError(HoldfastError, NotImplementedError):
    """A likelihood asked of a model that has none."""


class SynthesisError(HoldfastError, ValueError):
    """A linearisation that no feedback can stabilise."""


class RunError(HoldfastError, ValueError):
    """A run folder that is incomplete, damaged or of another version."""


class OutputError(HoldfastError, OSError):
    """An output folder that must not be written to."""


class MissingExtraError(HoldfastError, ImportError):
    """An optional dependency that is not installed.

    >>> str(MissingExtraError("gym_pusht", extra="pusht"))
    "the package gym_pusht is not installed. Install it with: pip install 'holdfast[pusht]'"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"the package {package} is not installed. Install it with: pip install 'holdfast[{extra}]'")
        self.parts = (package, extra)

    def __reduce__(self) -> tuple[object, ...]:
        return _missing_extra, self.parts


class UnknownNameError(HoldfastError, LookupError):
    """A name outside a closed list.

    >>> str(UnknownNameError("system", "quadrotr", ["linear", "quadrotor2d"]))
    "unknown system 'quadrotr'. Known: linear, quadrotor2d."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.parts = (kind, name, tuple(known))
        super().__init__(f"unknown {kind} {name!r}. Known: {', '.join(sorted(self.parts[2]))}.")

    def __reduce__(self) -> tuple[object, ...]:
        # pickled by its parts, as worker processes hand it on: its message alone does not make it again
        return UnknownNameError, self.parts


def _missing_extra(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(package, extra=extra)
