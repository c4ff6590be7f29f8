"""Training of a per-step correction on a trained policy, which stays as it is (A2C2: arXiv 2509.23224).

    plan      κ_t…κ_{t+H−1} ~ π̂_σ(o_t)                            as it is deployed, for demonstrated observations
    minimise  E ‖(u_{t+k} − û_{t,k} − r(o_{t+k}, û_{t,k}, k)) / h‖²,   û_{t,k} = κ_{t+k}(x_{t+k}),   0 ≤ k < H

u, o, x: demonstrated action, observation and feedback state; h: half of the range of each action coordinate. Every
index k inside the episode is equally likely, so that one correction serves every delay. The plans are made once, at the
start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..atomic import claimed
from ..data import gathered, split
from ..errors import DataError, DivergedError, OutputError
from ..policy import Planner, Policy
from ..policy.realtime import (
    CORRECTION,
    Correction,
    CorrectionNet,
    CorrectionRecipe,
    CorrectionSizes,
    save_correction,
)
from ..recipe import Recipe
from ..seeding import stream
from ..types import Episodes
from .checkpoint import load_recipe
from .correction_steps import Steps, check_corrected, steps_of
from .preparation import choose_episodes
from .run_place import check_parts, is_of_run

CHECKED = 1024
"""Number of plans by which a correction is judged."""
SHARE = 0.1
"""Share of the training episodes on which a correction is judged, where the run holds none out."""


@dataclass(frozen=True)
class CorrectionErrors:
    """Root mean square of demonstrated minus executed actions, in halves of each coordinate's range.

    Attributes:
        planned: Error of the planned actions.
        corrected: Error of the corrected actions.
        held_out: Whether the episodes were held out of the training of the policy too.
    """

    planned: float
    corrected: float
    held_out: bool

    @property
    def sentence(self) -> str:
        """The errors in words."""
        where = "held-out episodes" if self.held_out else "episodes that the policy, not the correction, has seen"
        return (
            f"error of single actions on {where}, in halves of their range (root mean square): {self.planned:.4f} as "
            f"planned, {self.corrected:.4f} corrected"
        )


def fit_correction(
    folder: str | Path,
    episodes: Episodes,
    options: CorrectionRecipe | None = None,
    *,
    overwrite: bool = False,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] = lambda done: None,
) -> CorrectionErrors:
    """Train a correction of the policy in a run folder and store it there; nothing is written before the end.

    Args:
        folder: Run folder.
        episodes: Demonstrations of the run, as they were read for its training.
        options: What to train with.
        overwrite: Replace a correction in the folder.
        device: Device on which the plans are made.
        progress: Called with the number of plans and updates that are done.

    Raises:
        RunError: The run is incomplete or damaged.
        OutputError: The folder contains a correction and `overwrite` was not given, or another process trains in it.
        RecipeError: The episodes are not those of the run's policy.
        DivergedError: The loss is not finite.
    """
    place, options = Path(folder), options or CorrectionRecipe()
    recipe = load_recipe(place)
    check_corrected(recipe.policy)
    with claimed(place, ours=is_of_run, purpose="training in"):
        check_parts(place)
        check_correction(place, overwrite=overwrite)
        policy = Policy.from_pretrained(place, device=device)
        correction, errors = correct(policy.planner, recipe, episodes, options, progress=progress)
        about = {"planned": errors.planned, "corrected": errors.corrected}
        save_correction(place, correction, options, about)
    return errors


def check_correction(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace a stored correction.

    Raises:
        OutputError: There is one, and `overwrite` was not given.
    """
    if not overwrite and (folder / CORRECTION).exists():
        raise OutputError(f"{folder / CORRECTION} exists already. Replace it with --overwrite (overwrite=True).")


def correct(
    planner: Planner,
    recipe: Recipe,
    episodes: Episodes,
    options: CorrectionRecipe,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Correction, CorrectionErrors]:
    """A correction of a policy, and its errors on episodes on which it was not trained.

    Args:
        planner: Planner of the policy, as it is deployed.
        recipe: Recipe of the policy.
        episodes: Demonstrations of the policy.
        options: What to train with.
        progress: Called with the number of plans and updates that are done.
    """
    training, checked, held_out = _divided(recipe, episodes, options.seed)
    steps = steps_of(planner, recipe, training, options.plans, seed=options.seed, progress=progress)
    correction = Correction.of(planner, _initial(CorrectionSizes.of(planner.spec), options))
    _train(correction, steps, options, lambda done: progress(options.plans + done))
    judged = steps_of(planner, recipe, checked, CHECKED, seed=options.seed + 1)
    return correction, _errors(correction, judged, held_out=held_out)


def _divided(recipe: Recipe, episodes: Episodes, seed: int) -> tuple[Episodes, Episodes, bool]:
    """Episodes to train on, episodes to judge by, and whether the policy was not trained on the latter either."""
    training, held_out = choose_episodes(recipe, episodes)
    if len(held_out):
        return training, held_out, True
    if len(training) < 2:
        raise DataError("a correction is trained on one part of the episodes and judged by another: expected 2.")
    training, held_out = split(training, held_out=SHARE, rng=stream(seed, "correction episodes"))
    return training, held_out, False


def _initial(sizes: CorrectionSizes, options: CorrectionRecipe) -> CorrectionNet:
    """The network before training; PyTorch's global random generator is not changed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(stream(options.seed, "correction weights").initial_seed())
    try:
        return CorrectionNet(sizes, options.widths)
    finally:
        torch.set_rng_state(before)


def _train(correction: Correction, steps: Steps, options: CorrectionRecipe, progress: Callable[[int], None]) -> None:
    """Fit the network, in place."""
    rng = stream(options.seed, "correction batches")
    optimiser = torch.optim.AdamW(
        correction.net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    inputs = correction.inputs(steps.observations, steps.planned, steps.phase)
    targets = _targets(correction, steps)
    for done in range(1, options.steps + 1):
        rows = torch.randint(len(inputs), (min(options.batch_size, len(inputs)),), generator=rng)
        loss = (correction.net(gathered(inputs, rows)) - gathered(targets, rows)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        cast(Any, optimiser).step()
        schedule.step()
        # a finite loss can have a gradient that is not finite, which the next loss shows, or else the weights
        if not bool(loss.detach().isfinite()) or done == options.steps:
            _check_finite(correction.net, loss.detach(), done)
        progress(done)
    correction.net.eval().requires_grad_(False)


def _check_finite(net: CorrectionNet, loss: Tensor, update: int) -> None:
    if not all(bool(value.isfinite().all()) for value in (loss, *net.parameters())):
        raise DivergedError(
            f"after update {update} the loss ({float(loss):g}) or the weights of the correction are not finite. "
            "Nothing was written. Lower --learning-rate (learning_rate)."
        )


def _targets(correction: Correction, steps: Steps) -> Float[Tensor, "s m"]:
    """What was demonstrated minus what was planned, in halves of the actions' range."""
    return ((steps.demonstrated - steps.planned) / correction.action_scale.half.to(steps.planned)).float()


@torch.no_grad()
def _errors(correction: Correction, steps: Steps, *, held_out: bool) -> CorrectionErrors:
    found = correction.net(correction.inputs(steps.observations, steps.planned, steps.phase))
    planned = _targets(correction, steps)
    before, after = (float(one.square().mean().sqrt()) for one in (planned, planned - found))
    return CorrectionErrors(before, after, held_out)
