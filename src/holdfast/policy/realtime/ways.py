"""Table of the ways to act while the next plan is being made: name on the command line → way.

A way that needs more than the policy itself is built from it: a planner to compare plans in, a model of the dynamics,
a learned correction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import RecipeError, UnknownNameError
from ..base import Execution, Plans
from ..overlap import Ensemble
from ..planner import Planner
from .bid import Bid
from .conditioned import Conditioned, Guided, Trained
from .continued import Continued
from .forward import Forward, Rolls
from .plain import Ensembled, Naive, Wait
from .residual import Corrects, Residual
from .way import Way


@dataclass(frozen=True)
class Means:
    """What a way can be built from.

    Attributes:
        planner: The policy's planner.
        execution: The policy's execution settings.
        weaker: Planner of a weaker policy, for `bid`.
        dynamics: Model of one control step, for `forward`.
        corrections: Learned correction of actions, for `residual`.
    """

    planner: Planner
    execution: Execution
    weaker: Plans | None = None
    dynamics: Rolls | None = None
    corrections: Corrects | None = None


def _forward(means: Means) -> Way:
    if means.dynamics is None:
        raise RecipeError("the way forward needs a model of the dynamics. Pass dynamics=…, or choose another way.")
    limits = means.execution.action_low, means.execution.action_high
    low, high = (None if one is None else Tensor(one).double() for one in limits)
    return Forward(means.dynamics, low=low, high=high)


def _residual(means: Means) -> Way:
    if means.corrections is None:
        raise RecipeError(
            "the way residual needs a learned correction. Train one with: holdfast train --residual RUN, and in "
            "Python pass corrections=load_correction(RUN, planner) to Means; or choose another way, for example naive."
        )
    return Residual(means.corrections)


WAYS: Mapping[str, Callable[[Means], Way]] = {
    "wait": lambda means: Wait(),
    "naive": lambda means: Naive(),
    "ensemble": lambda means: Ensembled(means.execution.ensemble or Ensemble()),
    "bid": lambda means: Bid(means.planner, weaker=means.weaker),
    "guided": lambda means: Guided(),
    "guided-no-jacobian": lambda means: Guided(jacobian=False),
    "trained": lambda means: Trained(),
    "conditioned": lambda means: Conditioned(),
    "streaming": lambda means: Continued(),
    "forward": _forward,
    "residual": _residual,
}


def way_named(name: str, means: Means) -> Way:
    """The way of this name, built from what is there.

    Raises:
        UnknownNameError: No way has this name.
        RecipeError: The way needs what is not there.
    """
    if name not in WAYS:
        raise UnknownNameError("way of real-time execution", name, WAYS)
    return WAYS[name](means)
