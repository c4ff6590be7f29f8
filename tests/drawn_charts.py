"""Whether charts, as a browser has drawn them, show their data at the numbers of their axes."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# a label's middle is a pixel or two off its tick, most for powers of ten
NEAR = 4.0


def figures_of(page: Path) -> list[dict[str, Any]]:
    """The figures that a page is to show."""
    found = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    return [json.loads(text) for text in found]


def faults(drawn: Sequence[dict[str, Any]], figures: Sequence[dict[str, Any]]) -> list[str]:
    """Axes whose numbers do not fit the data, or that do not show them."""
    assert len(drawn) == len(figures) > 0
    found = list[str]()
    for place, (chart, figure) in enumerate(zip(drawn, figures, strict=True)):
        if abs(chart["size"] - chart["svg"]) > 3:
            found.append(f"chart {place} is {chart['svg']} px wide in a box of {chart['size']} px")
        found += [f"chart {place}, axis {axis}: {word}" for axis in "xy" for word in _axis(chart, figure, axis)]
    return found


def _axis(chart: dict[str, Any], figure: dict[str, Any], axis: str) -> list[str]:
    logarithmic = figure["layout"][f"{axis}axis"]["type"] == "log"
    values = _values(chart["ticks"][axis], logarithmic)
    if len(values) < 2:
        return [f"{len(values)} labels"]
    slope, offset = np.polyfit(*zip(*values, strict=True), 1)
    if max(abs(slope * value + offset - at) for value, at in values) > NEAR:
        return [f"labels are not evenly spaced: {values}"]
    low, high = _extent(figure, axis, logarithmic)
    ends, area = sorted((slope * low + offset, slope * high + offset)), sorted(chart["area"][axis])
    found = list[str]()
    if ends[0] < area[0] - NEAR or ends[1] > area[1] + NEAR:
        found.append(f"the data, {low:.4g} to {high:.4g}, lie outside of labels {values}")
    if high > low and ends[1] - ends[0] < 0.4 * (area[1] - area[0]):
        found.append(f"the data, {low:.4g} to {high:.4g}, fill little of labels {values}")
    return found + _curves(chart, figure, axis, logarithmic, slope, offset)


def _curves(
    chart: dict[str, Any], figure: dict[str, Any], axis: str, logarithmic: bool, slope: float, offset: float
) -> list[str]:
    """Ends of all curves together, in pixels, against those of their data."""
    drawn = [point["xy".index(axis)] for curve in chart["curves"] for point in curve]
    shown = [value for trace in figure["data"] for value in _shown(figure, trace, axis, logarithmic)]
    wanted = sorted((slope * min(shown) + offset, slope * max(shown) + offset))
    far = max(abs(min(drawn) - wanted[0]), abs(max(drawn) - wanted[1]))
    return [f"curves lie up to {far:.0f} px away from their data at these labels"] if far > NEAR else []


def _values(ticks: Sequence[dict[str, Any]], logarithmic: bool) -> list[tuple[float, float]]:
    """Value, or its logarithm, and place of each label; digits between powers of ten count from the next one."""
    numbers = [(_number(tick["text"]), tick["at"], tick["small"] and logarithmic) for tick in ticks]
    if not logarithmic:
        return [(value, at) for value, at, _ in numbers]
    whole = [(math.log10(value), at) for value, at, small in numbers if not small]
    values, decade = list[tuple[float, float]](), whole[0][0] - 1 if whole else math.nan
    for value, at, small in numbers:
        decade = decade if small else math.log10(value)
        values.append((decade + math.log10(value) if small else decade, at))
    return values


def _number(text: str) -> float:
    plain = text.replace("−", "-")
    power = re.fullmatch(r"(?:(.*)×)?10<sup>(.*)</sup>", plain)
    return (
        float(power[1] or 1) * 10.0 ** float(power[2]) if power else float(plain.replace("k", "e3").replace("M", "e6"))
    )


def _extent(figure: dict[str, Any], axis: str, logarithmic: bool) -> tuple[float, float]:
    """Smallest and largest value, or its logarithm, of curves and error bars."""
    shown = [value for trace in figure["data"] for value in _shown(figure, trace, axis, logarithmic)]
    for trace in figure["data"] if axis == "y" else []:
        for sign, key in ((1, "array"), (-1, "arrayminus")):
            ends = zip(trace["y"], trace.get("error_y", {}).get(key, []), strict=False)
            reached = [y + sign * bar for y, bar in ends if y is not None and bar is not None]
            shown += [math.log10(end) if logarithmic else end for end in reached if _drawable(end, logarithmic)]
    return min(shown), max(shown)


def _shown(figure: dict[str, Any], trace: dict[str, Any], axis: str, logarithmic: bool) -> list[float]:
    """Values of a trace on an axis, where it has both coordinates that its axes can show."""
    other = figure["layout"]["yaxis" if axis == "x" else "xaxis"]["type"] == "log"
    pairs = zip(trace[axis], trace["y" if axis == "x" else "x"], strict=True)
    kept = [own for own, across in pairs if _drawable(own, logarithmic) and _drawable(across, other)]
    return [math.log10(value) for value in kept] if logarithmic else kept


def _drawable(value: float | None, logarithmic: bool) -> bool:
    return value is not None and (value > 0 or not logarithmic)
