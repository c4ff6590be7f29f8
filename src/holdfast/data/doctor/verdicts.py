"""Findings on the meaning of the actions: what they are, when the state responds, and what follows for training."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from .findings import DataFinding, listed, note
from .semantics import Kind, Meaning


def check_semantics(found: Sequence[Meaning], dt: float | None) -> list[DataFinding]:
    """Kind of the actions, latency of the response, and what follows for training."""
    if not found:
        what = "The meaning of the actions cannot be determined: too few steps, or too short episodes."
        return [note("semantics", what)]
    counts = Counter[Kind](meaning.kind for meaning in found)
    # one clear coordinate is more informative than several unclear ones
    clear = Counter[Kind]({kind: count for kind, count in counts.items() if kind != "unknown"})
    kind, many = (clear or counts).most_common(1)[0]
    what, effect, remedy = _VERDICTS[kind]
    known = [meaning for meaning in found if meaning.kind == kind]
    text = f"{many} of {len(found)} action coordinates {what}{_examples(known, dt)}"
    rest = [f"{count} {_CALLED[other]}" for other, count in counts.most_common() if other != kind]
    text += f" The others: {listed(rest)}." if rest else ""
    coordinates = [
        {"action": m.action, "kind": m.kind, "state": m.state, "lag": m.lag, "first": m.first, "r2": m.r2}
        for m in found
    ]
    first = note("semantics", text, effect, remedy, {"kind": kind, "coordinates": coordinates})
    return [first, *_late(known, dt, kind)]


def _examples(known: Sequence[Meaning], dt: float | None) -> str:
    if known[0].kind == "unknown":
        return "."
    some = known[:3]
    if known[0].kind == "force":
        examples = [f"{m.action} → {m.state} (partial R² {m.r2:.3f}{_first(m, dt)})" for m in some]
    else:
        lags = [f", strongest {steps(m.lag, dt)} later" if m.lag else "" for m in some]
        examples = [
            f"{m.action} → {m.state} (R² {m.r2:.3f}{_first(m, dt)}{lag})" for m, lag in zip(some, lags, strict=True)
        ]
    return f": for example {listed(examples)}." if len(known) > 3 else f": {listed(examples)}."


def _first(meaning: Meaning, dt: float | None) -> str:
    return f", first effect {steps(meaning.first, dt)} later" if meaning.first > 0 else ""


def steps(count: int | float, dt: float | None) -> str:
    """A number of steps, with seconds if `dt` is known.

    >>> steps(4, 0.1), steps(1, None)
    ('4 steps = 0.4 s', '1 step')
    """
    text = f"{count:g} step{'' if count == 1 else 's'}"
    return text if dt is None else f"{text} = {count * dt:.3g} s"


def _late(known: Sequence[Meaning], dt: float | None, kind: Kind) -> Iterator[DataFinding]:
    timed = sorted((m for m in known if m.lag > 0), key=lambda m: m.lag)
    if kind in ("unknown", "force") or not timed or timed[-1].lag < 2:
        return
    quick, slow = timed[0].lag, timed[-1].lag
    middle = float(np.median([m.lag for m in timed]))
    last = next(m for m in timed if m.lag == slow)
    spread = f": from {steps(quick, dt)} ({timed[0].action}) to {steps(slow, dt)} ({last.action})"
    yield note(
        "latency",
        f"The state responds to an action {steps(middle, dt)} later"
        + (f" (median over coordinates){spread}." if quick < slow else "."),
        effect="The servo and delays both contribute. An observation shows the response to actions that long "
        "ago; a single observation does not show the motion in progress.",
        remedy="Keep the same servo and the same delays in deployment.",
        values={"median": middle, "longest": slow, "seconds": None if dt is None else middle * dt},
    )


_CALLED: dict[Kind, str] = {
    "target": "targets",
    "velocity": "velocities or deltas",
    "force": "forces",
    "unknown": "without a clear response in the state",
}

_VERDICTS: dict[Kind, tuple[str, str, str]] = {
    "target": (
        "are targets of a servo that the state follows",
        "The servo is the primitive controller: it corrects deviations between two plans, with the robot's own gains.",
        "This is what the default recipe assumes (--codec actions --synthesis none, unless the system is built in).",
    ),
    "velocity": (
        "are velocities or deltas, which the state integrates",
        "Nothing corrects the position: an error in one step persists, and errors of open-loop steps accumulate.",
        "The default recipe clones them as they are. If the robot has a position servo, compare in closed loop with "
        "the targets (the cumulative sum of the deltas) as actions.",
    ),
    "force": (
        "are forces, torques or other inputs that change the velocity",
        "Between two plans nothing corrects a deviation, and on an unstable system it grows with every step.",
        "If the dynamics are known (a built-in system), the default clones gains: --codec affine --synthesis tvlqr. "
        "Otherwise compare values of --n-action-steps in closed loop.",
    ),
    "unknown": (
        "have no clear response in the state",
        "They may act on quantities that are not recorded, or on many coordinates at once, as with a whole-body "
        "controller.",
        "Make sure that the state contains what the actions move.",
    ),
}
