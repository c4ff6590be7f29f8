"""`holdfast inspect DATA --tokenizer NAME`: measures a tokenizer on the actions of a data set."""

from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import MinMax, Windows, split
from ..report import write_result
from ..report.tokenizer import draw_tokenizer
from ..seeding import stream
from ..tokens import Tokenizer, TokenizerReport, fit_tokenizer, measure_tokenizer, save_tokenizer, tokenizer_named
from ..types import Episodes
from .console import show_table
from .progress import stages

HELD_OUT = 0.1
MOST_FITTED, MOST_MEASURED = 50_000, 20_000
"""Largest numbers of chunks to fit on and to measure on; larger sets are subsampled."""


def inspect_tokenizer(
    episodes: Episodes, name: str, *, label: str, horizon: int, out: Path, pictures: bool
) -> list[Path]:
    """Fit a tokenizer to nine tenths of the episodes and measure it on the rest; returns the written paths.

    `label` is the name of the data in the heading.
    """
    options = tokenizer_named(name)
    train, measured, dt, held_out = _chunks(episodes, horizon)
    with stages() as stage:
        done = stage(f"fitting {name}", options.n_updates)
        tokenizer = fit_tokenizer(options, train, seed=0, dt=dt, on_step=done)
    found = measure_tokenizer(tokenizer, measured, rng=stream(0, "inspect", "measure"))
    on = "held-out episodes" if held_out else "its training chunks, because a single episode cannot be held out"
    show_table(f"{label}, {name}, measured on {on}", ["", "normalized units"], _rows(found, measured))
    values = {
        **asdict(found),
        "tokenizer": options,
        "horizon": horizon,
        "dt": dt,
        "fitted_on_chunks": len(train),
        "held_out": held_out,
    }
    written = [write_result(out / "result.json", values), save_tokenizer(out / "tokenizer.safetensors", tokenizer)]
    if pictures:
        written.append(_draw(out / "tokenizer.png", name, tokenizer, measured, found))
    return written


def _chunks(
    episodes: Episodes, horizon: int
) -> tuple[Float[Tensor, "n h w"], Float[Tensor, "k h w"], float | None, bool]:
    """Normalized action chunks to fit on and to measure on, seconds per step, and whether the latter are held out."""
    several = len(episodes) > 1
    rng = stream(0, "inspect", "tokenizer")
    train, rest = split(episodes, held_out=HELD_OUT if several else 0, rng=rng)
    scale = MinMax.fit(train.actions)
    fitted = _laid_out(train, scale, horizon, MOST_FITTED, rng)
    return fitted, _laid_out(rest if several else train, scale, horizon, MOST_MEASURED, rng), episodes.dt, several


def _laid_out(
    episodes: Episodes, scale: MinMax, horizon: int, most: int, rng: torch.Generator
) -> Float[Tensor, "n h w"]:
    windows = Windows(lengths=episodes.lengths, n_obs_steps=1, horizon=horizon)
    now = torch.randperm(len(windows), generator=rng)[:most].sort().values
    return scale.normalize(episodes.actions)[windows.chunk_rows(now)[0]]


def _rows(found: TokenizerReport, chunks: Float[Tensor, "n h w"]) -> list[list[str]]:
    rms = (sum(error**2 for error in found.rms_error) / len(found.rms_error)) ** 0.5
    worst = max(range(len(found.rms_error)), key=found.rms_error.__getitem__)
    most = max(range(len(found.saturated)), key=found.saturated.__getitem__)
    spread = f"{found.fewest_tokens} to {found.most_tokens}"
    rows = [
        ["chunks", f"{found.chunks:,} of {chunks.shape[1]} steps of {chunks.shape[2]} values"],
        ["tokens per chunk", f"{found.tokens:.4g} ({spread}), {found.compression:.3g} times fewer than values"],
        ["round-trip error, rms", f"{rms:.3g} (most: {found.rms_error[worst]:.3g}, coordinate {worst})"],
        ["round-trip error, largest", f"{max(found.largest_error):.3g}"],
        ["outside the range of the tokens", f"{_percent(found.saturated[most])} at most (coordinate {most})"],
        ["vocabulary", f"{found.vocabulary}, {_percent(found.used)} used, perplexity {found.perplexity:.3g}"],
        ["effect of one wrong token", f"{found.sensitivity:.3g} on average, 95 % below {found.sensitivity_95:.3g}"],
    ]
    for change in found.smoothness:
        text = f"{_percent(change.changed)} of codes change, and decoded chunks move by {change.jump:.3g}"
        rows.append([f"after a change by {change.size:g}", text])
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _draw(path: Path, name: str, tokenizer: Tokenizer, chunks: Float[Tensor, "n h w"], found: TokenizerReport) -> Path:
    """Draw the chunk of median error among those that move most."""
    some = chunks[:512]
    moving = some[(some.amax(1) - some.amin(1)).amax(1).argsort(descending=True)[: max(1, len(some) // 4)]]
    decoded = tokenizer.decode(tokenizer.encode(moving))
    chosen = int((decoded - moving).square().mean((1, 2)).argsort()[len(moving) // 2])
    return draw_tokenizer(
        path,
        name=name,
        original=moving[chosen].numpy(),
        decoded=decoded[chosen].numpy(),
        tokens=int(tokenizer.encode(moving[chosen : chosen + 1]).lengths),
        error_at_step=found.error_at_step,
        sensitivity_at=found.sensitivity_at,
        dt=tokenizer.dt,
    )
