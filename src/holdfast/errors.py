"""Every error that Holdfast raises on purpose.

    HoldfastError
    ├── DataError         (ValueError)           demonstrations that cannot be used: NaN, empty episodes, …
    ├── ShapeError        (ValueError)           an array whose shape does not match
    │   └── InterfaceError                       coordinates of other names or units than a policy was trained on
    ├── RecipeError       (ValueError)           options that are invalid or contradict one another
    ├── UnknownNameError  (LookupError)          a name that is not in a closed list; the message lists the known names
    ├── SynthesisError    (ValueError)           a linearisation that no feedback can stabilise
    ├── DivergedError     (ArithmeticError)      training whose loss is no longer finite
    ├── ActionError       (ArithmeticError)      an action of a policy that is not finite
    ├── LikelihoodError   (NotImplementedError)  a likelihood requested from a model that has none
    ├── ExportError       (ValueError)           a policy that cannot be exported
    ├── MissingExtraError (ImportError)          an optional dependency that is not installed
    ├── RunError          (ValueError)           a run folder that is incomplete, damaged or of another version
    ├── OutputError       (OSError)              an output folder that must not be overwritten
    ├── ServerError       (ConnectionError)      a policy server that cannot be reached, or that refuses a request
    ├── StoppedError      (RuntimeError)         a control loop that has stopped, or was closed
    ├── WorkerError       (RuntimeError)         a worker process that was ended from outside
    └── Interrupted                              a signal during training, after a checkpoint was written

Every warning is a HoldfastWarning:

    HoldfastWarning (UserWarning)
    ├── CompileWarning    a computation could not be compiled and runs more slowly
    ├── RunWarning        something about a run folder cannot be checked, or was damaged and set aside
    ├── CacheWarning      something kept from an earlier computation is damaged, or nothing can be kept
    ├── InterfaceWarning  a policy is given something else than what it was trained on
    ├── TimingWarning     a control loop ran out of its plan, or its clock jumped
    └── HeldWarning       a policy repeated its last action, because a new one would not be finite

Each message states what was expected, what was given and how to fix it.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches


class HoldfastError(Exception):
    """Base class of all errors that Holdfast raises on purpose."""


class HoldfastWarning(UserWarning):
    """Base class of all warnings of Holdfast; the command line prints them in one line."""


class CompileWarning(HoldfastWarning):
    """A function could not be compiled and runs uncompiled."""


class RunWarning(HoldfastWarning):
    """Something about a run folder cannot be checked, or was damaged and has been set aside."""


class CacheWarning(HoldfastWarning):
    """Something that was kept from an earlier computation is damaged, or nothing can be kept."""


class DataWarning(HoldfastWarning):
    """Something about a data set was assumed when it was read."""


class DamageWarning(DataWarning):
    """A data set is damaged and was read to report on it."""


class InterfaceWarning(HoldfastWarning):
    """A policy is given another order, rate, range or unit than what it was trained on."""


class HeldWarning(HoldfastWarning):
    """A policy repeated its last action, because a new one would not be finite."""


class TimingWarning(HoldfastWarning):
    """A control loop ran out of its plan, or its clock jumped."""


class DataError(HoldfastError, ValueError):
    """Demonstrations that cannot be used as they are."""


class ShapeError(HoldfastError, ValueError):
    """An array whose shape does not match what is expected."""


class RecipeError(HoldfastError, ValueError):
    """Options that are invalid or contradict one another."""


class DivergedError(HoldfastError, ArithmeticError):
    """Training whose loss or parameters are no longer finite."""


class ActionError(HoldfastError, ArithmeticError):
    """An action of a policy that is not finite; it was not handed out."""


class LikelihoodError(HoldfastError, NotImplementedError):
    """A likelihood requested from a model that has none."""


class ExportError(HoldfastError, ValueError):
    """A policy that cannot be exported, or whose graph plans something else than the policy."""


class InterfaceError(ShapeError):
    """A policy is given coordinates of other names or units than those that it was trained on."""


class SynthesisError(HoldfastError, ValueError):
    """A linearisation that no feedback can stabilise."""


class RunError(HoldfastError, ValueError):
    """A run folder that is incomplete, damaged or of another version."""


class OutputError(HoldfastError, OSError):
    """An output folder that must not be overwritten."""


class Interrupted(HoldfastError):
    """Ctrl-C, SIGTERM or SIGHUP during training; a checkpoint was written first. `signum` is the signal's number."""

    def __init__(self, message: str, signum: int = 2) -> None:
        super().__init__(message)
        self.signum = signum


class WorkerError(HoldfastError, RuntimeError):
    """A worker process that was ended from outside."""


class StoppedError(HoldfastError, RuntimeError):
    """A control loop that has stopped because plans or calls came too late, or that was closed."""


class ServerError(HoldfastError, ConnectionError):
    """A policy server that cannot be reached, or that refuses a request."""


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
    """A name that is not in a closed list.

    >>> str(UnknownNameError("system", "quadrotr", ["linear", "quadrotor2d"]))
    "unknown system 'quadrotr'. Known: linear, quadrotor2d. Did you mean quadrotor2d?"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        self.parts = (kind, name, known)
        super().__init__(f"unknown {kind} {name!r}. Known: {', '.join(sorted(known)) or 'none'}.{nearest(name, known)}")

    def __reduce__(self) -> tuple[object, ...]:
        # pickled by its parts, for worker processes: the message alone cannot rebuild the error
        return UnknownNameError, self.parts


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name: " Did you mean …?", or nothing where no known name is similar."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def at_least(least: int, **numbers: int | float) -> None:
    """Raise a `RecipeError` for numbers that are below `least` or not finite."""
    for name, number in numbers.items():
        if not least <= number < math.inf:
            raise RecipeError(f"expected {name} of at least {least}, got {number}.")


def positive(**numbers: int | float) -> None:
    """Raise a `RecipeError` for numbers that are not positive and finite."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise RecipeError(f"expected a {name} above 0, got {number}.")


def _missing_extra(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(package, extra=extra)
