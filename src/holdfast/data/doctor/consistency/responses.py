"""Findings on the response to the action: saturation, friction and play."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ..findings import DataFinding, Severity, listed, share, warning
from .backlash import Loose, loose_of
from .deadzone import DeadZone, zones_of
from .shapes import Kink, kinks_of
from .steps import Steps
from .stiction import Stuck, stuck_of
from .transforms import bases_of

MANY = 12
"""Number of coordinates above which an unclear response is a note."""
ALIKE = 0.75
"""Gain of the second best explanation, as a fraction of that of the best, from which both are possible."""
CLEAR = 0.5
"""Gain of play from which steps at rest are no sign of friction."""

One = TypeVar("One", Kink, Loose, DeadZone)


def check_responses(steps: Steps | None) -> Iterator[DataFinding]:
    """Saturation, friction and play; of each action, what explains its response best."""
    if steps is None:
        return
    bases = bases_of(steps)
    kinks, zones = _clearest(kinks_of(steps, bases)), _clearest(zones_of(steps, bases[1]))
    loose = _clearest(loose_of(steps, bases, zones))
    stuck = [one for one in stuck_of(steps) if _gain(loose, one.action) < max(CLEAR, _gain(zones, one.action))]
    rubbing, playing = _told_apart(zones, loose)
    saturated = [
        kinks[action] for action in kinks if kinks[action].gain > max(_gain(zones, action), _gain(loose, action))
    ]
    if saturated:
        yield _saturation(saturated)
    if stuck:
        yield _stiction(stuck)
    elif rubbing:
        yield _dead_zone(rubbing, _gain(loose, rubbing[0].action), _severity(steps, rubbing))
    if playing and not stuck:
        yield _backlash(playing, _gain(zones, playing[0].action), _severity(steps, playing))


def _severity(steps: Steps, found: Sequence[DeadZone] | Sequence[Loose]) -> Severity:
    """A note on a robot with many coordinates whose response another cause may explain as well."""
    return "warning" if len(steps.moving) <= MANY or max(one.gain for one in found) >= CLEAR else "note"


def _clearest(found: Sequence[One]) -> dict[str, One]:
    """One coordinate for each action: the one that shows it best."""
    best = dict[str, One]()
    for one in found:
        best.setdefault(one.action, one)
    return best


def _gain(found: Mapping[str, Kink] | Mapping[str, Loose] | Mapping[str, DeadZone], action: str) -> float:
    return found[action].gain if action in found else 0.0


def _told_apart(zones: Mapping[str, DeadZone], loose: Mapping[str, Loose]) -> tuple[list[DeadZone], list[Loose]]:
    """Actions with friction and actions with play; where both explain an action, as most of the others do."""
    actions = [*zones, *(action for action in loose if action not in zones)]
    play = {action: _gain(loose, action) > _gain(zones, action) for action in actions}
    most = sum(play.values()) > len(play) / 2
    for action in actions:
        low, high = sorted((_gain(zones, action), _gain(loose, action)))
        if low >= ALIKE * high:
            play[action] = most
    return [zones[a] for a in zones if not play[a]], [loose[a] for a in loose if play[a]]


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
        values={"coordinates": [_kink(kink) for kink in kinks]},
    )


def _kink(kink: Kink) -> dict[str, Any]:
    return {
        "action": kink.action,
        "state": kink.state,
        "index": kink.index,
        "level": kink.size,
        "share": kink.share,
        "gain": kink.gain,
        "slope": kink.slope,
    }


def _backlash(found: Sequence[Loose], friction: float, severity: Severity) -> DataFinding:
    texts = [f"{one.action} → {one.state}: {one.width:.3g}" for one in found]
    best = max(one.gain for one in found)
    return DataFinding(
        check="backlash",
        severity=severity,
        what="There is play: after a reversal of the command the coordinate stands still for a width of "
        f"{listed(texts)}. A model with play leaves {share(best)} less squared error on held-out episodes."
        + _instead("Dry friction", friction, found[0].gain),
        effect="After each reversal the robot does not follow until the play is taken up, which a single observation "
        "does not show. Learned corrections smaller than the play have no effect.",
        remedy="Remove the play or compensate for it in the controller, and record again; otherwise compare policies "
        "with --n-obs-steps 2, which show the direction of the motion.",
        values={
            "coordinates": [
                {
                    "action": one.action,
                    "state": one.state,
                    "index": one.index,
                    "width": one.width,
                    "share": one.share,
                    "gain": one.gain,
                }
                for one in found
            ]
        },
    )


def _instead(what: str, gain: float, best: float) -> str:
    """A sentence on the other explanation, if it is nearly as good."""
    return f" {what} would explain nearly as much ({share(gain)})." if gain >= ALIKE * best else ""


_FRICTION = (
    "Friction, or a dead zone of the controller. Demonstrated actions below this size had no effect; a policy that "
    "learns them stops before the goal or waits.",
    "Cut the steps that have no effect with --drop-idle start middle, or compensate for the friction in the controller "
    "and keep it the same at deployment.",
)


def _dead_zone(found: Sequence[DeadZone], play: float, severity: Severity) -> DataFinding:
    texts = [
        f"{one.action} of less than about {one.size:.3g} ({share(one.share)} of the steps) moves {one.state} at "
        f"{share(max(one.slope, 0.0))} of the usual rate"
        for one in found
    ]
    return DataFinding(
        check="stiction",
        severity=severity,
        what=f"Small actions have little or no effect: {listed(texts)}. A model with this dead zone leaves "
        f"{share(max(one.gain for one in found))} less squared error on held-out episodes."
        + _instead("Play", play, found[0].gain),
        effect=_FRICTION[0],
        remedy=_FRICTION[1],
        values={
            "coordinates": [
                {
                    "action": one.action,
                    "state": one.state,
                    "index": one.index,
                    "size": one.size,
                    "rows": one.rows,
                    "share": one.share,
                    "slope": one.slope,
                    "gain": one.gain,
                }
                for one in found
            ]
        },
    )


def _stiction(found: Sequence[Stuck]) -> DataFinding:
    texts = [f"|{_index(one.index, one.action, one.state)}| < {one.size:.3g} ({one.state})" for one in found]
    rows = sum(one.rows for one in found)
    return warning(
        "stiction",
        f"Small actions do not move coordinates at rest: nothing happens while {listed(texts)} ({rows} steps at rest; "
        "larger actions move them at once).",
        effect=_FRICTION[0],
        remedy=_FRICTION[1],
        values={
            "coordinates": [
                {"action": one.action, "state": one.state, "index": one.index, "size": one.size, "rows": one.rows}
                for one in found
            ]
        },
    )
