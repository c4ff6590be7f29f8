"""Rows of study imperfect-oracle: each oracle over its seeds, and compared with the perfect one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from ..quadrotor.arms import Gains
from ..quadrotor.cells import Scored, comparison_of, row_of
from .oracles import Absent, LateFeedback, LateGains, Learned, Oracle, Perfect, ScaledFeedback, ScaledGains, WrongMass

Cell: TypeAlias = tuple[Gains, int, float, Oracle]
"""Kind of gains, demonstrations, σ and oracle."""


@dataclass(frozen=True)
class OracleResult:
    """Scores of one training under one oracle.

    Attributes:
        flights: Scores, start by start; `None` if the oracle gave no gains.
        radius: Spectral radius of the true closed loop at hover under the last demonstrated gain; `None` without gains.
        gain_error: Median of ‖K − K*‖ / ‖K*‖ over the demonstrations; `None` without gains.
    """

    flights: Scored | None
    radius: float | None = None
    gain_error: float | None = None
    problem: str | None = None

    @staticmethod
    def of(flights: dict[str, Any] | None, **rest: Any) -> "OracleResult":
        """The result with its stored fields."""
        return OracleResult(flights=None if flights is None else Scored(**flights), **rest)


def described(oracle: Oracle) -> tuple[str, str, float | None]:
    """An oracle's family, where it is imperfect, and the amount."""
    match oracle:
        case Perfect():
            return "perfect", "nowhere", None
        case WrongMass(factor=factor):
            return "wrong mass", "training", factor
        case Learned(model=model):
            return f"learned dynamics ({model})", "training", None
        case ScaledGains(factor=factor):
            return "scaled gains", "training", factor
        case LateGains(steps=steps):
            return "late gains", "training", float(steps)
        case ScaledFeedback(factor=factor):
            return "scaled gains", "flight", factor
        case LateFeedback(steps=steps):
            return "late state", "flight", float(steps)
        case Absent():
            return "absent", "training", None
        case _:
            assert_never(oracle)


def rows_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[dict[str, Any]]:
    """One wide row per oracle; without scores where it gave no gains for any seed."""
    return [_row(cell, group) for cell, group in cells.items()]


def problems_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[str]:
    """Error messages of oracles that gave no gains, each once."""
    return sorted({result.problem for group in cells.values() for result in group if result.problem})


def _row(cell: Cell, group: Sequence[OracleResult]) -> dict[str, Any]:
    kind, n_demos, sigma, oracle = cell
    family, where, amount = described(oracle)
    flown = [result.flights for result in group if result.flights is not None]
    what: dict[str, Any] = {
        "oracle": family,
        "where": where,
        "amount": amount,
        "gains": kind,
        "n_demos": n_demos,
        "sigma": sigma,
        "failed": len(group) - len(flown),
    }
    if not flown:
        return what
    return {**what, **row_of(flown), "radius": _mean(group, "radius"), "gain_error": _mean(group, "gain_error")}


def _mean(group: Sequence[OracleResult], name: str) -> float | None:
    values = [value for result in group if (value := getattr(result, name)) is not None]
    return sum(values) / len(values) if values else None


def comparisons_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[dict[str, Any]]:
    """Each oracle against the perfect one with the same demonstrations, over the seeds for which both gave gains."""
    found = list[dict[str, Any]]()
    perfect = {cell[:2]: group for cell, group in cells.items() if isinstance(cell[3], Perfect)}
    for (kind, n_demos, sigma, oracle), group in cells.items():
        for (base_kind, base_count), base in perfect.items():
            if isinstance(oracle, Perfect) or n_demos != base_count or kind not in (base_kind, "none"):
                continue
            pairs = [
                (one.flights, other.flights)
                for one, other in zip(group, base, strict=True)
                if one.flights is not None and other.flights is not None
            ]
            if pairs:
                family, where, amount = described(oracle)
                what = {"oracle": family, "where": where, "amount": amount, "against": base_kind, "n_demos": n_demos}
                found.append({**what, "sigma": sigma, **comparison_of([a for a, _ in pairs], [b for _, b in pairs])})
    return found
