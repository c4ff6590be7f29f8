"""Many trainings as one program, each with its own run folder, like that of `fit`.

Trainings are resumed together: on the same machine with the same number of threads, they end with the same bits as
without interruption. A kill during a checkpoint leaves some trainings at a later step than others. The lagging ones are
then re-run first, together with all others, whose results are discarded, because the order of sums in a stack depends
on its size.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import claimed, followed, refuse_others, replacing
from ..errors import DivergedError, Interrupted, RecipeError
from ..interrupts import deferred_interrupt
from ..recipe import Recipe
from .dataset import TrainingSet
from .run_folder import RunFolder
from .run_place import check_run, check_seeds, is_of_run, seed_folder
from .training import TrainState, initial_state
from .variants import Variants, check_variants, train_variants

LOOK_EVERY = 10
"""Number of updates between two checks for signals; a divisor of the number between two lines of metrics."""


@dataclass(frozen=True)
class Fitted:
    """Result of one of several trainings.

    Attributes:
        state: State of the last checkpoint; that of the last update unless the training diverged.
        error: Error of a training that diverged.
    """

    state: TrainState
    error: DivergedError | None


def fit_variants(
    recipes: Sequence[Recipe],
    data: Sequence[TrainingSet],
    folders: Sequence[Path | str],
    *,
    within: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    compiled: bool = False,
    held_out: Sequence[TrainingSet | None] | None = None,
    on_step: Callable[[Variants], None] = lambda variants: None,
) -> tuple[Fitted, ...]:
    """Train all recipes to their end, with checkpoints in their run folders.

    Args:
        recipes: Recipes; all settings that determine shapes or the training loop must agree.
        data: Training set of each recipe. Pass the same object for equal sets, so that it is stored once.
        folders: Run folder of each training.
        within: Folder that holds all run folders; a new training replaces it as a whole. Default: each run folder is
            replaced by itself.
        resume: Continue from the training states in the folders.
        overwrite: Replace runs in the folders.
        compiled: Compile the loss; see `train_variants`.
        held_out: Held-out episodes of each training, whose loss is logged at every checkpoint.
        on_step: Called after every few updates.

    Returns:
        Result of each training. One that diverges keeps its previous checkpoint, and the others continue.

    Raises:
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; checkpoints were written.
        OutputError: A folder contains a run and `overwrite` was not given, or is no run folder, or another process
            trains in it.
        RecipeError: As `train_variants`; nothing is written or replaced.
        RunError: There is no state to resume from, or the data have changed.
    """
    folders, within = [Path(folder) for folder in folders], within and followed(within)
    runs = _runs(recipes, data, folders, held_out, compiled=compiled)
    if not resume:
        # refuse before anything is replaced
        check_variants(recipes, data)
    with ExitStack() as stack:
        for place in [within] if within else folders:
            stack.enter_context(claimed(place, ours=is_of_run, purpose="training in"))
        refuse_others(*folders)
        interrupted = stack.enter_context(deferred_interrupt())
        if not resume:
            _begin(runs, within, overwrite=overwrite)
        return _trained(runs, interrupted, on_step)


def _begin(runs: Sequence[RunFolder], within: Path | None, *, overwrite: bool) -> None:
    """Replace all run folders by new ones with a first checkpoint, once those of all runs are written."""
    if within is None:
        for run in runs:
            check_run(run.path, overwrite=overwrite)
    else:
        check_seeds(within, overwrite=overwrite)
    with ExitStack() as stack:
        fresh: dict[Path, Path] = {
            place: stack.enter_context(replacing(place, ours=is_of_run, purpose="training in"))
            for place in ([within] if within else [run.path for run in runs])
        }
        for run in runs:
            place = fresh[within] / run.path.relative_to(within) if within else fresh[run.path]
            run.begin_at(place, initial_state(run.recipe, run.data))


def _trained(
    runs: Sequence[RunFolder], interrupted: Callable[[], int], on_step: Callable[[Variants], None]
) -> tuple[Fitted, ...]:
    steps = [run.open(resume=True).step for run in runs]
    lost = dict[int, DivergedError]()
    while behind := [i for i, run in enumerate(runs) if i not in lost and steps[i] < run.recipe.training.steps]:
        start = min(steps[i] for i in behind)
        stop = min([step for step in steps if step > start], default=runs[0].recipe.training.steps)
        moving = [i for i in behind if steps[i] == start]
        lost |= _advance(runs, moving, start, stop, interrupted=interrupted, on_step=on_step)
        steps = [stop if i in moving else step for i, step in enumerate(steps)]
    return tuple(Fitted(run.load(), lost.get(i)) for i, run in enumerate(runs))


def _runs(
    recipes: Sequence[Recipe],
    data: Sequence[TrainingSet],
    folders: Sequence[Path],
    held_out: Sequence[TrainingSet | None] | None,
    *,
    compiled: bool,
) -> list[RunFolder]:
    checked = [None] * len(recipes) if held_out is None else held_out
    if not len(recipes) == len(data) == len(set(folders)) == len(folders) == len(checked):
        raise RecipeError(
            f"expected one training set and one distinct folder for each recipe, got {len(recipes)} recipes, "
            f"{len(data)} training sets, {len(set(folders))} distinct folders and {len(checked)} held-out sets."
        )
    parts = zip(folders, recipes, data, checked, strict=True)
    return [RunFolder.of(*part, compiled=compiled) for part in parts]


def _advance(
    runs: Sequence[RunFolder],
    moving: Sequence[int],
    start: int,
    stop: int,
    *,
    interrupted: Callable[[], int],
    on_step: Callable[[Variants], None],
) -> dict[int, DivergedError]:
    """Train the runs in `moving` from one step to another, together with all others; returns those that diverged."""
    recipes, data = [run.recipe for run in runs], [run.data for run in runs]
    # built in the call, so that the separate states are freed once they are stacked
    going = train_variants(
        recipes,
        data,
        [replace(run.load(), step=start) for run in runs],
        stops=_stops(recipes, start, stop),
        compiled=runs[0].compiled,
    )
    lost = dict[int, DivergedError]()
    for variants in going:
        on_step(variants)
        signum = interrupted()
        stopping = signum > 0
        left = [i for i in moving if i not in lost]
        if variants.step == stop or any(runs[i].due(variants.step, stopping=stopping) for i in left):
            lost |= _kept(runs, left, variants, stopping=stopping or variants.step == stop)
        if stopping and variants.step < recipes[0].training.steps:
            raise Interrupted(_way_on(runs, variants.step), signum)
        if len(lost) == len(moving):
            break
    return lost


def _stops(recipes: Sequence[Recipe], start: int, stop: int) -> list[int]:
    """Steps at which something may be due."""
    periods = {LOOK_EVERY, *(recipe.training.save_every for recipe in recipes)}
    due = {step for period in periods for step in range(start - start % period + period, stop, period)}
    return sorted(due | {stop})


def _kept(
    runs: Sequence[RunFolder], which: Sequence[int], variants: Variants, *, stopping: bool
) -> dict[int, DivergedError]:
    """Write what is due of each run; returns those that diverged."""
    lost, failed = dict[int, DivergedError](), [int(update) for update in variants.failed.cpu()]
    for i in which:
        if failed[i] >= 0:
            lost[i] = _diverged(runs[i], failed[i])
            continue
        try:
            runs[i].after(variants.state(i), stopping=stopping)
        except DivergedError as error:
            lost[i] = DivergedError(f"{runs[i].path}: {error}")
    return lost


def _diverged(run: RunFolder, update: int) -> DivergedError:
    return DivergedError(
        f"{run.path}: the loss of update {update} is not finite. The last checkpoint is kept, and the other runs are "
        f"not affected. Lower the learning rate (now {run.recipe.training.learning_rate:g}), or look for extreme "
        "values with: holdfast inspect"
    )


def _way_on(runs: Sequence[RunFolder], step: int) -> str:
    together = runs[0].path.parent
    stored = all(run.recipe.data and run.path == seed_folder(together, run.recipe.seed) for run in runs)
    command = f"holdfast train --resume {together}" if stored else "fit_variants(recipes, data, folders, resume=True)"
    return f"stopped at step {step}; continue with: {command}"
