"""The page and the figures of study imperfect-oracle: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from ..quadrotor.words import difference, interval, times
from .figure import draw_imperfect_oracle, oracle_label
from .plan import ImperfectOracle

__all__ = ["imperfect_oracle_findings", "write_imperfect_oracle_page"]

Row = dict[str, Any]

CLAIMED = (
    "Claimed (Block et al. 2023, arXiv 2307.14619; seed 003, limitations): the method assumes a synthesis oracle that "
    "gives stabilising gains for all demonstrations, which may be unrealistic; how it fares with an imperfect one was "
    "left open. Its theory needs gains that stabilise, not the optimal ones."
)


def write_imperfect_oracle_page(folder: Path, found: ImperfectOracle) -> list[Path]:
    """Write a figure for each number of demonstrations and kind of gains, and `index.html`; returns their paths."""
    settings = sorted({(row["n_demos"], row["gains"]) for row in found.rows if row["gains"] != "none"})
    figures = list[Path]()
    for count, kind in settings:
        own = [row for row in found.rows if row["n_demos"] == count and row["gains"] in (kind, "none")]
        figures.append(draw_imperfect_oracle(folder / f"imperfect-oracle-{kind}-n{count}.png", own))
    sections: list[Section] = [
        Picture(
            f"Each imperfection: {kind}, N = {count}",
            figure,
            "Blue: imperfect gains in the demonstrations, trained again on them. Teal: true gains in training, spoilt "
            "in flight. Red: raw actions, in the way that suits them best. Dashed, shaded: the perfect oracle. "
            "Long intervals are cut off at the panel. Codes are normalised by their own range, so gains scaled before "
            "training and in flight are the same policy up to rounding, but for those scaled by 0.",
            "Score and distance to the expert under each imperfection of the gains",
        )
        for (count, kind), figure in zip(settings, figures, strict=True)
    ]
    sections += [Text("What was claimed, what was seen", [CLAIMED, *imperfect_oracle_findings(found)])]
    sections += [_rows(found.rows), _comparisons(found.comparisons)]
    page = write_page(
        folder / "index.html",
        title="Imperfect gains",
        lead="The 2-D quadrotor, cloned with gains from wrong or learned dynamics, scaled, late, or without any.",
        sections=sections,
    )
    return [*figures, page]


def imperfect_oracle_findings(found: ImperfectOracle) -> list[str]:
    """What can be said from the numbers, also where nothing can be told apart."""
    sentences = list[str]()
    for kind, count in sorted({(item["against"], item["n_demos"]) for item in found.comparisons}):
        own = [i for i in found.comparisons if (i["against"], i["n_demos"]) == (kind, count)]
        sentences += [_split(own, kind, count), _absent(own)]
    sentences.append(_radii(found.rows))
    if found.problems:
        sentences.append(f"Where an oracle gave no gains, it said: {' '.join(found.problems)}")
    return [
        *(sentence for sentence in sentences if sentence),
        "A difference counts as seen where its 95 % interval, the wider of Student's over seeds and a bootstrap over "
        "seeds and starts, leaves out no difference. No correction is made for the number of comparisons.",
    ]


def _split(comparisons: Sequence[Row], kind: str, count: int) -> str:
    """Which imperfections cost score or distance, which help, and of which neither can be said."""
    parts = list[str]()
    for what, name, bad in (
        ("score_verdict", "score", "below"),
        ("distance_verdict", "distance to the expert", "above"),
    ):
        good = "above" if bad == "below" else "below"
        groups = {
            "worse": [_told(item, what) for item in comparisons if _imperfect(item) and item[what] == bad],
            "better": [_told(item, what) for item in comparisons if _imperfect(item) and item[what] == good],
            "not told apart": [
                oracle_label(item) for item in comparisons if _imperfect(item) and item[what] == "not told apart"
            ],
        }
        said = [f"{verdict}: {', '.join(names) if names else 'none'}" for verdict, names in groups.items()]
        parts.append(f"In {name}, {'; '.join(said)}.")
    return f"Beside the perfect oracle ({kind}, N = {count}). {' '.join(parts)}"


def _imperfect(item: Row) -> bool:
    return item["oracle"] != "absent"


def _told(item: Row, what: str) -> str:
    if what == "score_verdict":
        return f"{oracle_label(item)} ({difference(item['score_difference'])})"
    return f"{oracle_label(item)} (× {times(item['distance_ratio'])})"


def _absent(comparisons: Sequence[Row]) -> str:
    found = next((item for item in comparisons if item["oracle"] == "absent"), None)
    if found is None:
        return ""
    low, high = (times(found[f"distance_ratio_{end}"]) for end in ("low", "high"))
    return (
        f"Without an oracle, raw actions without noise: score {found['score_difference']:+.2f} "
        f"[{found['score_difference_low']:+.2f}, {found['score_difference_high']:+.2f}], distance "
        f"× {times(found['distance_ratio'])} [{low}, {high}] of the perfect oracle's."
    )


def _radii(rows: Sequence[Row]) -> str:
    """Whether it is stability that decides."""
    known = [row for row in rows if row.get("radius") is not None]
    held = [row for row in known if row["radius"] < 1]
    lost = [row for row in known if row["radius"] >= 1]
    if not held or not lost:
        return ""
    return (
        f"Gains that hold the true vehicle at hover (spectral radius of the closed loop below 1; {len(held)} rows) "
        f"score {min(r['score'] for r in held):.2f} to {max(r['score'] for r in held):.2f}; those that do not "
        f"({len(lost)} rows) {min(r['score'] for r in lost):.2f} to {max(r['score'] for r in lost):.2f}."
    )


def _rows(rows: Sequence[Row]) -> Table:
    return Table(
        "All oracles",
        ["oracle", "gains", "N", "score", "distance", "diverged", "radius at hover", "gains off by", "failed"],
        [
            [
                oracle_label(row),
                row["gains"],
                str(row["n_demos"]),
                *(interval(row, name) if "score" in row else None for name in ("score", "distance")),
                interval(row, "diverged", percent=True) if "score" in row else None,
                row.get("radius"),
                None if row.get("gain_error") is None else f"{row['gain_error']:.0%}",
                str(row["failed"]),
            ]
            for row in rows
        ],
        "Radius: of the true closed loop at hover under the last demonstrated gain, mean over seeds; below 1 it holds. "
        "Off by: median of ‖K − K*‖ / ‖K*‖. Failed: seeds for which there were no gains. Brackets: 95 % intervals.",
    )


def _comparisons(comparisons: Sequence[Row]) -> Table:
    return Table(
        "Beside the perfect oracle",
        ["oracle", "perfect gains", "N", "score", "95 % interval", "distance", "95 % interval "],
        [
            [
                oracle_label(item),
                item["against"],
                str(item["n_demos"]),
                f"{item['score_difference']:+.3f}",
                f"[{item['score_difference_low']:+.3f}, {item['score_difference_high']:+.3f}]",
                f"× {times(item['distance_ratio'])}",
                f"[{times(item['distance_ratio_low'])}, {times(item['distance_ratio_high'])}]",
            ]
            for item in comparisons
        ],
        "Paired by seed and start: differences of scores, geometric means of ratios of distances.",
    )
