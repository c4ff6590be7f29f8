"""Actions at the limits of their range, beyond which the demonstrator's intention is not recorded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from .findings import DataFinding, Summary, good, note, share, warning
from .recording import Recording

NEAR = 1e-3
"""Distance from the end of the range, as a fraction of it, that counts as at the limit."""
WORTH_A_NOTE, WORTH_A_WARNING = 0.02, 0.10


def check_limits(recording: Recording, summaries: Sequence[Summary]) -> list[DataFinding]:
    """Share of the steps at the smallest or largest value of each action coordinate, and the longest run there."""
    found = list[tuple[float, str, dict[str, Any]]]()
    for s in (s for s in summaries if s.quantity == "action" and not s.constant and not s.discrete):
        values, margin = recording.column(s.label), NEAR * s.span
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
    shares, texts, numbers = zip(*sorted(found, key=lambda entry: -entry[0]), strict=True)
    return [
        (warning if shares[0] >= WORTH_A_WARNING else note)(
            "limits",
            f"Actions stay at the limits of their range: {'; '.join(texts[:4])}"
            + (f"; and {len(texts) - 4} more." if len(texts) > 4 else "."),
            effect="Intended actions beyond the limit are clipped, and so are feedback corrections in that direction.",
            remedy="If the recorder imposes the limit, widen it and record again. If the actuator does, nothing is "
            "wrong: policies trained without gains stay within the recorded range.",
            values={"coordinates": list(numbers)},
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
