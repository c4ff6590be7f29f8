# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Distance of policies to the expert over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, StrMethodFormatter
from numpy import ndarray
from torch import Tensor

from ..errors import ShapeError
from .labels import End, headline, label_ends
from .palette import GAINS, OTHERS, RAW_ACTIONS, new_figure, save, style

# Smaller errors are rounding; larger ones, and NaN, mean divergence.
_FLOOR, _CEILING = 1e-9, 1e4


def draw_errors(
    path: Path,
    times: Sequence[float],
    curves: Mapping[str, Float[Tensor, "b t"]],
    *,
    colours: Sequence[str] | None = None,
    title: str | None = None,
) -> Path:
    """Distance to the expert ‖x − x_expert‖ over time: median over episodes, and the band from 10 % to 90 %.

    Args:
        path: File of the PNG.
        times: Times of the steps [s].
        curves: Policy → error of each episode at each step, norm of all state coordinates in SI units.
        colours: One colour per policy, in order. Default: the first of several policies has the colour of raw actions.
        title: Title. Default: the medians at the end.
    """
    if colours is None:
        colours = (GAINS,) if len(curves) == 1 else (RAW_ACTIONS, GAINS, *OTHERS)
    if not 0 < len(curves) <= len(colours):
        raise ShapeError(
            f"expected 1 to {len(colours)} curves, one per colour, got {len(curves)}. Give more `colours`."
        )
    seconds = np.asarray(times, dtype=np.float64)
    bands = {name: _quantiles(errors) for name, errors in curves.items()}
    with style():
        figure = new_figure(8.0, 4.3)
        axes = figure.add_axes((0.105, 0.125, 0.645, 0.71))
        for band, colour in zip(bands.values(), colours, strict=False):
            axes.fill_between(seconds, band[0], band[2], color=colour, alpha=0.14, linewidth=0)
            axes.plot(seconds, band[1], color=colour, linewidth=2.0)
        _furnish(axes, seconds, list(bands.values()))
        _name(axes, float(seconds[-1]), bands, colours)
        headline(axes, title or _finding(bands), "median over flights; shaded: 10–90 % of flights")
        return save(figure, path)


def _quantiles(errors: Float[Tensor, "b t"]) -> Float[ndarray, "3 t"]:
    """The 10 %, 50 % and 90 % quantiles over episodes; NaN where they are 0, which a log axis cannot show."""
    finite = np.nan_to_num(errors.detach().cpu().double().numpy(), nan=_CEILING, posinf=_CEILING)
    quantiles = np.quantile(finite.clip(max=_CEILING), [0.1, 0.5, 0.9], axis=0)
    return np.where(quantiles > _FLOOR, quantiles, np.nan)


def _furnish(axes: Axes, seconds: Float[ndarray, " t"], bands: Sequence[Float[ndarray, "3 t"]]) -> None:
    # the first steps, before any policy has left the expert, would stretch the axis over empty decades
    drawn = np.concatenate([band[:, len(seconds) // 20 :] for band in bands], axis=1)
    drawn = drawn[np.isfinite(drawn)] if np.isfinite(drawn).any() else np.array([_FLOOR, 1.0])
    axes.set_yscale("log")
    axes.set_ylim(0.7 * float(drawn.min()), 1.4 * float(drawn.max()))
    axes.set_xlim(float(seconds[0]), float(seconds[-1]))
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("time [s]")
    axes.set_ylabel("distance to the state of the expert  [SI]")


def _name(axes: Axes, last: float, bands: Mapping[str, Float[ndarray, "3 t"]], colours: Sequence[str]) -> None:
    pairs = zip(bands.items(), colours, strict=False)
    ends = [
        End(f"{name}\n{_rounded(float(band[1, -1]))}", float(band[1, -1]), colour) for (name, band), colour in pairs
    ]
    label_ends(axes, ends, x=last, points=9.0)


def _rounded(value: float) -> str:
    if not np.isfinite(value):
        return "0"
    return f"{value:.0f}" if value >= 20 else f"{value:.2g}"


def _finding(bands: Mapping[str, Float[ndarray, "3 t"]]) -> str:
    """Medians at the end, best first."""
    last = sorted((float(band[1, -1]), name) for name, band in bands.items())
    if len(last) == 1:
        return f"{last[0][1]} ends {_rounded(last[0][0])} from the expert"
    (near, best), (far, worst) = last[0], last[-1]
    return f"{best} ends {_rounded(near)} from the expert, {worst} {_rounded(far)}"
