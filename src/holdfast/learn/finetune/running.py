"""Fine-tuning with a run folder: checkpoints, metrics, resuming, and an orderly stop on signals."""

from collections.abc import Callable
from pathlib import Path

from ...atomic import claimed, followed
from ...envs import Environment, make_environment, named_by_data
from ...errors import Interrupted, RecipeError
from ...interrupts import deferred_interrupt
from ...memory import available_memory
from ...policy import Policy
from ..checkpoint import load_recipe
from ..run_place import check_run, is_of_run
from .critic import critic_size
from .experience import Experience
from .folder import FineTuningFolder, Origin, check_critic, read_origin, stored_planner
from .options import FineTuning
from .tuner import Iteration, Tuner

OnIteration = Callable[[Tuner, Iteration], None]


def fine_tune(
    run: str | Path,
    environment: str,
    folder: str | Path,
    options: FineTuning | None = None,
    *,
    overwrite: bool = False,
    on_iteration: OnIteration = lambda tuner, done: None,
) -> Tuner:
    """Fine-tune the policy of a run folder by policy gradients, with checkpoints in another run folder.

    Args:
        run: Run folder of the pre-trained policy, which is only read.
        environment: Name of the environment (`make_environment`), which must give rewards.
        folder: Run folder of the fine-tuned policy.
        options: Options of the fine-tuning.
        overwrite: Replace a run in the folder.
        on_iteration: Called after every iteration.

    Raises:
        LikelihoodError: The densities of the sampling steps of the policy's family are not defined here.
        RecipeError: The policy cannot be fine-tuned with these options, or the environment gives no rewards.
        DivergedError: A plan, a loss or a weight is not finite; the previous checkpoint is kept.
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; the iteration was completed and stored.
        OutputError: The folder contains a run and `overwrite` was not given, or another process trains in it.
    """
    place, source = followed(Path(folder)), Path(run)
    options = options or FineTuning()
    with claimed(place, ours=is_of_run, purpose="training in"), deferred_interrupt() as interrupted:
        check_run(place, overwrite=overwrite)
        recipe = load_recipe(source)
        tuner = Tuner(Policy.from_pretrained(source).planner, options)
        kept = FineTuningFolder(place, Origin(run=str(source), environment=environment, options=options), recipe)
        made = make_environment(environment, options.episodes)
        try:
            check_memory(tuner, made)
            # before anything is written: a policy that does not fit, or no rewards, leave nothing behind
            first = tuner.experience(made)
            kept.begin(tuner)
            return _iterated(tuner, made, kept, interrupted, on_iteration, first)
        finally:
            made.close()


def continue_fine_tuning(
    folder: str | Path, *, environment: str | None = None, on_iteration: OnIteration = lambda tuner, done: None
) -> Tuner:
    """Continue a fine-tuning that was stopped, bit for bit, from its last checkpoint.

    Args:
        folder: Run folder of the fine-tuned policy.
        environment: Name of its environment, needed where that is another package's, which only a typed name imports.
        on_iteration: Called after every iteration.

    Raises:
        RunError: The folder holds no fine-tuning, or a damaged one.
        RecipeError: Its environment is another package's, and was not named, or another one was named.
        DivergedError: A plan, a loss or a weight is not finite; the previous checkpoint is kept.
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; the iteration was completed and stored.
        OutputError: Another process trains in the folder.
    """
    place = followed(Path(folder))
    with claimed(place, ours=is_of_run, purpose="training in"), deferred_interrupt() as interrupted:
        origin = read_origin(place)
        if environment is None:
            named_by_data(origin.environment)
        elif environment != origin.environment:
            raise RecipeError(
                f"{place} was fine-tuned in {origin.environment}, not in {environment}. Continue there, or begin a new "
                "fine-tuning."
            )
        planner, recipe = stored_planner(place)
        check_critic(place, origin, planner)
        tuner, kept = Tuner(planner, origin.options), FineTuningFolder(place, origin, recipe)
        kept.resume(tuner)
        if tuner.done:
            return tuner
        made = make_environment(origin.environment, origin.options.episodes)
        try:
            return _iterated(tuner, made, kept, interrupted, on_iteration, None)
        finally:
            made.close()


def check_memory(tuner: Tuner, environment: Environment) -> None:
    """Refuse episodes that the memory cannot hold.

    Raises:
        RecipeError: An iteration needs more memory than there is.
    """
    spec, steps = tuner.planner.spec, tuner.process.steps
    plans = tuner.options.episodes * -(-environment.steps // spec.execution.n_action_steps)
    chunk, window = tuner.process.counted.numel(), 2 * critic_size(spec)
    # paths, and each of their transitions with the chunk before and after it
    needed = 4 * plans * ((3 * steps + 1) * chunk + (steps + 1) * window)
    if needed > (free := available_memory()):
        raise RecipeError(
            f"{tuner.options.episodes} episodes of {environment.steps} steps need about {needed / 1e9:.3g} GB of "
            f"memory, but {free / 1e9:.3g} GB are available. Choose fewer episodes (--episodes)."
        )


def _iterated(
    tuner: Tuner,
    environment: Environment,
    kept: FineTuningFolder,
    interrupted: Callable[[], int],
    on_iteration: OnIteration,
    experience: Experience | None,
) -> Tuner:
    while not tuner.done:
        found = tuner.iterate(environment, experience)
        experience = None
        on_iteration(tuner, found)
        signum = interrupted()
        kept.after(tuner, found, stopping=signum > 0)
        if signum and not tuner.done:
            raise Interrupted(
                f"stopped after iteration {tuner.iteration}, {tuner.control_steps} control steps; continue with: "
                f"holdfast finetune --resume {kept.path}",
                signum,
            )
    return tuner
