"""Which policies can be exported.

A graph has a fixed number of operations, so a plan must take the same steps for every observation and every noise.
"""

from dataclasses import dataclass

from ..models import FAMILIES, AutoregressiveTokens, Energy, FamilyOptions, TokenFamily, family_named
from ..nn import ResidualMlp
from ..policy import PolicySpec
from ..tokens import Fast, Tokenizer, TokenizerOptions

SEARCHES = (
    "its plan is a search among many candidates, which follows gradients of the network or resamples the candidates, "
    "so that the last bits of a sum decide which one is returned"
)
VARIABLE = (
    "its codes have variable lengths, and are decoded by a program that depends on the tokens. Train it with a "
    "tokenizer of fixed length, for example --tokenizer binning"
)
STREAMS = (
    "it keeps a buffer between plans, whereas a graph has no memory. Export it with its plans from noise "
    "(--stream False), or run it with holdfast"
)


@dataclass(frozen=True)
class FamilyRow:
    """Whether the default policy of a family can be exported, and the reason if not."""

    family: str
    reason: str | None


def reason_against(
    options: FamilyOptions, *, tokenizer: Tokenizer | None = None, spec: PolicySpec | None = None
) -> str | None:
    """Why a policy cannot be exported; `None` if it can.

    Args:
        options: Options of its family.
        tokenizer: Its fitted tokenizer; without one, the options decide.
        spec: Specification of the policy, whose execution must be without memory.
    """
    if isinstance(options, Energy):
        return SEARCHES
    if isinstance(options, TokenFamily) and not _of_one_length(options.tokenizer, tokenizer):
        return VARIABLE
    return STREAMS if spec is not None and spec.execution.stream else None


def _of_one_length(options: TokenizerOptions, fitted: Tokenizer | None) -> bool:
    return not isinstance(options, Fast) if fitted is None else bool((fitted.spans == 1).all())


def _table() -> tuple[FamilyRow, ...]:
    return tuple(FamilyRow(name, reason_against(family_named(name, ResidualMlp()))) for name in FAMILIES)


FAMILY_TABLE = _table()
"""Every family with its default options."""


def exportable() -> str:
    """Families that can be exported, for messages."""
    names = [row.family for row in FAMILY_TABLE if row.reason is None]
    return f"{', '.join(names)}, and {AutoregressiveTokens.__name__} with a tokenizer of fixed length"
