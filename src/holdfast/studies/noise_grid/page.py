"""The page and the figures of study noise-grid: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from ..quadrotor.words import between, interval, times
from .figure import NAMES, draw_noise_grid
from .plan import NoiseGrid

__all__ = ["noise_grid_findings", "write_noise_grid_page"]

Row = dict[str, Any]

CLAIMED = (
    "Claimed (Block et al. 2023, arXiv 2307.14619; seeds 001 and 003): the policy that is noised when it is run as "
    "much as its training data were, the replica, is the one that the theory holds for; noise in the data helps where "
    "gains stabilise, and hurts without them; noise at deployment as well is said to be a considerable benefit."
)


def write_noise_grid_page(folder: Path, found: NoiseGrid) -> list[Path]:
    """Write `noise-grid-n<N>.png`, one a number of demonstrations, and `index.html`; returns their paths."""
    counts = sorted({row["n_demos"] for row in found.rows})
    figures = [
        draw_noise_grid(folder / f"noise-grid-n{count}.png", [row for row in found.rows if row["n_demos"] == count])
        for count in counts
    ]
    sections: list[Section] = [
        Picture(
            f"The grid, N = {count}",
            figure,
            "Each cell is one way of deployment of one training, over training seeds, from the same held-out starts. "
            "Framed: the replica, equal noises. Dark is good. Intervals are in the table.",
            "Score and distance to the expert for each pair of training and deployment noise",
        )
        for count, figure in zip(counts, figures, strict=True)
    ]
    sections += [Text("What was claimed, what was seen", [CLAIMED, *noise_grid_findings(found)])]
    sections += [_comparisons(found.comparisons), _rows(found.rows)]
    page = write_page(
        folder / "index.html",
        title="Noise in training, noise at deployment",
        lead="The 2-D quadrotor, cloned with and without stabilising gains: one training for each training noise, "
        "flown with every deployment noise.",
        sections=sections,
    )
    return [*figures, page]


def noise_grid_findings(found: NoiseGrid) -> list[str]:
    """What can be said from the numbers, also where nothing can be told apart."""
    sentences = list[str]()
    for count in sorted({row["n_demos"] for row in found.rows}):
        for kind, name in NAMES.items():
            rows = [row for row in found.rows if row["n_demos"] == count and row["gains"] == kind]
            own = [item for item in found.comparisons if item["n_demos"] == count and item["gains"] == kind]
            if rows:
                sentences.append(f"{name}, N = {count}. {_where_best(rows)}{_against(own)}")
    return [
        *sentences,
        *_verdicts(found.comparisons),
        "A difference counts as seen where its 95 % interval, the wider of Student's over seeds and a bootstrap over "
        "seeds and starts, leaves out no difference. No correction is made for the number of comparisons.",
    ]


def _verdicts(comparisons: Sequence[Row]) -> list[str]:
    """How often each part of the claim was seen."""
    said = list[str]()
    for name, kept in (("With gains", True), ("Without", False)):
        own = [item for item in comparisons if (item["gains"] != "none") == kept]
        for base in dict.fromkeys(item["against"] for item in own):
            items = [item for item in own if item["against"] == base]
            counts = [
                sum(item[what] == verdict for item in items)
                for what, verdict in (
                    ("score_verdict", "above"),
                    ("score_verdict", "below"),
                    ("distance_verdict", "below"),
                    ("distance_verdict", "above"),
                )
            ]
            said.append(
                f"{name}, the replica against {base}, {len(items)} comparisons: a higher score is seen in {counts[0]}, "
                f"a lower one in {counts[1]}; nearer to the expert in {counts[2]}, farther in {counts[3]}."
            )
    return said


def _where_best(rows: Sequence[Row]) -> str:
    best = max(rows, key=lambda row: row["score"])
    near = min(rows, key=lambda row: row["distance"])
    trained = sorted({row["sigma_train"] for row in rows})
    nearest = [
        min((row for row in rows if row["sigma_train"] == sigma), key=lambda row: row["distance"]) for sigma in trained
    ]
    replicas = sum(row["replica"] for row in nearest)
    return (
        f"The best score, {interval(best, 'score')}, is at σ = {best['sigma_train']:g} in training and "
        f"{best['sigma_deploy']:g} at deployment; the nearest to the expert, {interval(near, 'distance')}, at "
        f"{near['sigma_train']:g} and {near['sigma_deploy']:g}. Of {len(trained)} trainings the replica is the nearest "
        f"deployment of {replicas}."
    )


def _against(comparisons: Sequence[Row]) -> str:
    said = list[str]()
    for base in dict.fromkeys(item["against"] for item in comparisons):
        parts = [f"at σ = {item['sigma']:g} {between(item)}" for item in comparisons if item["against"] == base]
        said.append(f" The replica against {base}: {'; '.join(parts)}.")
    return "".join(said)


def _comparisons(comparisons: Sequence[Row]) -> Table:
    return Table(
        "The replica, paired",
        ["cloned", "N", "σ", "against", "score", "95 % interval", "distance", "95 % interval "],
        [
            [
                NAMES[item["gains"]],
                str(item["n_demos"]),
                f"{item['sigma']:g}",
                item["against"],
                f"{item['score_difference']:+.3f}",
                f"[{item['score_difference_low']:+.3f}, {item['score_difference_high']:+.3f}]",
                f"× {times(item['distance_ratio'])}",
                f"[{times(item['distance_ratio_low'])}, {times(item['distance_ratio_high'])}]",
            ]
            for item in comparisons
        ],
        "Differences of scores, geometric means of ratios of distances, by seed and start; below × 1 the replica is "
        "nearer to the expert.",
    )


def _rows(rows: Sequence[Row]) -> Table:
    return Table(
        "All cells",
        ["cloned", "N", "σ in training", "σ at deployment", "score", "distance", "diverged"],
        [
            [
                NAMES[row["gains"]],
                str(row["n_demos"]),
                f"{row['sigma_train']:g}",
                f"{row['sigma_deploy']:g}",
                interval(row, "score"),
                interval(row, "distance"),
                interval(row, "diverged", percent=True),
            ]
            for row in rows
        ],
        "Score: mean over starts and seeds. Distance: median over starts, geometric mean over seeds. Diverged: ever "
        "more than 10 from the expert. Brackets: 95 % intervals.",
    )
