"""Commands that move the environment as the demonstrations moved.

With the environment's response o[t + 1] − o[t] = c + A o[t] + B a[t], fitted to rollouts with noise on the actions, the
command behind a demonstrated step is the least-squares solution of

    B a = o[t + 1] − o[t] − c − A o[t],    each coordinate in units of its residual

Where recorded actions are readings, demonstrations with these commands show what recording the commands would be worth.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from ....types import Episodes
from .response import linear_response, response_of
from .rows import owners

ACCURATE = 0.95
"""R² of the linear response from which commands are computed."""

_pinv = cast(Any, torch.linalg).pinv  # torch's types of it are partial


def recovered_commands(shown: Episodes, excited: Episodes) -> Episodes | None:
    """The demonstrations with recovered commands as actions; `None` if the environment's response is not linear.

    Args:
        shown: Demonstrations.
        excited: Rollouts with noise on the actions.
    """
    here = response_of(excited)
    if here is None or not here.clear or here.lag != 0:
        return None
    weights, left, r2 = linear_response(excited, here.lag)
    if r2 < ACCURATE:
        return None
    seen, count = shown.observed.vector.double(), shown.actions.shape[1]
    owner = owners(shown.lengths)
    rows = torch.arange(len(seen))
    # the last step of an episode has no successor: it repeats the command before
    last = torch.cat([owner[1:] != owner[:-1], torch.ones(1, dtype=torch.bool)])
    rows = torch.where(last & (rows > shown.starts[owner]), rows - 1, rows)
    known = torch.cat([torch.ones(len(seen), 1, dtype=torch.float64), seen], dim=1)[rows]
    change = seen[(rows + 1).clamp(max=len(seen) - 1)] - seen[rows] - known @ weights[:-count]
    scale = 1 / left.clamp(min=1e-12).sqrt()
    solved: Tensor = (change * scale) @ _pinv(weights[-count:] * scale)
    low, high = excited.actions.double().amin(dim=0), excited.actions.double().amax(dim=0)
    return replace(shown, actions=solved.clamp(2 * low - high, 2 * high - low))
