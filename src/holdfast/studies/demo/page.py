"""Page of the demo."""

from pathlib import Path

from ...report import (
    Cell,
    Panel,
    Picture,
    Section,
    Table,
    Text,
    animate_flights,
    draw_errors,
    draw_flights,
    write_page,
)
from ...report.palette import GAINS, RAW_ACTIONS
from .plan import SIGMA, DemoResult, Evaluated

SHOWN = 6
"""Number of flights in a picture; the numbers are over all starts."""


def write_demo_page(folder: Path, found: DemoResult) -> list[Path]:
    """Write the animation, the pictures and `index.html`; returns their paths."""
    panels = [_panel(found, found.raw, RAW_ACTIONS), _panel(found, found.hint, GAINS)]
    dt = found.world.task.dt
    animation = animate_flights(folder / "flights.gif", panels, dt=dt)
    picture = draw_flights(folder / "flights.png", panels)
    times = [dt * (step + 1) for step in range(found.world.task.steps)]
    curves = {item.name: item.comparison.error for item in found.policies}
    title = "Cloned raw actions run away; primitive controllers bring the vehicle back"
    errors = draw_errors(folder / "errors.png", times, curves, title=title)
    page = write_page(
        folder / "index.html",
        title="One demonstration, cloned in two ways",
        lead=_lead(found),
        sections=_sections(found, animation, picture, errors),
    )
    return [animation, picture, errors, page]


def _panel(found: DemoResult, policy: Evaluated, colour: str) -> Panel:
    estimates = policy.estimates
    return Panel(
        title=policy.name,
        subtitle=f"score {estimates['score'].mean:.2f}, {estimates['diverged'].mean:.0%} diverged",
        demonstrations=found.demonstration.states[None],
        flights=policy.trajectory.states[:SHOWN],
        expert=found.world.expert.states[:SHOWN],
        colour=colour,
    )


def _lead(found: DemoResult) -> str:
    raw, hint = found.raw.estimates, found.hint.estimates
    return (
        f"A quadrotor must come to rest at the origin. Both policies were trained on the same single flight of an "
        f"expert. Cloned raw actions diverge in {raw['diverged'].mean:.0%} of {len(found.raw.comparison.score)} "
        f"held-out starts; cloned stabilizing controllers, with noise on the observations in training and at "
        f"deployment (HINT, σ = {SIGMA:g}), in {hint['diverged'].mean:.0%}."
    )


def _sections(found: DemoResult, animation: Path, picture: Path, errors: Path) -> list[Section]:
    return [
        Picture(
            "Both policies from the same starts",
            animation,
            "Left: raw actions; right: HINT; gray: the expert.",
            "Animation of quadrotors under two policies",
        ),
        Picture("The paths", picture, "Side view; the demonstration in gray.", "Paths of both policies"),
        Picture(
            "Distance to the expert over time",
            errors,
            "Median and 10–90 % band over all held-out starts.",
            "State error over time",
        ),
        _table(found),
        Text("How to read it", _reading(found)),
    ]


def _table(found: DemoResult) -> Table:
    rows: list[list[Cell]] = [
        [item.name, *(item.estimates[key] for key in ("score", "distance", "diverged"))] for item in found.policies
    ]
    return Table(
        "Numbers",
        ["policy", "score", "distance to the expert", "diverged"],
        [*rows, ["the expert", 1.0, 0.0, 0.0]],
        "Means (score), medians (distance) and shares (diverged: ever more than 10 from the expert) over the held-out "
        "starts, with 95 % intervals.",
    )


def _reading(found: DemoResult) -> list[str]:
    hover, hint, close = (item.estimates for item in (found.regulator, found.hint, found.close))
    return [
        "The score compares summed rewards with the expert's. It rewards being at rest at the goal, and the expert is "
        f"slow: one gain around hover, without learning, scores {hover['score'].mean:.2f}, HINT "
        f"{hint['score'].mean:.2f}. A high score therefore does not mean imitation.",
        "The distance to the expert measures imitation. With gains for the expert's cost, HINT is "
        f"{hint['distance'].mean:.2f} away; with the expert's own feedback as gains it is {close['distance'].mean:.2f} "
        f"away and scores {close['score'].mean:.2f}, close to the expert's 1.",
        "Primitive controllers u = ū + K (x − x̄) are computed from the dynamics, linearized along the demonstration, "
        "so the dynamics must be known or learned. More demonstrations close the gap for raw actions "
        "(holdfast study fig5 shows how many).",
    ]
