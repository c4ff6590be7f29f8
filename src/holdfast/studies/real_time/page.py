"""From the rows of study real-time to its verdicts, tables and figures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ...policy.realtime import WAYS, Delay
from ...recipe import Recipe
from ...report import Chart, Series
from ...report.chart import draw_charts
from ..engine.jobs import grouped
from ..engine.result import Drawing, StudyResult
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.tables import ResultTable, Row, brackets, column, computed, interval
from .job import HUMAN, H, S
from .plan import CHUNKS, LATE
from .tasks import FIRST_SEED, GUST, NEAR, SCORED
from .verdicts import MARGIN, real_time_verdicts

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
    "residual": "#6e4b2a",
}
"""Colour of each way."""
_PUBLISHED = (
    "Published for Push-T with correlated action noise of scale 1.0, without delay (pusht-noise at d = 0): "
    "diffusion policy 0.582 (8 steps executed) and 0.805 (1 step), EMA 0.822, BID 0.870 (Liu et al. 2024, arXiv "
    "2408.17355). Of real-time chunking only figures are published (Black et al. 2025, arXiv 2506.07339)."
)


def real_time_result(rows: Sequence[Row], comparisons: Sequence[Row], *, recipes: Mapping[str, Recipe]) -> StudyResult:
    """Everything that the study found."""
    flown = [row for row in rows if row["way"] in WAYS]
    return StudyResult(
        title="What inference delay costs, and what gives it back",
        lead=f"Policies plan {H} steps, execute {S} of them between plans, and get each plan d control steps after its "
        "observation. All ways are measured from the same starts and in the same gusts.",
        rows=[
            *measurement_rows(rows, ("solved", "score", "seam"), omit=("by_seed",)),
            *_differences([item for item in comparisons if item["task"] not in SCORED], "solved"),
            *_differences([item for item in comparisons if item["task"] in SCORED], "score"),
        ],
        verdicts=real_time_verdicts(rows, comparisons),
        tables=[table for table in _tables(rows, comparisons) if table.rows],
        figures={"real-time": _figure(flown, "solved"), "real-time-seams": _figure(flown, "seam")},
        notes=[_HOW, _INTERVALS, _PUBLISHED],
        recipes=recipes,
        values={"gust": GUST, "margin": MARGIN, "first_seed": FIRST_SEED, "forward_dynamics": "known"},
    )


def _tables(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[ResultTable]:
    flown = [row for row in rows if row["way"] in WAYS]
    built_in, human = _wide(flown, lambda task: task not in HUMAN), _wide(flown, lambda task: task in HUMAN)
    return [
        _by_delay("Solved, by delay d", built_in, "solved", _CAPTION),
        _by_delay("Solved, with a delay that is drawn anew for each plan", built_in, "solved", _CAPTION, drawn=True),
        _by_delay("Push-T and Avoid: solved, by delay d", human, "solved", _CAPTION),
        _by_delay("Push-T: score, by delay d", [row for row in human if "score" in row], "score", _SCORE),
        _by_delay("Jump of the action at a switch of plans", [*built_in, *human], "seam", _JUMPS, page_only=True),
        PAIRED_TABLE.of([item for item in comparisons if item["delay"].isdecimal()]),
        LATE_TABLE.of([row for row in rows if row["way"] in (CHUNKS, LATE)]),
    ]


_CAPTION = (
    "Share of solved episodes with exact binomial 95 % intervals over all episodes. "
    "Ways that a family cannot do have no row."
)
_SCORE = (
    "Mean over episodes of the largest coverage, divided by 0.95 and clipped at 1, with 95 % intervals over all "
    "episodes. pusht is without action noise, and pusht-noise with that of the published numbers below."
)
_JUMPS = "In mean steps of the demonstrations' actions: 1 is as smooth as they are. Of a robot that waits: at arrivals."
_HOW = (
    "fork: a fast point mass in a headwind and in random gusts passes a disc on its left or its right; solved if it "
    "reaches the finish without touching disc or walls. quadrotor2d: in gusts with standard deviation "
    f"{GUST:g} m/s and rad/s per step on the rates; solved if it ends within {NEAR:g} of the goal. The way forward has "
    "the true dynamics without gusts; bid has 15 plans, and the same training after a fifth of its updates as the "
    "weaker policy. At delay 0, wait, naive, conditioned, trained and forward are the same policy. pusht and avoid: "
    "people's demonstrations; in pusht-noise, noise in proportion to the motion of the running plan is added to its "
    "actions, correlated from plan to plan (0.9). flow-prefix is trained with 0 to 8 clean first steps, "
    "flow-gains learns controllers with gains. "
    f"Episodes begin at seed {FIRST_SEED}; these starts played no part in any choice."
)
_INTERVALS = (
    "Intervals hold for the trainings that were made: over the episodes of all seeds, and over the differences of "
    "paired episodes. A difference is significant when its interval excludes zero; no correction is made for "
    "the number of comparisons. Seeds in favour tells whether the trainings agree."
)


def _wide(rows: Sequence[Row], of: Callable[[str], bool]) -> list[Row]:
    """One row for each policy and way on some tasks, with those of its delays as `of`."""
    kinds = grouped(((row["task"], row["arm"], row["way"]), row) for row in rows if of(row["task"])).values()
    return [{**kind[0], "of": {row["delay"]: row for row in kind}} for kind in kinds]


def _by_delay(
    title: str, rows: Sequence[Row], key: str, caption: str, *, drawn: bool = False, page_only: bool = False
) -> ResultTable:
    """A table with one column for each fixed delay, or for each range from which delays are drawn."""
    found = {delay for row in rows for delay in row["of"]}
    delays = sorted((delay for delay in found if ("-" in delay) is drawn), key=_order)
    names = (computed("policy", lambda row: f"{row['task']}: {row['arm']}"), column("way", "way"))
    columns = [computed(f"d = {delay}", partial(_shown, delay, key)) for delay in delays]
    return ResultTable(title, (*names, *columns), rows if delays else [], caption, page_only=page_only)


def _order(delay: str) -> tuple[int, int]:
    one = Delay.parse(delay)
    return one.low, one.largest


def _shown(delay: str, key: str, row: Row) -> str | None:
    return interval(one, key) if key in (one := row["of"].get(delay, {})) else None


def _differences(comparisons: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    return comparison_rows(comparisons, {"difference": metric}, omit=("seeds_in_favour", "seeds_against", "seeds"))


PAIRED_TABLE = ResultTable(
    "Paired by seed and start, at fixed delays",
    (
        computed("policy", lambda row: f"{row['task']}: {row['arm']}"),
        column("d", "delay"),
        column("against", "against"),
        column("d ", "delay_against"),
        column("solved, or score on Push-T", "difference", "+.3f"),
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
        computed("score", lambda row: interval(row, "score") if "score" in row else None),
    ),
    caption="Without inference delay. k = 0 is the plain one-step policy; chunks of 1 step replan at every step.",
)


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
