"""Numbers of rows in words, for tables and sentences."""

from collections.abc import Mapping
from typing import Any


def interval(row: Mapping[str, Any], name: str, *, percent: bool = False) -> str:
    """A value of a row with its interval.

    >>> interval({"score": 0.5, "score_low": 0.25, "score_high": 0.75}, "score")
    '0.50 [0.25, 0.75]'
    """
    form = ".0%" if percent else ".3g"
    low, mean, high = (row[key] for key in (f"{name}_low", name, f"{name}_high"))
    if not percent and all(abs(value) < 10 for value in (low, mean, high)):
        form = ".2f" if abs(mean) >= 0.1 else ".3f"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def compared(item: Mapping[str, Any]) -> str:
    """A comparison of score and distance in words.

    >>> compared({"score_side": "above", "score_difference": 0.2, "distance_side": "below", "distance_ratio": 0.5})
    'higher score (+0.20), closer to the expert (× 0.50)'
    """
    score = {"above": "higher score", "below": "lower score", "not significant": "no significant difference in score"}
    distance = {
        "above": "farther from the expert",
        "below": "closer to the expert",
        "not significant": "no significant difference in distance",
    }
    return (
        f"{score[item['score_side']]} ({signed(item['score_difference'])}), "
        f"{distance[item['distance_side']]} (× {ratio(item['distance_ratio'])})"
    )


def signed(value: float) -> str:
    """A difference with its sign; small ones with two significant digits.

    >>> signed(0.2), signed(-0.0042)
    ('+0.20', '-0.0042')
    """
    return f"{value:+.2f}" if abs(value) >= 0.01 else f"{value:+.2g}"


def ratio(value: float) -> str:
    """A ratio; in scientific notation beyond a factor of a hundred or a thousand.

    >>> ratio(1.5), ratio(64270.9), ratio(2e-5)
    ('1.50', '6.4e+04', '2.0e-05')
    """
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"
