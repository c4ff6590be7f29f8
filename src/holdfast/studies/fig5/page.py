"""The page and the figure of study fig5: values → pictures and sentences."""

from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from ..quadrotor.arms import Setting
from .figure import draw_fig5
from .plan import PUBLISHED_POINTS, Fig5

__all__ = ["write_fig5_page"]


def write_fig5_page(folder: Path, found: Fig5, *, setting: Setting) -> list[Path]:
    """Write `fig5.png` and `index.html`; returns their paths."""
    points = PUBLISHED_POINTS if setting == "published" else None
    figure = draw_fig5(folder / "fig5.png", found.rows, found.references, published_points=points)
    sections: list[Section] = [
        Picture(
            "The figure",
            figure,
            "Each point is a mean over training seeds, each seed with its own choice of demonstrations, from the same "
            "held-out starts; bands are 95 % Student intervals over seeds.",
            "Score and distance to the expert against number of demonstrations and noise",
        ),
        Text("What it says", _findings(found)),
        _comparisons(found),
        _references(found),
        _rows(found),
    ]
    page = write_page(
        folder / "index.html",
        title="Cloning gains against cloning raw actions",
        lead="Figure 5 of Block et al. 2023 (arXiv 2307.14619) on the 2-D quadrotor, measured again "
        + ("in our best setting for each arm." if setting == "holdfast" else "with the published choices."),
        sections=sections,
    )
    return [figure, page]


def _best(rows: list[dict[str, Any]], key: str, *, gains: bool, n_demos: int) -> dict[str, Any] | None:
    fitting = [row for row in rows if row["gains"] == gains and row["n_demos"] == n_demos]
    if not fitting:
        return None
    return min(fitting, key=lambda row: row["distance"] if key == "distance" else -row["score"])


def _name(row: dict[str, Any]) -> str:
    kind = f"gains ({row['synthesis']})" if row["gains"] else "raw actions"
    return f"{kind}, N = {row['n_demos']}, σ = {row['sigma']:g} ({row['noise']})"


def _findings(found: Fig5) -> list[str]:
    """What can be said from the rows, also where it does not favour the method."""
    sentences = [
        "The score rewards being at rest at the goal and exceeds 1 for a policy that is quicker than the expert, so a "
        "regulator that learnt nothing scores well: read it beside the distance to the expert and the reference rows."
    ]
    counts = sorted({row["n_demos"] for row in found.rows})
    for n_demos in counts:
        raw = _best(found.rows, "score", gains=False, n_demos=n_demos)
        gains = _best(found.rows, "score", gains=True, n_demos=n_demos)
        near_raw = _best(found.rows, "distance", gains=False, n_demos=n_demos)
        near = _best(found.rows, "distance", gains=True, n_demos=n_demos)
        if raw is None or gains is None or near_raw is None or near is None:
            continue
        closer = "closer to" if near["distance"] < near_raw["distance"] else "farther from"
        sentences.append(
            f"N = {n_demos}: best score with gains {gains['score']:.3f} ({_name(gains)}), without {raw['score']:.3f} "
            f"({_name(raw)}). With gains the best policy is {closer} the expert than the best without: "
            f"{near['distance']:.3f} against {near_raw['distance']:.3f}."
        )
    return [*sentences, *_noise_findings(found.rows)]


def _noise_findings(rows: list[dict[str, Any]]) -> list[str]:
    pairs = [
        (row, other)
        for row in rows
        for other in rows
        if row["noise"] == "replica"
        and other["noise"] == "train"
        and all(row[key] == other[key] for key in ("n_demos", "synthesis", "sigma"))
        and row["gains"]
    ]
    if not pairs:
        return []
    mean = sum(row["score"] - other["score"] for row, other in pairs) / len(pairs)
    return [
        f"Noise at deployment as well as in training (replica) against noise in training only, with gains: the score "
        f"changes by {mean:+.3f} on average over {len(pairs)} pairs of arms."
    ]


def _comparisons(found: Fig5) -> Table:
    return Table(
        "One demonstration with gains against ten without",
        ["gains", "σ", "noise", "difference of scores", "95 % interval", "seeds in favour"],
        [
            [
                item["synthesis"],
                f"{item['sigma']:g}",
                item["noise"],
                f"{item['difference']:+.3f}",
                f"[{item['low']:+.3f}, {item['high']:+.3f}]",
                f"{item['seeds_in_favour']} of {item['seeds']}",
            ]
            for item in found.comparisons
        ],
        "Paired over seeds and starts against the best of the raw-action arms with ten demonstrations, chosen by its "
        "own score on these starts, which favours it. The interval is the wider of Student's over seeds and a "
        "bootstrap over seeds and starts.",
    )


def _references(found: Fig5) -> Table:
    return Table(
        "Without a network",
        ["reference", "score", "distance"],
        [[item["name"], f"{item['score']:.3f}", f"{item['distance']:.3f}"] for item in found.references],
        "Hover + Kx: one gain, nothing learnt. Exact law: the conditional law of the noised demonstrations themselves, "
        "which a generative model that fits its training set perfectly would draw from.",
    )


def _rows(found: Fig5) -> Table:
    return Table(
        "All arms",
        ["gains", "N", "σ", "noise", "score", "95 % interval", "distance", "diverged"],
        [
            [
                row["synthesis"],
                str(row["n_demos"]),
                f"{row['sigma']:g}",
                row["noise"],
                f"{row['score']:.3f}",
                f"[{row['low']:.3f}, {row['high']:.3f}]",
                f"{row['distance']:.3f}",
                f"{row['diverged']:.0%}",
            ]
            for row in found.rows
        ],
        "Score: mean over starts of summed rewards relative to the expert's. Distance: median over starts of the "
        "time-averaged state error. Diverged: left the expert by more than 10.",
    )
