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

import torch

from ..atomic import claimed
from ..data import split
from ..errors import DataError, OutputError
from ..interrupts import deferred_interrupt
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
from .correction_state import Checkpoints, origin_of
from .correction_steps import Planning, Steps, check_corrected
from .correction_updates import fitted, targets_of
from .preparation import choose_episodes
from .run_place import check_parts, is_of_run

CHECKED = 1024
"""Largest number of plans by which a correction is judged; no more than it was trained on."""
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
    """Train a correction of the policy in a run folder and store it there.

    A training that was stopped is continued, bit for bit, by the same call; with other options, data or weights it
    begins anew. Until the end, its checkpoints are in the folder `residual_state`.

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
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; a checkpoint was written.
    """
    place = Path(folder)
    recipe = load_recipe(place)
    options = (options or CorrectionRecipe()).planned(recipe.policy.horizon)
    check_corrected(recipe.policy)
    with claimed(place, ours=is_of_run, purpose="training in"), deferred_interrupt() as interrupted:
        check_parts(place)
        check_correction(place, overwrite=overwrite)
        policy = Policy.from_pretrained(place, device=device)
        checkpoints = Checkpoints(place, origin_of(place, options, episodes, device), interrupted)
        correction, errors = correct(
            policy.planner, recipe, episodes, options, progress=progress, checkpoints=checkpoints
        )
        about = {"planned": errors.planned, "corrected": errors.corrected}
        save_correction(place, correction, options, about)
        checkpoints.clear()
    return errors


def check_correction(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace a stored correction.

    Raises:
        OutputError: There is one, and `overwrite` was not given.
    """
    if not overwrite and (folder / CORRECTION).exists():
        raise OutputError(f"{folder / CORRECTION} exists already. Replace it with --overwrite.")


def correct(
    planner: Planner,
    recipe: Recipe,
    episodes: Episodes,
    options: CorrectionRecipe,
    *,
    progress: Callable[[int], None] = lambda done: None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Correction, CorrectionErrors]:
    """A correction of a policy, and its errors on episodes on which it was not trained.

    Args:
        planner: Planner of the policy, as it is deployed.
        recipe: Recipe of the policy.
        episodes: Demonstrations of the policy.
        options: What to train with.
        progress: Called with the number of plans and updates that are done.
        checkpoints: Where a stopped training is kept, and continued from. Default: nowhere.

    Raises:
        Interrupted: A signal has arrived; a checkpoint was written.
    """
    training, checked, held_out = _divided(recipe, episodes, options.seed)
    options = options.planned(planner.spec.horizon)
    assert options.plans is not None
    plans = options.plans
    planning = Planning(planner, recipe, training, plans, seed=options.seed)
    steps = planning.steps(progress, checkpoints)
    correction = Correction.of(planner, _initial(CorrectionSizes.of(planner.spec), options))
    fitted(correction, steps, options, lambda done: progress(plans + done), checkpoints)
    judged = Planning(planner, recipe, checked, min(CHECKED, plans), seed=options.seed + 1).steps()
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


@torch.no_grad()
def _errors(correction: Correction, steps: Steps, *, held_out: bool) -> CorrectionErrors:
    found = correction.net(correction.inputs(steps.observations, steps.planned, steps.phase))
    planned = targets_of(correction, steps)
    before, after = (float(one.square().mean().sqrt()) for one in (planned, planned - found))
    return CorrectionErrors(before, after, held_out)
