"""Actions at the limits of their range, beyond which the demonstrator's intention is not recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from .coordinates import Summary
from .findings import DataFinding, good, share
from .recording import Recording

__all__ = ["check_limits", "longest_run"]

NEAR = 1e-3
"""Distance from the end of the range, as a fraction of it, that counts as at the limit."""
WORTH_A_NOTE, WORTH_A_WARNING = 0.02, 0.10


def check_limits(recording: Recording, summaries: Sequence[Summary]) -> list[DataFinding]:
    """Share of the steps at the smallest or largest value of each action coordinate, and the longest run there."""
    found = list[tuple[float, str, Mapping[str, object]]]()
    for s in (s for s in summaries if s.quantity == "action" and not s.constant and not s.discrete):
        values = recording.actions.column(recording.actions.labels.index(s.label))
        margin = NEAR * s.span
        low, high = values <= s.low + margin, values >= s.high - margin
        held = float((low | high).mean())
        if held < WORTH_A_NOTE:
            continue
        steps, first = longest_run(low if low.mean() > high.mean() else high, recording)
        text = f"{s.label} in {share(held)} of the steps (longest run {steps} steps, from {recording.where(first)})"
        numbers = {"coordinate": s.label, "low": float(low.mean()), "high": float(high.mean()), "longest": steps}
        found.append((held, text, numbers))
    if not found:
        return [good("limits", "No action stays at the limits of its range.")]
    found.sort(key=lambda entry: -entry[0])
    return [
        DataFinding(
            check="limits",
            severity="warning" if found[0][0] >= WORTH_A_WARNING else "note",
            what=f"Actions stay at the limits of their range: {'; '.join(text for _, text, _ in found[:4])}"
            + (f"; and {len(found) - 4} more." if len(found) > 4 else "."),
            effect="Intended actions beyond the limit are clipped, and so are feedback corrections in that direction.",
            remedy="If the recorder imposes the limit, widen it and record again. If the actuator does, nothing is "
            "wrong: policies trained without gains stay within the recorded range.",
            values={"coordinates": [numbers for _, _, numbers in found]},
        )
    ]


def longest_run(mask: Bool[ndarray, " rows"], recording: Recording) -> tuple[int, int]:
    """Length and first row of the longest run of true steps inside one episode."""
    padded = np.zeros(len(mask) + len(recording.lengths) + 1, dtype=bool)
    # one false step before each episode separates runs
    places = np.cumsum(np.ones(len(mask), dtype=np.int64)) + recording.owner
    padded[places] = mask
    edges: Any = np.diff(padded.astype(np.int8), append=0)
    starts, ends = np.flatnonzero(edges == 1) + 1, np.flatnonzero(edges == -1) + 1
    if not len(starts):
        return 0, 0
    best = int((ends - starts).argmax())
    return int(ends[best] - starts[best]), int(np.searchsorted(places, int(starts[best])))
