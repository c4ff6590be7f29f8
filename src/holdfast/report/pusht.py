# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Final positions of Push-T episodes, drawn from their states without the simulator."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon
from numpy import ndarray
from torch import Tensor

from ..errors import ShapeError
from .palette import GAINS, INK, MUTED, OTHERS, new_figure, save, style, tint

# The table of gym-pusht, in pixels of its window: a bar of 120 × 30 and a stem of 30 × 90, an agent of radius 15, and
# where the block is to lie: x, y, angle.
_OUTLINE = ((-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30))
_GOAL = (256.0, 256.0, math.pi / 4)
_AGENT, _WINDOW = 15.0, 512.0
_ACROSS, _EACH, _GAP, _HEAD, _TOP = 6, 1.55, 0.12, 0.26, 0.46


def block_outline(pose: Float64[ndarray, "3"]) -> Float64[ndarray, "8 2"]:
    """Corners of the block [px] at a pose (x [px], y [px], angle [rad])."""
    x, y, angle = pose
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray(_OUTLINE, dtype=np.float64) @ turn.T + (x, y)


def draw_tables(
    path: Path,
    states: Float[Tensor, "b 5"],
    scores: Float[Tensor, " b"],
    *,
    agents: Sequence[Float[Tensor, "t 2"]] | None = None,
    title: str | None = None,
    goal: tuple[float, float, float] = _GOAL,
) -> Path:
    """The end of each episode: the block over its target outline, the agent and its path, the score.

    Args:
        path: File of the PNG.
        states: Agent x, y, block x, y [px] and angle [rad] at the end of each episode.
        scores: Score of each episode.
        agents: The agent's positions along each episode [px].
        title: Title. Default: the number of solved episodes.
        goal: Position [px] and angle [rad] of the outline.

    Raises:
        ShapeError: There are no episodes, or the numbers of scores or paths differ from theirs.
    """
    count = len(states)
    if not count or len(scores) != count or (agents is not None and len(agents) != count):
        raise ShapeError(
            f"expected one score and one way a table, and one table at least, got {count} tables, {len(scores)} "
            f"scores{'' if agents is None else f', {len(agents)} ways'}."
        )
    columns, rows = min(count, _ACROSS), math.ceil(count / _ACROSS)
    width, height = _GAP + columns * (_EACH + _GAP), _TOP + rows * (_EACH + _HEAD) + _GAP
    with style():
        figure = new_figure(max(width, 3.4), height)
        for index in range(count):
            row, column = divmod(index, _ACROSS)
            left, bottom = _GAP + column * (_EACH + _GAP), height - _TOP - (row + 1) * (_EACH + _HEAD)
            size = figure.get_figwidth()
            axes = figure.add_axes((left / size, bottom / height, _EACH / size, _EACH / height))
            _draw_table(axes, states[index].detach().cpu().double().numpy(), float(scores[index]), goal)
            if agents is not None:
                way = agents[index].detach().cpu().double().numpy()
                axes.plot(way[:, 0], way[:, 1], color=GAINS, linewidth=0.6, alpha=0.55, zorder=2)
        solved = int((scores >= 1).sum())
        headline = title or f"{solved} of {count} solved"
        margin, note = _GAP / figure.get_figwidth(), "score: the best on the way; drawn: the last position"
        figure.text(margin, 1 - 0.09 / height, headline, va="top", fontsize=10, fontweight="bold")
        figure.text(margin, 1 - 0.29 / height, note, va="top", fontsize=8.5, color=MUTED)
        return save(figure, path)


def _draw_table(axes: Axes, state: Float64[ndarray, "5"], score: float, goal: tuple[float, float, float]) -> None:
    # y points down, as in the simulator's window
    axes.set(xlim=(0, _WINDOW), ylim=(_WINDOW, 0), xticks=[], yticks=[], aspect="equal")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.add_patch(Polygon(block_outline(np.array(goal)), facecolor=tint(OTHERS[0], 0.6), zorder=1))
    block = Polygon(block_outline(state[2:]), facecolor=MUTED, edgecolor=INK, linewidth=0.6, alpha=0.75, zorder=3)
    axes.add_patch(block)
    axes.add_patch(Circle((state[0], state[1]), _AGENT, color=GAINS, zorder=4))
    weight = "bold" if score >= 1 else "normal"
    axes.set_title(f"{score:.2f}", fontsize=8.5, color=OTHERS[0] if score >= 1 else MUTED, fontweight=weight, pad=3)
