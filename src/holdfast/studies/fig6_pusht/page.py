"""The page and the figure of study fig6-pusht: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from .figure import draw_fig6
from .plan import Fig6

__all__ = ["fig6_findings", "write_fig6_page"]

CLAIMED = (
    "Claimed (Block et al. 2023, figure 6): the replica policy, noised in training and when run, keeps the score of "
    "the policy without noise at small σ and loses little at large σ, where noise in training alone loses much. The "
    "code behind that figure draws its noise from σ U[0, 1) instead of N(0, σ²). Its mean σ/2 is part of what the "
    "policy is trained on; the train-only policy is then run without it and sees every coordinate off by σ/2, the "
    "replica does not."
)


def write_fig6_page(folder: Path, found: Fig6) -> list[Path]:
    """Write `fig6.png` and `index.html`; returns their paths."""
    figure = draw_fig6(folder / "fig6.png", found.rows)
    sections: list[Section] = [
        Picture(
            "The figure",
            figure,
            "Means over training seeds, each with its own choice of demonstrations, on the same 50 published test "
            "starts; bars are 95 % Student intervals over seeds.",
            "Score against noise for two laws of noise and several numbers of demonstrations",
        ),
        Text("What was claimed", [CLAIMED]),
        Text("What was seen", fig6_findings(found)),
        _comparisons(found),
        _rows(found),
    ]
    page = write_page(
        folder / "index.html",
        title="Noise in training, when run, or both: Push-T",
        lead="Figure 6 of Block et al. 2023 (arXiv 2307.14619) on human demonstrations of Push-T, for the paper's law "
        "of noise and for that of its code. Network, updates, batch and starts are held fixed.",
        sections=sections,
    )
    return [figure, page]


def fig6_findings(found: Fig6) -> list[str]:
    """What can be said from the paired differences, law by law."""
    sentences = list[str]()
    for law, name in (("gaussian", "Gaussian noise"), ("uniform", "Uniform noise")):
        pairs = [row for row in found.comparisons if row["law"] == law]
        sentences += [_verdict(name, "replica", "train", pairs), _verdict(name, "replica", "none", pairs)]
        sentences += [_verdict(name, "shift", "train", pairs)] if law == "uniform" else []
    return [sentence for sentence in sentences if sentence] + _explanation(found)


def _verdict(law: str, way: str, minus: str, pairs: Sequence[dict[str, Any]]) -> str:
    rows = [row for row in pairs if row["noise"] == way and row["minus"] == minus]
    if not rows:
        return ""
    better = [row for row in rows if row["low"] > 0]
    worse = [row for row in rows if row["high"] < 0]
    cells = "; ".join(
        f"N = {row['n_demos']}, σ = {row['sigma']:g}: {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        for row in rows
    )
    against = {"train": "train-only", "none": "no noise"}[minus]
    return (
        f"{law}, {way} minus {against}: above zero in {len(better)}, below in {len(worse)} of {len(rows)} cells, the "
        f"others undecided ({cells})."
    )


def _explanation(found: Fig6) -> list[str]:
    """How much of the gap between replica and train-only the mean of the uniform noise explains."""
    uniform = [row for row in found.comparisons if row["law"] == "uniform" and row["minus"] == "train"]
    gaps = {(row["n_demos"], row["sigma"]): row["difference"] for row in uniform if row["noise"] == "replica"}
    shifts = {(row["n_demos"], row["sigma"]): row["difference"] for row in uniform if row["noise"] == "shift"}
    if not gaps or gaps.keys() != shifts.keys():
        return []
    (n_demos, sigma), gap = max(gaps.items(), key=lambda item: item[1])
    if gap <= 0:
        return ["Even for the uniform law the replica policy gains nothing over train-only here."]
    share = shifts[n_demos, sigma]
    return [
        f"Why: where the uniform law favours the replica most (N = {n_demos}, σ = {sigma:g}: {gap:+.3f}), giving the "
        f"train-only policy back the mean it was trained with, and no noise, changes its score by {share:+.3f}: that "
        "much of the gap is the shift of the mean."
    ]


def _comparisons(found: Fig6) -> Table:
    return Table(
        "Paired differences",
        ["law", "N", "σ", "run", "minus", "difference", "95 % interval", "seeds in favour"],
        [
            [
                row["law"],
                str(row["n_demos"]),
                f"{row['sigma']:g}",
                row["noise"],
                row["minus"],
                f"{row['difference']:+.3f}",
                f"[{row['low']:+.3f}, {row['high']:+.3f}]",
                f"{row['seeds_in_favour']} of {row['seeds']}",
            ]
            for row in found.comparisons
        ],
        "Paired over seeds and starts. The interval is the wider of Student's over seeds and a bootstrap over seeds "
        "and starts.",
    )


def _rows(found: Fig6) -> Table:
    return Table(
        "All arms",
        ["law", "N", "σ", "run", "score", "95 % interval", "success"],
        [
            [
                row["law"],
                str(row["n_demos"]),
                f"{row['sigma']:g}",
                row["noise"],
                f"{row['score']:.3f}",
                f"[{row['low']:.3f}, {row['high']:.3f}]",
                f"{row['success']:.0%}",
            ]
            for row in found.rows
        ],
        "Score: mean over starts of the largest clip(coverage / 0.95, 0, 1) within 300 steps. Success: coverage above "
        "0.95.",
    )
