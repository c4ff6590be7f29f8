"""From the rows of study imperfect-oracle to its verdicts, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ...recipe import Recipe
from ...report.dots import Dot, DotPanel, draw_dots
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.statistics import INTERVALS, estimate_in
from ..engine.tables import ResultTable, Row, brackets, column, computed, estimate, ratio, signed
from ..quadrotor.labels import paired_table, quadrotor_rows

_ORACLE = computed("oracle", lambda row: oracle_label(row))
MAIN_TABLE = ResultTable(
    "All oracles",
    (
        _ORACLE,
        column("gains", "gains"),
        column("N", "n_demos"),
        estimate("score", "score"),
        estimate("distance", "distance"),
        estimate("diverged", "diverged", percent=True, page_only=True),
        column("radius at hover", "radius", ".3f"),
        column("error of gains", "gain_error", ".0%", page_only=True),
        column("failed", "failed"),
    ),
    caption="Radius: spectral radius of the true closed loop at hover under the last demonstrated gain, mean over "
    "seeds; below 1 it is stable. Error of gains: median of ‖K − K*‖ / ‖K*‖. Failed: number of seeds for "
    "which there were no gains. Brackets: 95 % intervals.",
)
PAIRED_TABLE = paired_table(
    "Compared with the perfect oracle, by seed and start",
    (_ORACLE, column("perfect gains", "against"), column("N", "n_demos")),
)
METRICS = ("score", "distance", "diverged", "radius", "gain_error", "failed")
_ORDER = ("perfect", "wrong mass", "learned", "scaled gains", "late gains", "late state", "absent")


def imperfect_oracle_result(
    rows: Sequence[Row], comparisons: Sequence[Row], problems: Sequence[str], *, recipes: Mapping[str, Recipe]
) -> StudyResult:
    """Everything that the study found; `problems` are the error messages of oracles that gave no gains."""
    settings = sorted({(row["n_demos"], row["gains"]) for row in rows if row["gains"] != "none"})
    failures = [f"Error messages of oracles that gave no gains: {' '.join(problems)}"] if problems else []
    return StudyResult(
        title="Imperfect gains",
        lead="The 2-D quadrotor, cloned with gains from wrong or learned dynamics, scaled, late, or without any.",
        rows=quadrotor_rows(rows, comparisons, METRICS, arm="oracle"),
        verdicts=imperfect_oracle_verdicts(rows, comparisons),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={f"imperfect-oracle-{kind}-n{count}": _drawing(rows, count, kind) for count, kind in settings},
        notes=[*failures, INTERVALS],
        recipes=recipes,
        values={"problems": problems},
    )


def _drawing(rows: Sequence[Row], count: int, kind: str) -> Drawing:
    own = [row for row in rows if row["n_demos"] == count and row["gains"] in (kind, "none")]
    return Drawing(
        partial(draw_oracles, rows=own),
        f"Each imperfection: {kind}, N = {count}",
        "Blue: imperfect gains in the demonstrations, with a training run of their own. Teal: true gains in training, "
        "altered at deployment. Red: raw actions, with their best settings. Dashed, shaded: the perfect oracle. Long "
        "intervals are cut off. Codes are normalized by their own range, so gains scaled before training and at "
        "deployment give the same policy up to rounding, except when scaled by 0.",
        "Score and distance to the expert under each imperfection of the gains",
    )


def draw_oracles(path: Path, rows: Sequence[Row]) -> Path:
    """Score (left) and distance to the expert (right), one line per oracle, with 95 % intervals over seeds."""
    ordered = sorted(rows, key=lambda row: (_rank(row), str(row["oracle"]), row["amount"] or 0.0))
    panels = [
        DotPanel(
            _title(rows, name),
            "mean and 95 % interval over seeds" if name == "score" else "geometric mean and interval",
            {oracle_label(row): [Dot(estimate_in(row, name), _colour(row))] for row in ordered if name in row},
            "score, expert = 1" if name == "score" else "distance to the expert [SI]",
            log=name == "distance",
            reference=next(
                (estimate_in(row, name) for row in rows if row["oracle"] == "perfect" and name in row), None
            ),
        )
        for name in ("score", "distance")
    ]
    return draw_dots(path, [oracle_label(row) for row in ordered], panels, width=4.0)


def _rank(row: Row) -> tuple[int, bool]:
    place = next(index for index, name in enumerate(_ORDER) if str(row["oracle"]).startswith(name))
    return place, row["where"] == "flight"


def _colour(row: Row) -> str:
    if row["oracle"] == "absent":
        return RAW_ACTIONS
    return OTHERS[0] if row["where"] == "flight" else GAINS


def _title(rows: Sequence[Row], name: str) -> str:
    """The perfect oracle, and the worst imperfect one that gives gains."""
    perfect = next((row for row in rows if row["oracle"] == "perfect"), None)
    others = [row for row in rows if row["oracle"] not in ("perfect", "absent") and name in row]
    if perfect is None or not others:
        return "Imperfect oracles"
    worst = (min if name == "score" else max)(others, key=lambda row: row[name])
    return f"Perfect: {name} {perfect[name]:.2f}; worst: {worst[name]:.2f} ({oracle_label(worst)})"


def oracle_label(row: Row) -> str:
    """Name of a row's oracle.

    >>> oracle_label({"oracle": "wrong mass", "where": "training", "amount": 0.5})
    'mass × 0.5'
    """
    amount = "" if row["amount"] is None else f"{row['amount']:g}"
    match row["oracle"]:
        case "wrong mass":
            return f"mass × {amount}"
        case "scaled gains":
            return f"gains × {amount}" + (" at deployment" if row["where"] == "flight" else "")
        case "late gains":
            return f"gains {amount} steps late"
        case "late state":
            return f"state {amount} step{'s' * (amount != '1')} late"
        case "absent":
            return "absent: raw actions"
        case name:
            return str(name)


def imperfect_oracle_verdicts(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """How each imperfection compares with the perfect oracle, and whether stability decides."""
    found = list[Verdict]()
    for kind, count in sorted({(item["against"], item["n_demos"]) for item in comparisons}):
        own = [item for item in comparisons if (item["against"], item["n_demos"]) == (kind, count)]
        imperfect, absent = ([item for item in own if (item["oracle"] == "absent") == is_it] for is_it in (False, True))
        if imperfect:
            found.append(_harmless(imperfect, f"{kind}, N = {count}"))
        found += [_absent(item, f"{kind}, N = {count}") for item in absent]
    return [*found, *_radii(rows)]


def _harmless(items: Sequence[Row], name: str) -> Verdict:
    parts, worse = list[str](), 0
    for metric, words, bad in (("score", "score", "below"), ("distance", "distance to the expert", "above")):
        groups = {"worse": list[str](), "better": list[str](), "not significant": list[str]()}
        for item in items:
            side = item[f"{metric}_side"]
            groups["worse" if side == bad else side if side == "not significant" else "better"].append(
                _named(item, metric)
            )
        worse += len(groups["worse"])
        told = "; ".join(f"{key}: {', '.join(names) or 'none'}" for key, names in groups.items())
        parts.append(f"{words}: {told}")
    claim = f"An imperfect oracle does as well as the perfect one ({name})."
    return Verdict(claim, f"In {'. In '.join(parts)}.", "no" if worse else "open")


def _named(item: Row, metric: str) -> str:
    if item[f"{metric}_side"] == "not significant":
        return oracle_label(item)
    change = signed(item["score_difference"]) if metric == "score" else f"× {ratio(item['distance_ratio'])}"
    return f"{oracle_label(item)} ({change})"


def _absent(item: Row, name: str) -> Verdict:
    scores = brackets(item["score_difference_low"], item["score_difference_high"], "+.2f")
    distances = brackets(item["distance_ratio_low"], item["distance_ratio_high"], ratio)
    seen = (
        f"Raw actions without noise: score {item['score_difference']:+.2f} {scores}, distance × "
        f"{ratio(item['distance_ratio'])} {distances} relative to the perfect oracle."
    )
    bad, good = item["score_side"] == "below", item["score_side"] == "above"
    return Verdict(f"Without an oracle the score is lower ({name}).", seen, answer(bad, good, of=1))


def _radii(rows: Sequence[Row]) -> list[Verdict]:
    """Whether stability of the closed loop decides."""
    known = [row for row in rows if row.get("radius") is not None]
    stable, unstable = ([row for row in known if (row["radius"] < 1) == below] for below in (True, False))
    if not stable or not unstable:
        return []
    least, most = min(row["score"] for row in stable), max(row["score"] for row in unstable)
    seen = (
        f"Gains with a spectral radius of the true closed loop at hover below 1 ({len(stable)} rows) score {least:.2f} "
        f"to {max(row['score'] for row in stable):.2f}; the others ({len(unstable)} rows) "
        f"{min(row['score'] for row in unstable):.2f} to {most:.2f}."
    )
    claim = "The gains need to stabilize, not to be optimal (Block et al. 2023, arXiv 2307.14619, limitations)."
    return [Verdict(claim, seen, "yes" if least > most else "open")]
