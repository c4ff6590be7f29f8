"""The page and the figure of study tokens: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from .figure import draw_tokens
from .plan import FAST_TABLE

__all__ = ["tokens_findings", "write_tokens_page"]

Row = dict[str, Any]


def write_tokens_page(folder: Path, compression: Sequence[Row], cloning: Sequence[Row]) -> list[Path]:
    """Write `tokens.png` and `index.html`; returns their paths."""
    figure = draw_tokens(folder / "tokens.png", compression, _published(), cloning)
    sections: list[Section] = [
        Picture(
            "The figure",
            figure,
            "Left: FAST on held-out chunks of one second, how many numbers a token stands for. Right: policies cloned "
            "over the codes of each tokenizer.",
            "Compression against control rate, and scores of cloned policies",
        ),
        Text("What was seen", tokens_findings(compression, cloning)),
        _compression(compression),
    ]
    if cloning:
        sections.append(_cloning(cloning))
    page = write_page(
        folder / "index.html",
        title="Tokens of actions",
        lead="How many tokens a second of action takes at each control rate, after table I of Pertsch et al. 2025 "
        "(arXiv 2501.09747), and what a policy that writes such tokens is worth.",
        sections=sections,
    )
    return [figure, page]


def tokens_findings(compression: Sequence[Row], cloning: Sequence[Row]) -> list[str]:
    """What can be said of both parts."""
    swept = [row for row in compression if sum(r["data"] == row["data"] for r in compression) > 1]
    sentences = list[str]()
    if swept:
        slow, fast = min(swept, key=lambda row: row["hz"]), max(swept, key=lambda row: row["hz"])
        sentences.append(
            f"{fast['data']}: from {slow['hz']:.0f} to {fast['hz']:.0f} Hz the numbers of a second grow "
            f"{fast['naive_tokens'] / slow['naive_tokens']:.1f} times, its FAST tokens "
            f"{fast['tokens'] / slow['tokens']:.1f} times ({slow['tokens']:.0f} to {fast['tokens']:.0f})."
        )
    for task in dict.fromkeys(row["task"] for row in cloning):
        rows = sorted((row for row in cloning if row["task"] == task), key=lambda row: -row["score"])
        told = "; ".join(f"{row['family']} {row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for row in rows)
        sentences.append(f"Cloning on {task}: {told}.")
    return sentences


def _published() -> list[Row]:
    return [
        {"data": name, "hz": float(hz), "numbers": numbers, "compression": naive / fast}
        for name, numbers, hz, naive, fast in FAST_TABLE
    ]


def _compression(rows: Sequence[Row]) -> Table:
    ours = [
        [
            row["data"],
            f"{row['hz']:.0f}",
            str(row["numbers"]),
            str(row["naive_tokens"]),
            f"{row['tokens']:.1f}",
            f"{row['compression']:.1f}",
            f"{row['rms_error']:.3f}",
        ]
        for row in rows
    ]
    theirs = [
        [f"{name} (published)", str(hz), str(numbers), str(naive), str(fast), f"{naive / fast:.1f}", ""]
        for name, numbers, hz, naive, fast in FAST_TABLE
    ]
    head = ["data", "Hz", "numbers of an action", "naive tokens", "FAST tokens", "compression", "error (rms)"]
    return Table("A second of action", head, [*ours, *theirs], "Held-out chunks; error in normalised units.")


def _cloning(rows: Sequence[Row]) -> Table:
    head = ["task", "tokens", "score", "95 % interval", "success", "parameters", "training [s]", "calls", "plan [ms]"]
    cells = [
        [
            row["task"],
            row["family"],
            f"{row['score']:.3f}",
            f"[{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['success']:.0%}",
            f"{row['parameters']:,}",
            f"{row['train_seconds']:.0f}",
            str(row["network_calls"]),
            f"{row['plan_ms']:.1f}",
        ]
        for row in rows
    ]
    note = "bins, bet and vq-bet predict all tokens at once around the residual network, the last two with offsets; "
    return Table("Cloning", head, cells, note + "the others are written token by token by the same transformer.")
