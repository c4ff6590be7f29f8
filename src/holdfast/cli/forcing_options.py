"""Options of evaluate for policies of the family forcing: how frames are sampled, and where plans are guided to."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

import tyro

from ..errors import RecipeError
from ..models import Forcing, ForcingModel
from ..models.forcing import ScheduleName
from ..policy import Policy, resampled, toward
from .options import one_of


@dataclass(frozen=True, kw_only=True)
class ForcingOptions:
    """Options for policies of the family forcing."""

    goal: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """For the family forcing: guide every plan to these values of observed coordinates at its last step, for example
    --goal x=7.5 y=1.5, by the names and in the units of the training data. Default: plans are not guided."""
    schedule: Annotated[str | None, one_of(get_args(ScheduleName))] = None
    """For the family forcing: order in which the steps of a plan are denoised. full: all together. autoregressive: one
    after the other, which multiplies the network calls by the horizon. pyramid: later steps lag, so that uncertainty
    grows with the horizon. Default: as in the recipe, which has full unless changed there."""
    uncertainty: float | None = None
    """For --schedule pyramid: sampling steps by which a step of the plan lags the one before it. Default: 1."""
    history_level: int | None = None
    """For the family forcing: noise level of the observed history, which is an input of the network; level k is replica
    noise, and history_sigma in the result is its standard deviation. Default: as in the recipe, which has 0."""

    def forced(self, policy: Policy) -> Policy:
        """The policy, sampled and guided as the options ask.

        Raises:
            RecipeError: The policy is of another family, or the goal is not modelled.
        """
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("schedule", self.schedule),
                ("uncertainty", self.uncertainty),
                ("history", self.history_level),
            )
            if value is not None
        }
        if self.uncertainty is not None and self.schedule != "pyramid":
            raise RecipeError("--uncertainty is for --schedule pyramid. Give both, or remove it.")
        if changes:
            options = policy.spec.model
            sampler = replace(options.sampler, **changes) if isinstance(options, Forcing) else None
            if sampler is None:
                raise RecipeError(
                    f"--schedule, --uncertainty and --history-level are for the family forcing, not for "
                    f"{type(options).__name__}. Remove them."
                )
            policy = resampled(policy, sampler)
        return toward(policy, goal_of(self.goal)) if self.goal else policy


def goal_of(values: tuple[str, ...]) -> dict[str, float]:
    """Coordinates of a goal, by name.

    Raises:
        RecipeError: A value is not NAME=VALUE, or a name is given twice.

    >>> goal_of(("x=7.5", "y=-1"))
    {'x': 7.5, 'y': -1.0}
    """
    found = dict[str, float]()
    for value in values:
        name, separator, number = value.rpartition("=")
        try:
            reached = float(number)
        except ValueError:
            separator, reached = "", 0.0
        if not separator or not name or reached - reached != 0:
            raise RecipeError(f"expected --goal NAME=VALUE with a finite number, got {value!r:.80}.")
        if name in found:
            raise RecipeError(f"--goal has two values for {name!r:.80}. Give each coordinate once.")
        found[name] = reached
    return found


def history_of(policy: Policy) -> dict[str, float]:
    """Standard deviation of the replica noise of a policy's history level; nothing for other families."""
    model = policy.planner.generator
    return {"history_sigma": model.sigma_of(model.options.sampler.history)} if isinstance(model, ForcingModel) else {}
