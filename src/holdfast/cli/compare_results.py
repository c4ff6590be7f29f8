"""Tables, picture and page of `holdfast compare`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation import Arm, Difference, Estimate
from ..report import write_page, write_result
from ..report.dots import Dot, DotPanel, draw_dots
from ..report.page import Facts, Picture, Table
from .console import console, show_table

ONE_TRAINING = (
    "One training of each was compared: the intervals are for these policies, and other trainings of the same recipes "
    "can differ by more. To compare recipes, train several seeds (train --seeds)."
)
_ENDS = ("estimate", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was measured.

    Attributes:
        environment: Name of the environment.
        arms: Scores of each arm.
        folders: Run folders of each arm, one for each training.
        differences: Paired differences.
        first_seed: Seed of the first episode; `None` on a built-in system.
        seed: Random seed.
        seconds: Time that the evaluation took [s].
    """

    environment: str
    arms: Sequence[Arm]
    folders: Sequence[Sequence[Path]]
    differences: Sequence[Difference]
    first_seed: int | None
    seed: int
    seconds: float

    @property
    def title(self) -> str:
        """Where, from which starts and with how many trainings."""
        trainings, starts = self.arms[0].scores.shape
        seeds = "" if self.first_seed is None else f" from seed {self.first_seed}"
        counted = f"{starts} start{'s' * (starts != 1)}{seeds}"
        return f"{self.environment}, {counted}, {trainings} training{'s' * (trainings != 1)} of each"

    @property
    def together(self) -> str:
        """How the intervals of the differences are to be read."""
        count = len(self.differences)
        if count == 1:
            return "paired by start, 95 % interval"
        return f"paired by start, intervals that hold together with 95 % ({count} differences, each {_level(count)})"

    @property
    def sentences(self) -> list[str]:
        """The result in words."""
        said = [_sentence(difference) for difference in self.differences]
        return said if len(self.arms[0].scores) > 1 else [*said, ONE_TRAINING]

    @property
    def scores_table(self) -> list[list[str]]:
        """Name, score and its interval."""
        return [[arm.name, *_numbers(arm.estimate)] for arm in self.arms]

    @property
    def differences_table(self) -> list[list[str]]:
        """Names, difference, its interval and the verdict."""
        return [[f"{one.first} − {one.second}", *_numbers(one.together), one.verdict] for one in self.differences]


def show(result: Comparison) -> None:
    """Print the tables and the sentences."""
    show_table(f"{result.title}, 95 % intervals", ["score", *_ENDS], result.scores_table)
    show_table(f"differences: {result.together}", ["", *_ENDS, ""], result.differences_table)
    for sentence in result.sentences:
        console.say(sentence)


def write_comparison(folder: Path, result: Comparison) -> list[Path]:
    """Write result.json, the picture and the page."""
    values = {
        "environment": result.environment,
        "episodes": result.arms[0].scores.shape[1],
        "first_seed": result.first_seed,
        "seed": result.seed,
        "seconds": result.seconds,
        "arms": [
            {"name": arm.name, "runs": [str(run) for run in runs], "score": arm.estimate, "scores": arm.scores}
            for arm, runs in zip(result.arms, result.folders, strict=True)
        ],
        "differences": [
            {"first": one.first, "second": one.second, "verdict": one.verdict}
            | {"alone": one.alone, "together": one.together}
            for one in result.differences
        ],
    }
    picture = _draw(folder / "comparison.png", result)
    page = write_page(
        folder / "index.html",
        title=f"Comparison on {result.environment}",
        lead=" ".join(result.sentences),
        sections=[
            Picture(
                "Scores and differences",
                picture,
                f"{result.title}. Left: scores with 95 % intervals. Right: differences, {result.together}.",
                "Dots with intervals, one line for each run and each difference.",
            ),
            Table("Scores", ["run", *_ENDS], result.scores_table),
            Table("Differences", ["difference", *_ENDS, "verdict"], result.differences_table, result.together),
            Facts("Setting", _setting(result)),
        ],
    )
    return [write_result(folder / "result.json", values), picture, page]


def _draw(path: Path, result: Comparison) -> Path:
    scores = {arm.name: [Dot(arm.estimate)] for arm in result.arms}
    differing = {f"{one.first} − {one.second}": [Dot(one.together)] for one in result.differences}
    panels = [
        DotPanel("Score", "95 % intervals", scores, "score"),
        DotPanel("Difference", "right of zero: the first is higher", differing, "difference of scores", reference=ZERO),
    ]
    return draw_dots(path, [*scores, *differing], panels)


ZERO = Estimate(0.0, 0.0, 0.0)


def _setting(result: Comparison) -> dict[str, str]:
    runs = {
        arm.name: ", ".join(str(run) for run in folders)
        for arm, folders in zip(result.arms, result.folders, strict=True)
    }
    return {"environment and starts": result.title, "seed": str(result.seed), **runs}


def _sentence(one: Difference) -> str:
    ends = f"[{one.together.low:.3f}, {one.together.high:.3f}]" if one.together.has_interval else "no interval"
    match one.verdict:
        case "no difference found":
            return f"No difference between {one.first} and {one.second} was found: {one.together.mean:+.3f} {ends}."
        case side:
            return f"{one.first} scores {side} than {one.second}: difference {one.together.mean:+.3f} {ends}."


def _numbers(estimate: Estimate) -> list[str]:
    ends = (estimate.low, estimate.high) if estimate.has_interval else ()
    return [f"{estimate.mean:.3f}", *(f"{end:.3f}" for end in ends), *(["–", "–"] if not ends else [])]


def _level(count: int) -> str:
    return f"{100 * (1 - 0.05 / count):.2f} %"
