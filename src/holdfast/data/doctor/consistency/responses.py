"""Findings on the response to the action: saturation, stiction and play."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..findings import DataFinding, listed, share, warning
from .shapes import Kink, kinks_of
from .steps import Steps
from .stiction import Stuck, stuck_of


def check_responses(steps: Steps | None) -> Iterator[DataFinding]:
    """Saturation, stiction and play; a coordinate that sticks is not examined for play."""
    if steps is None:
        return
    stuck = stuck_of(steps)
    held = {one.state for one in stuck}
    kinks = [kink for kink in kinks_of(steps) if kink.shape == "saturation" or (kink.state not in held and not stuck)]
    if saturated := _clearest([kink for kink in kinks if kink.shape == "saturation"]):
        yield _saturation(saturated)
    if loose := _clearest([kink for kink in kinks if kink.shape == "play"]):
        yield _backlash(loose)
    if stuck:
        yield _stiction(stuck)


def _clearest(kinks: Sequence[Kink]) -> list[Kink]:
    """One coordinate for each action: the one that shows it best."""
    best = dict[str, Kink]()
    for kink in kinks:
        best.setdefault(kink.action, kink)
    return list(best.values())


def _index(index: str, action: str, state: str) -> str:
    return f"{action} − {state}" if index == "difference" else action


def _saturation(kinks: Sequence[Kink]) -> DataFinding:
    texts = [
        f"{_index(kink.index, kink.action, 'its position')} beyond ±{kink.size:.3g} ({share(kink.share)} of the steps) "
        f"has no further effect on {kink.state}"
        for kink in kinks
    ]
    return warning(
        "saturation",
        f"The response saturates: {listed(texts)}. A model with this level leaves {share(max(k.gain for k in kinks))} "
        "less squared error on held-out episodes than a linear one.",
        effect="The recorded commands exceed what the robot applied (a limit of torque, speed or current). A policy "
        "learns large commands whose size means nothing, and a stronger robot will execute them.",
        remedy="Record the command that was applied, or clip the actions to the level before converting; keep the same "
        "limit at deployment.",
        values={"coordinates": [_kink(kink, "level") for kink in kinks]},
    )


def _kink(kink: Kink, size: str) -> dict[str, Any]:
    return {
        "action": kink.action,
        "state": kink.state,
        "index": kink.index,
        size: kink.size,
        "share": kink.share,
        "gain": kink.gain,
        "slope": kink.slope,
    }


def _backlash(kinks: Sequence[Kink]) -> DataFinding:
    # the play of a sum of actions is converted to the units of the coordinate
    widths = [kink.size * kink.slope if kink.index == "sum" else kink.size for kink in kinks]
    texts = [f"{kink.action} → {kink.state}: {width:.3g}" for kink, width in zip(kinks, widths, strict=True)]
    return warning(
        "backlash",
        f"There is play: after a reversal of the command the coordinate stands still for a width of {listed(texts)}. A "
        f"model with play leaves {share(max(k.gain for k in kinks))} less squared error on held-out episodes.",
        effect="After each reversal the robot does not follow until the play is taken up, which a single observation "
        "does not show. Learned corrections smaller than the play have no effect.",
        remedy="Remove the play or compensate for it in the controller, and record again; otherwise compare policies "
        "with --n-obs-steps 2, which show the direction of the motion.",
        values={
            "coordinates": [_kink(kink, "path") | {"width": width} for kink, width in zip(kinks, widths, strict=True)]
        },
    )


def _stiction(found: Sequence[Stuck]) -> DataFinding:
    texts = [f"|{_index(one.index, one.action, one.state)}| < {one.size:.3g} ({one.state})" for one in found]
    rows = sum(one.rows for one in found)
    return warning(
        "stiction",
        f"Small actions do not move coordinates at rest: nothing happens while {listed(texts)} ({rows} steps at rest; "
        "larger actions move them at once).",
        effect="Friction, or a dead zone of the controller. Demonstrated actions below this size had no effect; a "
        "policy that learns them stops before the goal or waits.",
        remedy="Cut the steps that have no effect with --drop-idle start middle, or compensate for the friction in the "
        "controller and keep it the same at deployment.",
        values={
            "coordinates": [
                {"action": one.action, "state": one.state, "index": one.index, "size": one.size, "rows": one.rows}
                for one in found
            ]
        },
    )
