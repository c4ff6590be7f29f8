"""`--weaker RUN`: a policy whose plans are compared, step by step, with those of the policy that is run."""

from collections.abc import Callable
from pathlib import Path

from ..errors import RecipeError
from ..policy import Coordinates, Plans, Policy, PolicyInterface
from ..policy.mismatch import compare_names, compare_units
from .console import console

_SIZES = ("horizon", "n_obs_steps", "n_observed", "n_states", "n_actions")
_QUANTITIES: dict[str, Callable[[PolicyInterface], Coordinates]] = {
    "observation": lambda interface: interface.observation,
    "state": lambda interface: interface.state,
    "action": lambda interface: interface.action,
}
WIDER = 3.0
"""Ratio of the widths of two ranges from which they are said to differ."""


def plans_of(weaker: Path, policy: Policy) -> Plans:
    """Plans of a weaker policy; prints coordinates that it was trained on in other ranges.

    Raises:
        RecipeError: It has other sizes, or coordinates of other names, another order or other units.
    """
    other = Policy.from_pretrained(weaker)
    _check_sizes(weaker, policy, other)
    if policy.interface is not None and other.interface is not None:
        for quantity, of in _QUANTITIES.items():
            _check_coordinates(weaker, quantity, of(policy.interface), of(other.interface))
        for sentence in _other_ranges(policy.interface, other.interface):
            console.say(f"--weaker {weaker}: {sentence}", style="yellow")
    return other.executor.plans


def _check_sizes(weaker: Path, policy: Policy, other: Policy) -> None:
    differing = [name for name in _SIZES if getattr(other.spec, name) != getattr(policy.spec, name)]
    told = ", ".join(f"{one} {getattr(other.spec, one)} instead of {getattr(policy.spec, one)}" for one in differing)
    if differing or (other.spec.vision is None) != (policy.spec.vision is None):
        raise _refusal(weaker, f"{told or 'one of the two sees pictures'}")


def _check_coordinates(weaker: Path, quantity: str, own: Coordinates, theirs: Coordinates) -> None:
    """Refuse coordinates that mean something else at the same place of the vector."""
    where = f"--weaker {weaker}"
    named = compare_names(quantity, own, [theirs.names or ()], where=where)
    places = tuple(range(len(own)))
    told = [str(one) for one in named.mismatches if one.severity == "error"]
    if not told and named.index not in (None, places):
        told = [f"its {quantity} has the order {', '.join(theirs.names or ())} instead of {', '.join(own.names or ())}"]
    told += [one.what for one in compare_units(quantity, own, theirs.units or (), places, where=where)]
    if told:
        raise _refusal(weaker, told[0].rstrip("."))


def _other_ranges(own: PolicyInterface, theirs: PolicyInterface) -> list[str]:
    """Sentences about ranges that do not meet, or of which one is several times as wide."""
    found = list[str]()
    for quantity in ("observation", "action"):
        ours, others = _QUANTITIES[quantity](own), _QUANTITIES[quantity](theirs)
        odd = [place for place in range(len(ours)) if _differ(ours, others, place)]
        if odd:
            place, more = odd[0], f", and {len(odd) - 1} more" if len(odd) > 1 else ""
            found.append(
                f"its {quantity} was trained in other ranges: {ours.called(place, quantity=quantity)} from "
                f"{others.low[place]:.4g} to {others.high[place]:.4g}, and here from {ours.low[place]:.4g} to "
                f"{ours.high[place]:.4g}{more}. If these are other units or another task, the comparison means nothing."
            )
    return found


def _differ(own: Coordinates, theirs: Coordinates, place: int) -> bool:
    (low, high), (other_low, other_high) = ((one.low[place], one.high[place]) for one in (own, theirs))
    if high < other_low or other_high < low:
        return True
    narrow, wide = sorted((high - low, other_high - other_low))
    # a coordinate that is constant in one of the two, within the range of the other, says nothing about units
    return narrow > 0 and wide > WIDER * narrow


def _refusal(weaker: Path, why: str) -> RecipeError:
    return RecipeError(
        f"the plans of --weaker {weaker} cannot be compared with those of the policy: {why}. Give a run of the same "
        "data and recipe that was trained for fewer steps."
    )
