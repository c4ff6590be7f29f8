"""The estimates of an evaluation in the terminal."""

from ..evaluation import Estimate, Evaluation
from ..evaluation.intervals import FEWEST
from .console import console, show_table


def show_estimates(found: Evaluation, title: str) -> None:
    """The estimates as a table, the values that are too few for an interval, and how many episodes were lost."""
    rows = [_row(name, estimate) for name, estimate in found.estimates.items()]
    show_table(f"{title}, 95 % intervals", ["", "estimate", "low", "high"], rows)
    for name, estimate in found.estimates.items():
        if estimate.values:
            listed = ", ".join(f"{value:.4g}" for value in estimate.values)
            console.say(f"{name} of each episode: {listed} (an interval needs {FEWEST} episodes)", style="dim")
    if lost := int(found.rollout.escaped.sum()):
        console.say(
            f"{lost} of {len(found.scores)} episodes were lost: the policy or the simulator returned a value that is "
            "not finite, or the simulation left its limits. Each has the lowest score; a return has no lowest value, "
            "so the mean return is −∞."
        )


def counted_episodes(count: int, found: Evaluation) -> str:
    """Number of episodes and seed of the first, in words."""
    seeds = "" if found.first_seed is None else f" from seed {found.first_seed}"
    return f"{count} episode{'s' * (count != 1)}{seeds}"


def _row(name: str, estimate: Estimate) -> list[str]:
    ends = (f"{end:.3f}" for end in (estimate.low, estimate.high)) if estimate.has_interval else ("–", "–")
    return [name, f"{estimate.mean:.3f}", *ends]
