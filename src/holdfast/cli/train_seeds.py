"""`holdfast train --seeds 5`: several seeds of one recipe as one program, with one run folder each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cores import usable_cores
from ..data import read
from ..devices import usable_device
from ..errors import DataError, DivergedError, RecipeError, RunError
from ..learn import (
    Fitted,
    TrainingSet,
    check_number,
    check_variants,
    fit_variants,
    load_recipe,
    prepare_held_out,
    prepare_variants,
    seed_folder,
)
from ..models import tokenizer_options
from ..recipe import Recipe
from ..types import Episodes
from .console import console, name_files, show_table
from .environment import next_evaluation
from .machine import conditions, threads_are_open, use_threads
from .progress import stages
from .train_run import constants, plan_of, say_preparation

FEW = 100
"""Numbers of seeds above this are compared with the memory before the recipe of each seed is made."""


def train_seeds(
    recipe: Recipe, count: int, episodes: Episodes, folder: Path, *, overwrite: bool, device: str, compiled: bool
) -> None:
    """Train consecutive seeds, starting at the recipe's, to the end or to Ctrl-C and print the results.

    Raises:
        DivergedError: Some seeds diverged; the others are trained.
        OutputError: The folder holds runs and `overwrite` is not set, or it holds other files.
        RecipeError: The family uses tokens, or the seeds need more memory than there is.
    """
    seeds = range(recipe.seed, recipe.seed + count)
    if tokenizer_options(recipe.policy.model) is not None:
        raise RecipeError(
            f"{type(recipe.policy.model).__name__} has a tokenizer, and such families cannot train several "
            f"seeds as one program. Train them one by one: remove --seeds, and give --seed {seeds[0]} to {seeds[-1]}, "
            "each with its own --out."
        )
    if count > FEW:
        (first,) = prepare_variants([recipe], episodes, device=device)
        check_number(recipe, first, count)
    recipes, folders = [replace(recipe, seed=seed) for seed in seeds], [seed_folder(folder, seed) for seed in seeds]
    sets = prepare_variants(recipes, episodes, device=device)
    check_variants(recipes, sets)
    _train(recipes, sets, episodes, folders, resume=False, overwrite=overwrite, compiled=compiled)


def resume_seeds(folders: Sequence[Path], *, threads: int | None, device: str | None) -> None:
    """Continue all unfinished runs of a folder of seeds together.

    Raises:
        DataError: The demonstrations no longer exist.
        DivergedError: Some seeds diverged; the others are trained.
        RunError: The runs were trained on different data or on arrays, or a training state is missing.
    """
    recipes = [load_recipe(folder) for folder in folders]
    together = folders[0].parent
    if len({(recipe.data, recipe.selection) for recipe in recipes}) > 1 or not recipes[0].data:
        raise RunError(
            f"the runs in {together} were trained on arrays, or on different data. Continue with fit_variants(..., "
            "resume=True), or continue each alone: holdfast train --resume " + str(folders[0])
        )
    before = conditions(*folders)
    use_threads(before.threads if threads is None else threads)
    try:
        episodes = read(
            Path(recipes[0].data),
            selection=recipes[0].selection,
            dropped=recipes[0].preparation.drop_episodes,
            download=False,
        )
    except DataError as error:
        raise DataError(f"{error} (the demonstrations of {together})") from error
    sets = prepare_variants(recipes, episodes, device=usable_device(device or before.device))
    _train(recipes, sets, episodes, folders, resume=True, overwrite=False, compiled=before.compiled)


def seed_threads(count: int, *, device: str) -> int | None:
    """Default number of threads for several seeds; `None` keeps the number that verbs start with.

    On a CPU it is one per seed, up to the number of cores. Unlike the threads of one matrix product, seeds do not wait
    for one another, so more threads pay off even for small networks.
    """
    if count == 1 or not threads_are_open(None, device=device):
        return None
    return min(count, usable_cores())


def _train(
    recipes: Sequence[Recipe],
    sets: Sequence[TrainingSet],
    episodes: Episodes,
    folders: Sequence[Path],
    *,
    resume: bool,
    overwrite: bool,
    compiled: bool,
) -> None:
    _describe(recipes, sets, episodes)
    with stages() as stage:
        advance = stage(f"training {len(recipes)} seeds", recipes[0].training.steps)
        ends = fit_variants(
            recipes,
            sets,
            folders,
            within=folders[0].parent,
            resume=resume,
            overwrite=overwrite,
            compiled=compiled,
            held_out=[prepare_held_out(recipe, episodes, one) for recipe, one in zip(recipes, sets, strict=True)],
            on_step=lambda variants: advance(variants.step),
        )
    _report(recipes, folders, ends)


def _describe(recipes: Sequence[Recipe], sets: Sequence[TrainingSet], episodes: Episodes) -> None:
    apart = list({id(one): (recipe, one) for recipe, one in zip(recipes, sets, strict=True)}.values())
    # most constant coordinates are the same for all seeds
    say_preparation(sets[0])
    for sentence in dict.fromkeys(text for recipe, one in apart for text in constants(recipe, episodes, one)):
        console.say(sentence)
    counts = sorted({len(one.windows.lengths) for _, one in apart}), sorted({len(one) for _, one in apart})
    held, steps = (f"{few[0]}" if len(few) == 1 else f"{few[0]} to {few[-1]}" for few in counts)
    console.say(f"{len(recipes)} seeds of {held} episodes, {steps} steps; {plan_of(recipes[0])}")


def _report(recipes: Sequence[Recipe], folders: Sequence[Path], ends: Sequence[Fitted]) -> None:
    rows = [
        (str(recipe.seed), str(end.state.step), f"{float(end.state.loss):.5f}", str(folder))
        for recipe, folder, end in zip(recipes, folders, ends, strict=True)
    ]
    show_table("trained", ("seed", "steps", "last loss", "folder"), rows)
    name_files(*folders)
    lost = [str(end.error) for end in ends if end.error]
    if whole := [folder for folder, end in zip(folders, ends, strict=True) if not end.error]:
        console.say(next_evaluation(recipes[0], whole[0]))
    if lost:
        raise DivergedError(" ".join(lost))
