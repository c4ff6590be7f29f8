"""Tokens of actions: how many a second takes at each control rate, and what a policy that writes them is worth.

Compression follows table I of Pertsch et al. 2025 (arXiv 2501.09747): chunks of one second, bins on every number
("naive") against FAST, on recorded sets at their own rate and on a robot's at a half, a third and a sixth of it. A fast
robot's neighbouring actions are nearly equal: bins grow with the rate, frequencies do not.

Cloning: the same autoregressive transformer over the codes of every tokenizer, at equal budgets, on the obstacle and on
Push-T, beside tokens that are predicted at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...data import MinMax, Windows, read, split
from ...seeding import stream
from ...tokens import Fast, fit_tokenizer, measure_tokenizer
from ...types import Episodes
from ..engine.trials import Trial
from ..families.plan import TOKEN_ARMS, Preset, plan_families

__all__ = ["FAST_TABLE", "RateJob", "compression_rows", "plan_tokens", "rate_jobs"]

FAST_TABLE = (
    ("BridgeV2", 7, 5, 35, 20),
    ("DROID", 7, 15, 105, 29),
    ("Bussing", 7, 20, 140, 28),
    ("Shirt folding", 14, 50, 700, 53),
)
"""Set, numbers of an action, rate [Hz], naive tokens and FAST tokens of a second: table I of Pertsch et al. 2025."""

RATES = (1, 2, 3, 6)
"""Every so many steps of a fast set are kept."""
MOST_CHUNKS = 20_000
HELD_OUT = 0.1


@dataclass(frozen=True)
class RateJob:
    """A recorded set, and which of its steps are kept."""

    name: str
    data: Path
    every: int = 1


def rate_jobs(sets: Sequence[tuple[str, Path]]) -> list[RateJob]:
    """Every set at its own rate, and the last one, a robot's, at lower ones."""
    jobs = [RateJob(name, path) for name, path in sets]
    name, path = sets[-1]
    return jobs + [RateJob(name, path, every) for every in RATES[1:]]


def compression_rows(job: RateJob, *, scales: Sequence[float] = (10.0,)) -> list[dict[str, Any]]:
    """FAST on held-out chunks of one second, one row a scale of rounding."""
    episodes = read(job.data)
    rate = 1 / ((episodes.dt or 1.0) * job.every)
    horizon = max(1, round(rate))
    rng = stream(0, "study", "tokens", job.name)
    train, rest = split(episodes, held_out=HELD_OUT if len(episodes) > 1 else 0, rng=rng)
    scale = MinMax.fit(train.actions)
    fitted = _chunks(train, scale, horizon, job.every, rng)
    measured = _chunks(rest if len(rest) else train, scale, horizon, job.every, rng)
    rows = list[dict[str, Any]]()
    for rounding in scales:
        found = measure_tokenizer(fit_tokenizer(Fast(scale=rounding), fitted, seed=0, dt=1 / rate), measured, rng=rng)
        rows.append(
            {
                "part": "compression",
                "data": job.name,
                "hz": rate,
                "numbers": measured.shape[2],
                "scale": rounding,
                "naive_tokens": found.naive_tokens,
                "tokens": found.tokens,
                "compression": found.compression,
                "rms_error": float(torch.tensor(found.rms_error).square().mean().sqrt()),
                "sensitivity": found.sensitivity,
            }
        )
    return rows


def plan_tokens(
    preset: Preset, data: Sequence[tuple[str, Path]], *, seeds: int, updates: int | None = None
) -> list[Trial]:
    """The trainings of the cloning part."""
    return plan_families(preset, data, seeds=seeds, arms=TOKEN_ARMS, updates=updates)


def _chunks(
    episodes: Episodes, scale: MinMax, horizon: int, every: int, rng: torch.Generator
) -> Float[Tensor, "n h w"]:
    """Normalised chunks of every n-th action, as long as `horizon` of them, from steps drawn at random."""
    windows = Windows(lengths=episodes.lengths, n_obs_steps=1, horizon=(horizon - 1) * every + 1)
    now = torch.randperm(len(windows), generator=rng)[:MOST_CHUNKS].sort().values
    return scale.normalize(episodes.actions)[windows.chunk_rows(now)[0][:, ::every]]
