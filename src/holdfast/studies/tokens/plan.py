"""Compression of study tokens: FAST on recorded sets, at their own control rate and at lower ones.

Compression follows table I of Pertsch et al. 2025 (arXiv 2501.09747): chunks of one second, bins on every number
("naive") against FAST, on recorded sets at their own rate and on a robot's at a half, a third and a sixth of it.
Neighbouring actions of a fast robot are nearly equal: the number of bins grows with the rate, that of frequencies does
not.
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
from ..engine.trials import stored_data

FAST_TABLE = (
    ("BridgeV2", 7, 5, 35, 20),
    ("DROID", 7, 15, 105, 29),
    ("Bussing", 7, 20, 140, 28),
    ("Shirt folding", 14, 50, 700, 53),
)
"""Set, numbers per action, rate [Hz], naive tokens and FAST tokens per second: table I of Pertsch et al. 2025."""

RATES = (1, 2, 3, 6)
"""Strides with which a fast set is subsampled."""
MOST_CHUNKS = 20_000
HELD_OUT = 0.1


@dataclass(frozen=True)
class RateJob:
    """A recorded set and the stride with which it is subsampled."""

    name: str
    data: Path
    every: int = 1


def rate_sets() -> list[tuple[str, Path]]:
    """Names and paths of the recorded sets; the last one is a fast robot's."""
    places = (
        ("Push-T", "pusht/pusht_cchi_v7_replay.zarr"),
        ("Avoid", "avoiding/avoiding.npz"),
        ("HalfCheetah", "mujoco_experts/HalfCheetah_v4_demos.npz"),
        ("Unitree G1", "lerobot_v21_g1"),
    )
    return [(name, stored_data(place, f"demonstrations of {name}")) for name, place in places]


def rate_jobs(sets: Sequence[tuple[str, Path]]) -> list[RateJob]:
    """Every set at its own rate, and the last one, a robot's, at lower ones."""
    jobs = [RateJob(name, path) for name, path in sets]
    name, path = sets[-1]
    return jobs + [RateJob(name, path, every) for every in RATES[1:]]


def compression_rows(job: RateJob, *, scales: Sequence[float] = (10.0,)) -> list[dict[str, Any]]:
    """FAST on held-out chunks of one second, one wide row per scale of rounding."""
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


def _chunks(
    episodes: Episodes, scale: MinMax, horizon: int, every: int, rng: torch.Generator
) -> Float[Tensor, "n h w"]:
    """Normalised chunks of `horizon` actions, every n-th step, from random starts."""
    windows = Windows(lengths=episodes.lengths, n_obs_steps=1, horizon=(horizon - 1) * every + 1)
    now = torch.randperm(len(windows), generator=rng)[:MOST_CHUNKS].sort().values
    return scale.normalize(episodes.actions)[windows.chunk_rows(now)[0][:, ::every]]
