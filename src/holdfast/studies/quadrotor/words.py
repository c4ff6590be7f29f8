"""Numbers of a row or comparison in words, for the pages of the quadrotor's studies."""

from collections.abc import Mapping
from typing import Any

__all__ = ["between", "difference", "interval", "times"]


def interval(row: Mapping[str, Any], name: str, *, percent: bool = False) -> str:
    """A row's number with its interval.

    >>> interval({"score": 0.5, "score_low": 0.25, "score_high": 0.75}, "score")
    '0.50 [0.25, 0.75]'
    """
    form = ".0%" if percent else ".3g"
    low, mean, high = (row[key] for key in (f"{name}_low", name, f"{name}_high"))
    if not percent and all(abs(value) < 10 for value in (low, mean, high)):
        form = ".2f" if abs(mean) >= 0.1 else ".3f"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def between(item: Mapping[str, Any]) -> str:
    """A comparison in words: better, worse or not told apart, in score and in distance.

    >>> between({"score_verdict": "above", "score_difference": 0.2, "distance_verdict": "below", "distance_ratio": 0.5})
    'scores higher (+0.20) and is nearer to the expert (× 0.50)'
    """
    score = {"above": "scores higher", "below": "scores lower", "not told apart": "its score is not told apart"}
    distance = {
        "above": "is farther from the expert",
        "below": "is nearer to the expert",
        "not told apart": "its distance is not told apart",
    }
    return (
        f"{score[item['score_verdict']]} ({difference(item['score_difference'])}) and "
        f"{distance[item['distance_verdict']]} (× {times(item['distance_ratio'])})"
    )


def difference(value: float) -> str:
    """A difference with its sign, with more digits where two would hide it.

    >>> difference(0.2), difference(-0.0042)
    ('+0.20', '-0.0042')
    """
    return f"{value:+.2f}" if abs(value) >= 0.01 else f"{value:+.2g}"


def times(value: float) -> str:
    """A ratio, in powers of ten where it is one of orders of magnitude.

    >>> times(1.5), times(64270.9), times(2e-5)
    ('1.50', '6.4e+04', '2.0e-05')
    """
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"
