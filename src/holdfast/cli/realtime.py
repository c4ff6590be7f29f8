"""Options of real-time execution, shared by the commands that run a policy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..envs import Environment
from ..errors import RecipeError
from ..learn import Rolling, known_rolling, learned_rolling
from ..models import Streaming
from ..policy import Policy
from ..policy.realtime import (
    Delay,
    Means,
    Naive,
    RealTime,
    Rolls,
    check_sizes,
    load_correction,
    way_named,
)
from ..recipe import Recipe
from .console import console
from .progress import stages
from .reading import demonstrations_of
from .weaker import plans_of

_UPDATES = 3000
"""Updates of learned dynamics."""


def way_of(policy: Policy, way: str | None) -> str:
    """Name of the way to act: the given one, or else "ensemble" for policies that average plans, and "naive"."""
    return way if way is not None else ("naive" if policy.spec.execution.ensemble is None else "ensemble")


def under_delay(
    policy: Policy,
    delay: str | None,
    way: str | None,
    weaker: Path | None = None,
    *,
    run: Path | None = None,
    dynamics: Callable[[], Rolls] | None = None,
    n_action_steps: int | None = None,
) -> Policy:
    """The policy, executed with an inference delay if one is given.

    Args:
        policy: Policy as it is executed without delay.
        delay: Delay such as "4" or "0-4", or `None`.
        way: Name of the way to act meanwhile. Default: see `way_of`.
        weaker: Run folder of a weaker policy, for `bid`.
        run: Run folder of the policy, whose correction is for `residual`.
        dynamics: Function that returns a model of one control step, for `forward`.
        n_action_steps: Steps executed between plans, where they are given and not those of the recipe.

    Raises:
        RecipeError: A way without a delay, a weaker policy for another way than `bid`, or a delay that does not fit.
        RunError: There is no correction of the policy for `residual`, or one of another policy.
    """
    if delay is None:
        if given := [name for name, value in (("--realtime", way), ("--weaker", weaker)) if value is not None]:
            says = "says" if len(given) == 1 else "say"
            raise RecipeError(f"{' and '.join(given)} {says} how to act under delay. Give --delay too, for example 4.")
        return policy
    name, execution = way_of(policy, way), policy.spec.execution
    if weaker is not None and name != "bid":
        raise RecipeError(f"only --realtime bid compares plans with those of a --weaker policy, not {name}.")
    if name != "ensemble":
        execution = replace(execution, ensemble=None)
    if name == "streaming" and n_action_steps is None and isinstance(model := policy.spec.model, Streaming):
        execution = replace(execution, n_action_steps=policy.spec.horizon // model.blocks)
    delayed = Delay.parse(delay)
    if name not in ("wait", "streaming"):
        # before anything is learned for the way; a robot that waits may wait long
        steps = execution.n_action_steps
        check_sizes(Naive(), horizon=policy.spec.horizon, n_action_steps=steps, delay=delayed.largest)
    means = Means(
        planner=policy.planner,
        execution=execution,
        weaker=None if weaker is None else plans_of(weaker, policy),
        dynamics=dynamics() if name == "forward" and dynamics is not None else None,
        corrections=load_correction(run, policy.planner) if name == "residual" and run is not None else None,
    )
    options = RealTime(delayed, way_named(name, means))
    return Policy(policy.planner, execution=replace(execution, stream=False), realtime=options)


def dynamics_for(recipe: Recipe, environment: Environment | None, run_folder: Path) -> Rolling:
    """Dynamics of a run, known or learned from its training data; prints which, and the error of one step.

    Args:
        recipe: Recipe of the run.
        environment: Environment of one episode in which the policy is run as it is; `None` where it observes
            estimates, so that the dynamics of what it observes are not known.
        run_folder: The run.

    Raises:
        RunError: The dynamics are not known, and the run names no data.
        DataError: The data can no longer be read, or are too few.
    """
    found = None if environment is None else known_rolling(recipe, environment)
    if found is None:
        otherwise = "choose another --realtime, for example naive"
        episodes = demonstrations_of(recipe, run_folder, purpose="--realtime forward", otherwise=otherwise)
        with stages() as stage:
            advance = stage("learning the dynamics", _UPDATES)
            found = learned_rolling(recipe, episodes, updates=_UPDATES, progress=advance)
    console.say(found.sentence)
    return found
