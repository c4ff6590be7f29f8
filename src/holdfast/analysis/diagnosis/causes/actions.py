"""Actions that the environment clips, and actions of the data that are off by a constant."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ....data.doctor import DataFinding
from ....data.doctor.findings import listed
from ....envs import with_bounds
from ....types import Episodes
from .altered import ChangedAction
from .cause import Cause, Confirmation
from .recorded import cause_of
from .response import response_of, response_rows
from .scene import Scene
from .trials import spread_of

CLIPPED = 0.02
"""Share of clipped steps from which clipping counts."""
WIDER = 1.5
ACCURATE, LARGE = 0.95, 0.02
REDUCED = 0.25
"""Share of the error that may remain once the offset is allowed for."""
ROWS, TINY = 3_000, 1e-12

_lstsq = cast(Any, np.linalg.lstsq)


def clipping(scene: Scene) -> list[Cause]:
    """Actions beyond the environment's bounds."""
    bounds, rollout = scene.subject.starts.environment.action_bounds, scene.subject.rollout
    running = (~(rollout.over | rollout.lost)).sum(dim=1).clamp(min=1)
    share = float((rollout.clipped / running).mean())
    beyond = _demonstrated_beyond(scene, bounds)
    if bounds is None or share < CLIPPED:
        return []
    data = f" The demonstrated actions reach beyond them too: {listed(beyond)}." if beyond else ""
    some = float((rollout.clipped > 0).double().mean())
    found = Cause(
        check="clipping",
        severity="warning",
        what=f"The environment clips {share:.1%} of the steps of the rollouts, in {some:.0%} of the rollouts.{data}",
        effect="The environment executes smaller actions than the policy chooses"
        + (", smaller than those that the demonstrations needed." if beyond else "."),
        remedy="Widen the environment's bounds to those of the demonstrations, or record demonstrations within them. "
        "If units differ, correct them."
        if beyond
        else "If the bounds are right, the policy asks for more than was demonstrated: look at where it is clipped.",
        values={"share": share, "rollouts": some, "demonstrated_beyond": beyond},
    )
    if not beyond:
        return [replace(found, severity="note" if scene.trials.holds else "warning", confirmed=_after_clipping())]
    return [replace(found, confirmed=_widened(scene))]


def _after_clipping() -> Confirmation:
    return Confirmation(test="The demonstrations stay within the bounds, so wider ones were never demonstrated.")


def _demonstrated_beyond(scene: Scene, bounds: tuple[Tensor, Tensor] | None) -> list[str]:
    """Coordinates of demonstrated actions outside the bounds, with their ranges."""
    shown = scene.shown
    if shown is None or bounds is None:
        return []
    low, high = (end.double() for end in bounds)
    least, most = shown.actions.double().amin(dim=0), shown.actions.double().amax(dim=0)
    margin = 1e-3 * spread_of(shown.actions)
    names = shown.names.get("action") or tuple(f"action[{index}]" for index in range(len(low)))
    return [
        f"{names[i]} in [{float(least[i]):.3g}, {float(most[i]):.3g}] with bounds [{float(low[i]):.3g}, "
        f"{float(high[i]):.3g}]"
        for i in map(int, ((least < low - margin) | (most > high + margin)).nonzero()[:, 0])
    ]


def _widened(scene: Scene) -> Confirmation:
    """Run with bounds that contain the demonstrated actions, where the simulator takes them."""
    environment, shown = scene.subject.starts.environment, scene.shown
    assert shown is not None
    test = "With the environment's bounds widened to the demonstrated actions"
    least, most = shown.actions.double().amin(dim=0), shown.actions.double().amax(dim=0)
    with with_bounds(environment, WIDER * torch.minimum(least, -most), WIDER * torch.maximum(most, -least)):
        return scene.trials.confirm(test, scene.subject.policy)


