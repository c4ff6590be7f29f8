"""The page and the figure of study families: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Cell, Picture, Section, Table, Text, write_page
from .figure import draw_families
from .summary import KEEPS_BOTH, keeps_both_ways

__all__ = ["families_findings", "write_families_page"]

Row = dict[str, Any]

_ASKED = {
    "obstacle": "The obstacle: two ways that nothing in the observation tells apart",
    "avoid": "Avoid: 24 ways between six obstacles, demonstrated by people",
    "pusht": "Push-T: contact, demonstrated by people",
}


def write_families_page(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write `families.png` and `index.html`; returns their paths."""
    figure = draw_families(folder / "families.png", rows)
    tasks = [task for task in _ASKED if any(row["task"] == task for row in rows)]
    sections: list[Section] = [
        Picture(
            "The figure",
            figure,
            "Success (obstacle, Avoid) and mean score (Push-T) with 95 % intervals; hollow points: entropy of the ways "
            "of solved episodes, 1 if all are equally frequent.",
            "Score of every family on every task",
        ),
        Text("What was seen", families_findings(rows)),
        *(_table(task, [row for row in rows if row["task"] == task]) for task in tasks),
    ]
    page = write_page(
        folder / "index.html",
        title="Every family on the same data",
        lead="Generative families of behavior cloning at equal numbers of updates on equal windows, from the same "
        "starts. Parameters, seconds of training, network calls and milliseconds of a plan are part of the answer.",
        sections=sections,
    )
    return [figure, page]


def families_findings(rows: Sequence[Row]) -> list[str]:
    """What can be said of each task."""
    sentences = list[str]()
    if fork := [row for row in rows if row["task"] == "obstacle"]:
        solved, rarer = KEEPS_BOTH
        passed = [row["family"] for row in fork if keeps_both_ways(row)]
        failed = [
            f"{row['family']} ({row['success']:.0%}, rarer way {row['rarer_way']:.0%})"
            for row in fork
            if not keeps_both_ways(row)
        ]
        sentences.append(
            f"The fork (solved in {solved:.0%} or more, the rarer way in {rarer:.0%} or more) is passed by "
            f"{', '.join(passed) or 'none'}; not by {', '.join(failed) or 'none'}."
        )
    if avoid := [row for row in rows if row["task"] == "avoid"]:
        best = max(avoid, key=lambda row: 0.8 * row["success"] + 0.2 * row["entropy"])
        sentences.append(
            f"On Avoid {best['family']} has the largest 0.8 success + 0.2 entropy, D3IL's score: success "
            f"{best['success']:.2f} [{best['success_low']:.2f}, {best['success_high']:.2f}], entropy "
            f"{best['entropy']:.2f}."
        )
    if pusht := sorted((row for row in rows if row["task"] == "pusht"), key=lambda row: -row["score"]):
        first = "; ".join(
            f"{row['family']} {row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in pusht[:5]
        )
        sentences.append(f"On Push-T the best are {first}.")
    return sentences


def _table(task: str, rows: Sequence[Row]) -> Table:
    ways = task != "pusht"
    head = ["family", "success" if ways else "score", "95 % interval", "entropy" if ways else "success"]
    head += ["touched"] if ways else ["published"]
    return Table(
        _ASKED[task],
        [*head, "parameters", "training [s]", "calls", "plan [ms]"],
        [_cells(row, ways=ways) for row in rows],
        f"{rows[0]['updates']} updates, {rows[0]['episodes']} episodes of each of {rows[0]['seeds']} trainings. "
        "Interval: over seeds and starts; of one training over starts alone. Times: on one thread, beside others.",
    )


def _cells(row: Row, *, ways: bool) -> list[Cell]:
    of_task: list[Cell] = [f"{row['score']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]"]
    if ways:
        of_task += [f"{row['entropy']:.2f}", f"{row['collided']:.0%}"]
    else:
        of_task += [f"{row['success']:.0%}", f"{row['published']:.2f}" if "published" in row else ""]
    cost = [f"{row['parameters']:,}", f"{row['train_seconds']:.0f}", str(row["network_calls"]), f"{row['plan_ms']:.1f}"]
    return [row["family"], *of_task, *cost]
