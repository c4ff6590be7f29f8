"""Schedule matrices: the noise level of each frame at each network call.

Row m holds the levels before call m, column j those of frame j; the last row is what remains. With S sampling steps,

    M[m, j] = clip(S + ⌊u j⌋ − m, 0, S),      rows S + ⌊u (h − 1)⌋ + 1

and u = 0 denoises all frames together (full sequence), u = S one frame after the other (autoregressive), and 0 < u < S
holds later frames noisier, so that uncertainty grows with the horizon (pyramid). Chen et al. 2024 (arXiv 2407.01392),
section 3.2 and algorithm 2.
"""

import math
from typing import Literal, assert_never

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import RecipeError, at_least

ScheduleName = Literal["full", "pyramid", "autoregressive"]

_TOKENS = ("action", "readings")


def schedule_matrix(
    name: ScheduleName, *, steps: int, horizon: int, uncertainty: float = 1.0
) -> Int[Tensor, "rows {horizon}"]:
    """Schedule matrix of a name, in sampling steps: from `steps` (noise) to 0 (clean).

    Args:
        name: "full" denoises all frames together, "autoregressive" one after the other, "pyramid" in between.
        steps: Network calls from noise to data, `S`.
        horizon: Frames `h`.
        uncertainty: Sampling steps `u` by which a frame lags the one before it, of the pyramid.

    Raises:
        RecipeError: No steps, no frames, or an uncertainty that is not positive.

    >>> schedule_matrix("pyramid", steps=2, horizon=3).tolist()
    [[2, 2, 2], [1, 2, 2], [0, 1, 2], [0, 0, 1], [0, 0, 0]]
    >>> len(schedule_matrix("full", steps=2, horizon=3)), len(schedule_matrix("autoregressive", steps=2, horizon=3))
    (3, 7)
    """
    at_least(1, steps=steps, horizon=horizon)
    lag = lag_of(name, steps=steps, uncertainty=uncertainty)
    # numbers of the host, which a traced plan can count
    offsets = [math.floor(lag * frame) for frame in range(horizon)]
    rows = range(steps + offsets[-1] + 1)
    return torch.tensor([[min(max(steps + offset - row, 0), steps) for offset in offsets] for row in rows])


def lag_of(name: ScheduleName, *, steps: int, uncertainty: float) -> float:
    """Sampling steps by which a frame lags the one before it.

    Raises:
        RecipeError: An uncertainty of a pyramid that is not between 0 and the sampling steps.
    """
    match name:
        case "full":
            return 0.0
        case "autoregressive":
            return float(steps)
        case "pyramid":
            if not 0 < uncertainty <= steps:
                raise RecipeError(
                    f"expected an uncertainty above 0 and at most the {steps} sampling steps, got {uncertainty:g}. 0 "
                    f"is the schedule full, {steps} the schedule autoregressive."
                )
            return uncertainty
        case _:
            assert_never(name)


def checked_matrix(matrix: Tensor, *, horizon: int, levels: int) -> Int[Tensor, "rows h 2"]:
    """Levels of each token at each call, from a matrix with one level for each frame or for each token.

    Args:
        matrix: Levels `[rows, h]`, or `[rows, h, 2]` for actions and readings apart.
        horizon: Frames `h` of the model.
        levels: Noise levels `K` of the model.

    Raises:
        RecipeError: A level rises from one row to the next, is outside 0 … K, or does not end at 0; or the matrix has
            another shape. The message names the entry.

    >>> checked_matrix(torch.tensor([[2, 2], [1, 2], [0, 1], [0, 0]]), horizon=2, levels=2).shape
    torch.Size([4, 2, 2])
    """
    whole = not (matrix.is_floating_point() or matrix.is_complex() or matrix.dtype == torch.bool)
    fits = matrix.dim() in (2, 3) and matrix.shape[1] == horizon and len(matrix) >= 2
    if not whole or not fits or (matrix.dim() == 3 and matrix.shape[2] != 2):
        raise RecipeError(
            f"expected a schedule matrix of whole numbers [rows, {horizon}] or [rows, {horizon}, 2] (actions, readings)"
            f" with at least two rows, got {matrix.dtype} {list(matrix.shape)}. Make one with schedule_matrix."
        )
    if bool((odd := (matrix < 0) | (matrix > levels)).any()):
        where = _first(odd)
        raise RecipeError(
            f"expected levels from 0 (clean) to {levels} (noise), got {int(matrix[where])} at {_entry(where)} of the "
            "schedule matrix."
        )
    if bool((rising := matrix.diff(dim=0) > 0).any()):
        row, *rest = _first(rising)
        after = (row + 1, *rest)
        raise RecipeError(
            f"the schedule matrix rises from level {int(matrix[(row, *rest)])} to {int(matrix[after])} at "
            f"{_entry(after)}. Denoising only lowers levels: give each column in falling order, or start another pass "
            "for frames that are to be noised again."
        )
    if bool((left := matrix[-1:] != 0).any()):
        _, *rest = _first(left)
        last = (len(matrix) - 1, *rest)
        raise RecipeError(
            f"the schedule matrix ends with level {int(matrix[last])} at {_entry(last)}. Its last row must be 0, the "
            "level of clean frames."
        )
    return matrix.long() if matrix.dim() == 3 else matrix.long()[..., None].expand(-1, -1, 2)


def _first(found: Tensor) -> tuple[int, ...]:
    return tuple(int(place) for place in found.nonzero()[0])


def _entry(where: tuple[int, ...]) -> str:
    row, frame, *token = where
    return f"row {row}, frame {frame}" + "".join(f" ({_TOKENS[one]})" for one in token)