def offsets(scene: Scene) -> list[Cause]:
    """Actions of the data that are off by a constant from those to which the environment responds alike.

    One response is fitted to the data and to rollouts with noise on the actions, with a constant d for the data alone:

        o[t + 1] − o[t] = c + A o[t] + B a[t] + d

    An action that is recorded as a + b has d = −B b. b is the least-squares solution over all coordinates; it counts if
    d explains three quarters of what the response leaves open without it.
    """
    shown, said = scene.shown, scene.finding("offset")
    if scene.trials.holds:
        return []  # an offset that mattered would displace the policy too
    offset = None if shown is None else _compared(scene, shown)
    if shown is None or offset is None:
        return [] if said is None else [_at_rest(scene, said)]
    large = offset.abs() > LARGE * spread_of(shown.actions)
    return [_off(scene, torch.where(large, offset, 0.0))] if bool(large.any()) else []


def _compared(scene: Scene, shown: Episodes) -> Float[Tensor, " m"] | None:
    """The offset against the environment; `None` where the linear response does not describe it."""
    here = None if scene.excited is None else response_of(scene.excited.episodes)
    if scene.excited is None or here is None or not here.clear:
        return None
    return _offset(shown, scene.excited.episodes, here.lag)


def _at_rest(scene: Scene, said: DataFinding) -> Cause:
    """The doctor's offset between command and reading at rest, removed from the policy's actions."""
    count = scene.subject.rollout.trajectory.actions.shape[-1]
    names = [f"action{label}" for label in _labels(scene, count)]
    known = [float(said.values["offsets"].get(name, 0.0)) for name in names]
    offset = torch.tensor(known, dtype=torch.float64)
    policy = ChangedAction(scene.subject.policy, lambda action: action - offset.to(action))
    return cause_of(said, scene.trials.confirm("With the offset removed from the policy's actions", policy))


def _labels(scene: Scene, count: int) -> list[str]:
    """What follows the word action in the doctor's names of coordinates."""
    shown = scene.shown
    names = () if shown is None else shown.names.get("action", ())
    return [f" {name}" for name in names] if len(names) == count else [f"[{index}]" for index in range(count)]


def _offset(shown: Episodes, excited: Episodes, lag: int) -> Float[Tensor, " m"] | None:
    fitted = [_regressed(part, lag) for part in (shown, excited)]
    x, y = (np.concatenate(parts) for parts in zip(*fitted, strict=True))
    of_data = np.repeat([1.0, 0.0], [len(part[0]) for part in fitted])[:, None]
    (_, alone), (weights, left) = _fit(x, y), _fit(np.concatenate([x, of_data], axis=1), y)
    moving = y.var(axis=0) > 0
    if not moving.any() or np.median(1 - left[moving] / y.var(axis=0)[moving]) < ACCURATE:
        return None
    # a difference that leaves most of the error is no offset but another response, or a nonlinear one
    if (left[moving] >= REDUCED * alone[moving]).all():
        return torch.zeros(shown.actions.shape[1], dtype=torch.float64)
    scale = 1 / np.sqrt(np.maximum(left, TINY))
    gains, moved = weights[-1 - shown.actions.shape[1] : -1] * scale, weights[-1] * scale
    return torch.as_tensor(-moved @ np.linalg.pinv(gains))


def _regressed(episodes: Episodes, lag: int) -> tuple[ndarray, ndarray]:
    """Inputs [1, o, a] and changes of the observation, at most `ROWS` rows."""
    x, y = response_rows(episodes, lag)
    every = max(1, len(x) // ROWS)
    return x[::every], y[::every]


def _fit(x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
    """Least squares: weights, and residual variances."""
    weights = _lstsq(x, y, rcond=1e-10)[0]
    return weights, (y - x @ weights).var(axis=0)


def _off(scene: Scene, offset: Float[Tensor, " m"]) -> Cause:
    names = scene.subject.rollout.names.get("action") or tuple(f"action[{index}]" for index in range(len(offset)))
    parts = [f"{names[i]} by {float(offset[i]):+.3g}" for i in map(int, offset.nonzero()[:, 0])]
    policy = ChangedAction(scene.subject.policy, lambda action: action - offset.to(action))
    return Cause(
        check="offset",
        severity="warning",
        what="The recorded actions are off by a constant from those to which the environment responds in the same "
        f"way: {listed(parts)}.",
        effect="Everything that the policy does is displaced by this amount.",
        remedy="Calibrate leader and follower, or subtract the offset from the recorded actions.",
        values={"offset": [float(part) for part in offset]},
        confirmed=scene.trials.confirm("With the offset removed from the policy's actions", policy),
    )
