"""`holdfast train --residual`: a correction of every step, for a trained run."""

from pathlib import Path

from ..devices import usable_device
from ..learn import check_corrected, check_correction, fit_correction, load_recipe
from ..policy.realtime import CORRECTION, CorrectionRecipe
from .console import console, name_files
from .progress import stages
from .reading import demonstrations_of


def train_residual(folder: Path, options: CorrectionRecipe, *, overwrite: bool, device: str | None) -> None:
    """Train the correction of a run on the run's own demonstrations and print the result.

    Raises:
        RunError: The run names no data.
        DataError: The data can no longer be read.
        OutputError: The run has a correction, and `overwrite` is not set.
    """
    recipe = load_recipe(folder)
    # before the data are read, so that the refusal comes at once
    check_correction(folder, overwrite=overwrite)
    check_corrected(recipe.policy)
    otherwise = "train the correction in Python: holdfast.learn.fit_correction(RUN, episodes)"
    episodes = demonstrations_of(recipe, folder, purpose="train --residual", otherwise=otherwise)
    horizon = recipe.policy.horizon
    options = options.planned(horizon)
    console.say(
        f"{options.plans} plans of {horizon} steps (--residual-plans), then {options.steps} updates of "
        f"{options.batch_size} steps each"
    )
    with stages() as stage:
        errors = fit_correction(
            folder,
            episodes,
            options,
            overwrite=overwrite,
            device=usable_device(device or "cpu"),
            progress=stage("plans and updates of the correction", (options.plans or 0) + options.steps),
        )
    console.say(errors.sentence)
    name_files(folder / CORRECTION)
    console.say(
        f"next: holdfast evaluate {folder} --delay 0 --realtime residual, and the same with naive: a smaller error of "
        "single actions does not mean that more episodes are solved"
    )
