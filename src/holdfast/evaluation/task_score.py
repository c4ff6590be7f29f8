"""What a set of flown episodes says about a policy: the task's own score, with intervals.

Push-T              score = largest reward of an episode, as published
several solutions   score = share of solved episodes; entropy of the ways in which they were solved
anything else       score = return, the sum of an episode's rewards
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from ..envs import Environment, Modal, Run
from ..envs.pusht import PushT
from ..errors import RecipeError
from ..seeding import stream
from .intervals import LEVEL, Estimate, bootstrap, rate

__all__ = ["mode_entropy", "scores_of", "summarize"]

RESAMPLES = 5000


def scores_of(flown: Run, environment: Environment) -> Float[Tensor, " b"]:
    """The task's own score of each episode."""
    if isinstance(environment, PushT):
        return flown.best_reward
    if isinstance(environment, Modal) and flown.success is not None:
        return flown.success.double()
    return flown.returns


def summarize(flown: Run, environment: Environment, *, seed: int = 0) -> dict[str, Estimate]:
    """The numbers that a report shows.

    `score`, `success` where the environment says what solved means, `return`, `entropy` where a task can be solved in
    several ways, and the mean of whatever else the environment measures; `clipped` (steps an episode whose action was
    brought to the bounds) and `lost` (share of episodes without a number) only where there were any.

    Args:
        flown: The episodes.
        environment: Where they were flown.
        seed: Of the resampling.
    """
    extra, scores = dict(flown.extra), scores_of(flown, environment)
    found = {"score": _mean(scores, seed=seed)}
    if flown.success is not None:
        found["success"] = rate(flown.success)
    found["return"] = bootstrap(flown.returns, seed=seed)
    if isinstance(environment, Modal):
        modes = extra.pop("mode", None)
        if modes is None:
            raise RecipeError(f"{environment.name} has {environment.n_modes} modes, but tells none in extra['mode'].")
        found["entropy"] = mode_entropy(_of_solved(modes, flown), environment.n_modes, seed=seed)
    lost, clipped = extra.pop("lost"), extra.pop("clipped")
    if bool(lost.any()):
        found["lost"] = rate(lost > 0)
    if bool(clipped.any()):
        found["clipped"] = bootstrap(clipped, seed=seed)
    told = {name: values[values.isfinite()] for name, values in extra.items()}
    return found | {name: bootstrap(values, seed=seed) for name, values in told.items() if len(values)}


def mode_entropy(modes: Float[Tensor, " b"], n_modes: int, *, seed: int = 0) -> Estimate:
    """Entropy of the ways in which episodes were solved, 1 if all are equally frequent, 0 if there is but one.

        H = − Σ_m p_m log_n p_m,   p_m the share of mode m among the solved episodes

    0 where none was solved. From few episodes it comes out too small, and smaller still from their resamples; so the
    interval is as wide as that of the resamples (percentile bootstrap over episodes), shifted to lie about the
    estimate, within [0, 1]. (Jia et al. 2024, D3IL, arXiv 2402.14606, for the measure.)

    Args:
        modes: 0, 1, … `n_modes` − 1, NaN where not solved.
        n_modes: How many there are.
        seed: Of the resampling.

    Raises:
        RecipeError: A mode that is none, or fewer than two of them.

    >>> mode_entropy(torch.tensor([0.0, 1.0, 2.0, 3.0, float("nan")]), 4).mean
    1.0
    """
    known = modes[~modes.isnan()]
    if n_modes < 2 or not bool(((known >= 0) & (known < n_modes) & (known == known.floor())).all()):
        raise RecipeError(f"expected at least two modes, numbered from 0 to {n_modes - 1}, got {known}.")
    sample = modes.detach().cpu().double().numpy()
    rng = np.random.default_rng(stream(seed, "resampling").initial_seed())
    resampled = _entropy(sample[rng.integers(len(sample), size=(RESAMPLES, len(sample)))], n_modes)
    found = float(_entropy(sample[None], n_modes)[0])
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = found + np.quantile(resampled - resampled.mean(), tails)
    return Estimate(found, max(0.0, min(found, float(low))), min(1.0, max(found, float(high))))


def _entropy(modes: Float64[ndarray, "r b"], n_modes: int) -> Float64[ndarray, " r"]:
    """Of each row, in units of log n."""
    counts = np.stack([(modes == mode).sum(axis=1) for mode in range(n_modes)], axis=1)
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    # 0.0 − rather than −, so that no variety is 0 and not −0
    return 0.0 - (share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1) / np.log(n_modes)


def _mean(scores: Float[Tensor, " b"], *, seed: int) -> Estimate:
    """Of scores that are all 0 or 1 the exact interval, which is never empty; the bootstrap of others."""
    events = scores == 1
    return rate(events) if bool((events | (scores == 0)).all()) else bootstrap(scores, seed=seed)


def _of_solved(modes: Float[Tensor, " b"], flown: Run) -> Float[Tensor, " b"]:
    return modes if flown.success is None else modes.masked_fill(~flown.success, torch.nan)
