"""From the rows of study real-time to its verdicts, tables and figures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ...policy.realtime import WAYS, Delay
from ...recipe import Recipe
from ...report import Chart, Series
from ...report.chart import draw_charts
from ..engine.jobs import grouped
from ..engine.result import Answer, Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.tables import Column, ResultTable, Row, brackets, column, computed, interval
from .plan import CHUNKS, LATE, H, S
from .tasks import GUST, NEAR

MARGIN = 0.05
"""Largest loss of the solved share that still counts as none."""
COLOURS = {
    "wait": "#a9b0b8",
    "naive": "#3d444c",
    "ensemble": "#cf5b93",
    "bid": "#b07a22",
    "guided": "#d1431f",
    "guided-no-jacobian": "#e8a33d",
    "trained": "#5a4fb0",
    "conditioned": "#0b6fb3",
    "streaming": "#17978b",
    "forward": "#6b9c2f",
    "residual": "#8a949e",
}
"""Colour of each way."""
_PUBLISHED = (
    "Published, for orientation, on another task (Push-T with correlated action noise of scale 1.0, without delay): "
    "diffusion policy 0.582 (8 steps executed) and 0.805 (1 step), EMA 0.822, BID 0.870 (Liu et al. 2024, arXiv "
    "2408.17355). Of real-time chunking only figures are published (Black et al. 2025, arXiv 2506.07339)."
)


def real_time_result(rows: Sequence[Row], comparisons: Sequence[Row], *, recipes: Mapping[str, Recipe]) -> StudyResult:
    """Everything that the study found."""
    flown = [row for row in rows if row["way"] in WAYS]
    delays = sorted({row["delay"] for row in flown}, key=lambda text: (Delay.parse(text).low, "-" in text, text))
    delays.sort(key=lambda text: "-" in text)
    kinds = list(grouped(((row["task"], row["arm"], row["way"]), row) for row in flown).values())
    names = (column("task", "task"), column("policy", "arm"), column("way", "way"))
    wide = [{**kind[0], "of": {row["delay"]: row for row in kind}} for kind in kinds]
    return StudyResult(
        title="What inference delay costs, and what gives it back",
        lead=f"Policies plan {H} steps, execute {S} of them between plans, and get each plan d control steps after its "
        "observation. From the same starts, in the same gusts.",
        rows=[
            *measurement_rows(rows, ("solved", "seam"), omit=("by_seed",)),
            *comparison_rows(comparisons, {"difference": "solved"}, omit=("seeds_in_favour", "seeds_against", "seeds")),
        ],
        verdicts=real_time_verdicts(rows, comparisons),
        tables=[
            ResultTable("Solved, by delay d", (*names, *_by_delay(delays, "solved")), wide, _CAPTION),
            ResultTable(
                "Jump of the action at a switch of plans",
                (*names, *_by_delay(delays, "seam")),
                wide,
                _JUMPS,
                page_only=True,
            ),
            PAIRED_TABLE.of(comparisons),
            LATE_TABLE.of([row for row in rows if row["way"] in (CHUNKS, LATE)]),
        ],
        figures={"real-time": _figure(flown, "solved"), "real-time-seams": _figure(flown, "seam")},
        notes=[_HOW, _INTERVALS, _PUBLISHED],
        recipes=recipes,
        values={"gust": GUST, "margin": MARGIN},
    )


_CAPTION = (
    "Share of solved episodes with exact binomial 95 % intervals over all episodes. 0-4: drawn anew for each plan. "
    "Ways that a family cannot do have no row."
)
_JUMPS = "In mean steps of the demonstrations' actions: 1 is as smooth as they are. Of a robot that waits: at arrivals."
_HOW = (
    "fork: a fast point mass in a headwind and in random gusts passes a disc on its left or its right; solved if it "
    "reaches the finish without touching disc or walls. quadrotor2d: in gusts with standard deviation "
    f"{GUST:g} m/s and rad/s per step on the rates; solved if it ends within {NEAR:g} of the goal. The way forward has "
    "the true dynamics without gusts; bid has 15 plans, and the same training after a fifth of its updates as the "
    "weaker policy. At delay 0, wait, naive, conditioned, trained and forward are the same policy."
)
_INTERVALS = (
    "Intervals hold for the trainings that were made: over the episodes of all seeds, and over the differences of "
    "paired episodes. A difference is significant when its interval excludes zero; no correction is made for "
    "the number of comparisons. Seeds in favour tells whether the trainings agree."
)


def _by_delay(delays: Sequence[str], key: str) -> list[Column]:
    def shown(delay: str) -> Callable[[Row], str | None]:
        return lambda row: interval(one, key) if key in (one := row["of"].get(delay, {})) else None

    return [computed(f"d = {delay}", shown(delay)) for delay in delays]


PAIRED_TABLE = ResultTable(
    "Paired by seed and start",
    (
        column("task", "task"),
        column("policy", "arm"),
        column("d", "delay"),
        column("against", "against"),
        column("d ", "delay_against"),
        column("solved", "difference", "+.3f"),
        computed("95 % interval", lambda row: brackets(row["difference_low"], row["difference_high"], "+.3f")),
        computed("seeds in favour", lambda row: f"{row['seeds_in_favour']} of {row['seeds']}"),
    ),
    page_only=True,
)
LATE_TABLE = ResultTable(
    "Chunks of k steps, and one-step policies that answer the observation of k steps ago",
    (
        column("task", "task"),
        column("policy", "arm"),
        column("", "way"),
        column("k", "delay"),
        computed("solved", lambda row: interval(row, "solved")),
    ),
    caption="Without inference delay. k = 0 is the plain one-step policy; chunks of 1 step replan at every step.",
)


def real_time_verdicts(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims, each over the fixed delays of 2 and more where it is about delay."""
    late = [item for item in comparisons if _fixed(item["delay"]) >= 2]

    def pairs(task: str, arm: str, against: str) -> list[Row]:
        found = [item for item in late if (item["task"], item["arm"], item["against"]) == (task, arm, against)]
        return [item for item in found if item["delay"] == item["delay_against"]]

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
            pairs("fork", f"{arm}, conditioned", f"{other}, guided"),
        )
        for arm, other in (("streaming", "streaming"), ("mixture", "flow"), ("streaming", "flow"))
    ]
    gains = [
        item for item in comparisons if item["arm"] == item["against"] == "flow-gains, naive" and item["delay"] == "4"
    ]
    found.append(_not_worse("With gains, a delay of 4 steps costs the quadrotor at most 0.05.", gains))
    found.append(
        _better(
            "At d ≥ 2 the quadrotor with gains, switching when the plan is there, solves more than with raw actions.",
            pairs("quadrotor2d", "flow-gains, naive", "flow, naive"),
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
    parted = item["against"] if item["arm"] != item["against"] else ""
    named = f"{item['arm']} against {parted}, " if item["arm"].split(", ")[1] in (CHUNKS, LATE) else ""
    key = "k" if named else "d"
    agree = f"{item['seeds_in_favour']} of {item['seeds']} seeds in favour"
    return f"{named}{key} = {item['delay']}{other}: {item['difference']:+.2f} {change}, {agree}"


def _fixed(delay: str) -> int:
    """A fixed delay; −1 for one that is drawn."""
    return int(delay) if delay.isdecimal() else -1


def _figure(rows: Sequence[Row], key: str) -> Drawing:
    """One chart for each policy: a line for each way over the fixed delays."""
    charts = list[Chart]()
    for (task, arm), own in grouped(((row["task"], row["arm"]), row) for row in rows if key in row).items():
        if not (own := [row for row in own if row["delay"].isdecimal()]):
            continue
        ways = grouped((row["way"], row) for row in own)
        lines = [_line(way, sorted(kind, key=lambda row: int(row["delay"])), key) for way, kind in ways.items()]
        label = "solved" if key == "solved" else "jump [demonstrations' steps]"
        charts.append(Chart(f"{task}: {arm}", lines, "delay d [control steps]", label))
    solved = key == "solved"
    return Drawing(
        partial(draw_charts, charts=charts, columns=2),
        "Solved, over the delay" if solved else "Jump of the action where another plan begins to run",
        "Fixed delays; bars: 95 % intervals over episodes." + ("" if solved else " 1: as smooth as demonstrations."),
        "Share of solved episodes over the delay" if solved else "Jumps at switches of plans over the delay",
    )


def _line(way: str, rows: Sequence[Row], key: str) -> Series:
    numbers: dict[str, Any] = {end: [row[f"{key}{end}"] for row in rows] for end in ("", "_low", "_high")}
    return Series(
        way,
        [float(row["delay"]) for row in rows],
        numbers[""],
        numbers["_low"],
        numbers["_high"],
        colour=COLOURS[way],
        points=True,
    )
