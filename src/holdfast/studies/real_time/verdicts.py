"""Verdicts of study real-time on the claims about delay."""

from collections.abc import Sequence

from ..engine.result import Answer, Verdict, answer
from ..engine.tables import Row, brackets
from .plan import CHUNKS, LATE

MARGIN = 0.05
"""Largest loss of the solved share that still counts as none."""


def real_time_verdicts(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims, each over the fixed delays of 2 and more where it is about delay."""
    late = [item for item in comparisons if _fixed(item["delay"]) >= 2]

    def pairs(task: str, arm: str, against: str) -> list[Row]:
        found = [item for item in late if (item["task"], item["arm"], item["against"]) == (task, arm, against)]
        return [item for item in found if item["delay"] == item["delay_against"]]

    def own(arm: str) -> list[Row]:
        kind = [item for item in late if item["task"] == "quadrotor2d" and item["delay"] == "4"]
        return [item for item in kind if item["arm"] == item["against"] == f"{arm}, naive"]

    source = "(Black et al. 2025, arXiv 2506.07339)"
    found = [
        _better(
            f"On the fork, guided real-time chunking solves more than {word} at d ≥ 2 {source}.",
            pairs("fork", "flow, guided", f"flow, {way}"),
        )
        for way, word in (("naive", "switching when the plan is there"), ("ensemble", "averaging plans"))
    ]
    found += [
        _not_worse(
            f"On the fork, exact conditioning ({arm}) solves at least as much as guidance ({other}) at d ≥ 2.",
            pairs("fork", f"{arm}, {way}", f"{other}, guided"),
        )
        for arm, way, other in (
            ("mixture", "conditioned", "flow"),
            ("streaming", "trained", "streaming"),
            ("flow-prefix", "trained", "flow"),
        )
    ]
    for arm, word in (("flow-gains", "With gains"), ("flow", "With raw actions")):
        found.append(_not_worse(f"{word}, a delay of 4 steps costs the quadrotor at most 0.05.", own(arm)))
    found.append(
        _better(
            "At d ≥ 2 the quadrotor with gains, switching when the plan is there, solves more than with raw actions.",
            pairs("quadrotor2d", "flow-gains, naive", "flow, naive"),
        )
    )
    found.append(
        _not_worse(
            "At d ≥ 2 the quadrotor with gains solves at least as much as with raw actions and a learned correction of "
            "every step (A2C2: arXiv 2509.23224).",
            pairs("quadrotor2d", "flow-gains, naive", "flow, residual"),
        )
    )
    found.append(_late(comparisons))
    return [verdict for verdict in found if verdict is not None]


def _better(claim: str, pairs: Sequence[Row]) -> Verdict | None:
    """The claim that a difference is positive at every delay."""
    if not pairs:
        return None
    sides = [item["side"] for item in pairs]
    return _verdict(claim, pairs, answer(sides.count("above"), sides.count("below"), of=len(sides)))


def _not_worse(claim: str, pairs: Sequence[Row]) -> Verdict | None:
    """The claim that a difference is nowhere below −0.05."""
    if not pairs:
        return None
    within = all(item["difference_low"] > -MARGIN for item in pairs)
    worse = any(item["difference_high"] < -MARGIN for item in pairs)
    return _verdict(claim, pairs, "no" if worse else "yes" if within else "open")


def _late(comparisons: Sequence[Row]) -> Verdict | None:
    pairs = [
        item for item in comparisons if item["arm"] == f"one-step, {LATE}" and item["against"] == f"flow, {CHUNKS}"
    ]
    pairs = [item for item in pairs if item["delay"] != "0"]
    if not pairs:
        return None
    gained = [item for item in comparisons if item["arm"] in (f"one-step, {LATE}", f"flow, {CHUNKS}")]
    gained = [item for item in gained if item["delay_against"] in ("0", "1") and item["delay"] != "0"]
    claim = (
        "A one-step policy that answers the observation of k steps ago does as well as chunks of k steps "
        "(arXiv 2608.02547), on the fork."
    )
    answers = _not_worse(claim, pairs)
    assert answers is not None
    return Verdict(claim, answers.seen, answers.holds, tuple(_told(item) for item in gained))


def _verdict(claim: str, pairs: Sequence[Row], holds: Answer) -> Verdict:
    return Verdict(claim, "; ".join(map(_told, pairs)) + ".", holds)


def _told(item: Row) -> str:
    other = "" if item["delay"] == item["delay_against"] else f" against {item['delay_against']}"
    change = brackets(item["difference_low"], item["difference_high"], "+.2f")
    parted = f" against {item['against']}" if item["arm"] != item["against"] else ""
    named = f"{item['arm']}{parted}, " if item["arm"].split(", ")[1] in (CHUNKS, LATE) else ""
    key = "k" if named else "d"
    agree = f"{item['seeds_in_favour']} of {item['seeds']} seeds in favour"
    return f"{named}{key} = {item['delay']}{other}: {item['difference']:+.2f} {change}, {agree}"


def _fixed(delay: str) -> int:
    """A fixed delay; −1 for one that is drawn."""
    return int(delay) if delay.isdecimal() else -1
