"""Options checked before a verb begins to work: one table of ranges for the numbers of all verbs and studies.

An option is looked up by the name of its class and its own ("Diagnose.steps"), then by its own name alone ("steps").
"""

import dataclasses
from typing import Any, NamedTuple, cast

from ..errors import RecipeError

MOST_THREADS = 1024
"""Largest number of threads and processes; PyTorch and systems crash without a message at some tens of thousands."""

MOST_DIGITS = 40
"""Characters of a number that is repeated in a message."""

_LARGEST_SEED = 2**32 - 1
_MANY = 10**9


class Range(NamedTuple):
    """Numbers that an option takes.

    Attributes:
        least: Smallest number.
        most: Largest number.
        unit: Singular of what is counted, for messages.
        open_below: Whether `least` itself is excluded.
        open_above: Whether `most` itself is excluded.
    """

    least: int | float
    most: int | float
    unit: str = ""
    open_below: bool = False
    open_above: bool = False

    def refusal(self, number: int | float) -> str | None:
        """The expectation that a number violates; `None` where it is in the range.

        >>> Range(1, 10).refusal(0), Range(0, 1, open_above=True).refusal(1.0), Range(1, 10).refusal(5)
        ('at least 1', 'less than 1', None)
        """
        low = number > self.least if self.open_below else number >= self.least
        high = number < self.most if self.open_above else number <= self.most
        if low and high:
            return None
        counted = f" {self.unit}{_plural(self.unit) if self.least != 1 else ''}" if self.unit else ""
        lower = f"{'more than' if self.open_below else 'at least'} {self.least:g}{counted}"
        upper = f"{'less than' if self.open_above else 'at most'} {_written(self.most)}"
        return f"{lower} and {upper}" if number != number else upper if low else lower


def _plural(unit: str) -> str:
    """The ending of a plural.

    >>> _plural("step"), _plural("process")
    ('s', 'es')
    """
    return "es" if unit.endswith("s") else "s"


def _written(number: int | float) -> str:
    return f"{number:.0f}" if 1000 <= number < 1e12 else f"{number:g}"


def _short(number: int | float) -> str:
    """A number as it was given, or how many digits it has.

    >>> _short(-3), _short(0.5), _short(10**400)
    ('-3', '0.5', 'a number of 401 digits')
    """
    text = str(number)
    return text if len(text) <= MOST_DIGITS else f"a number of {len(text.lstrip('-'))} digits"


_SEED, _COUNT, _UPDATES = Range(0, _LARGEST_SEED), Range(1, 10**6), Range(1, _MANY)
_STEPS, _SIGMA = Range(1, 10**6), Range(0, 100)

RANGES = {
    "at_once": Range(1, 10**5, "episode"),
    "batch": _COUNT,
    "batch_size": _COUNT,
    "batches": _COUNT,
    "beta": Range(0, 1e6),
    "checkpoints": _COUNT,
    "damping": Range(0, 1e6),
    "clip": Range(0, 1e6, open_below=True),
    "critic_learning_rate": Range(0, 1e38, open_below=True),
    "delay": Range(0, 10**6, "step"),
    "demos": _COUNT,
    "denoising_steps": Range(1, 10**6, "step"),
    "Diagnose.steps": _STEPS,
    "epochs": _COUNT,
    "episodes": Range(1, 10**6, "episode"),
    "human_starts": Range(1, 10**5),
    "human_steps": _UPDATES,
    "untouched": Range(0, 10**6, "episode"),
    "every": Range(0, 10**6, "step"),
    "overlap": Range(0, 10**6, "step"),
    "epsilons": Range(0, 1, open_below=True, open_above=True),
    "feed_forward": Range(-1e6, 1e6),
    "first_seed": _SEED,
    "gamma": Range(0, 1),
    "gamma_denoising": Range(0, 1),
    "held_out": Range(0, 1, open_above=True),
    "history_level": Range(0, 10**6),
    "horizon": _STEPS,
    "Replay.tolerance": Range(0, 1, open_below=True),
    "Inspect.horizon": Range(1, 10**6, "step"),
    "instruction_dropout": Range(0, 1, open_above=True),
    "instruction_guidance": Range(0, 1000),
    "learning_rate": Range(0, 1e38, open_below=True),
    "length": _STEPS,
    "n_action_steps": _STEPS,
    "n_obs_steps": _STEPS,
    "depth_range": Range(0, 10**9),
    "picture_size": Range(1, 4096, "pixel"),
    "record_depth": Range(0, 10**6),
    "port": Range(0, 65535),
    "prefix_delays": Range(0, 10**6, "step"),
    "residual_plans": Range(1, 2**20, "plan"),
    "rollouts": Range(1, 10**7),
    "runs": Range(10, 10**7),
    "sampling_std": Range(0, 100, open_below=True),
    "save_every": _UPDATES,
    "seed": _SEED,
    "seeds": Range(1, 10**4, "seed"),
    "sessions": Range(1, 400, "session"),
    "shift_actions": Range(-10_000, 10_000, "step"),
    "sigma": _SIGMA,
    "sigma_deploy": _SIGMA,
    "sigma_features_deploy": _SIGMA,
    "sigma_features_train": _SIGMA,
    "sigma_train": _SIGMA,
    "sigmas": _SIGMA,
    "share": Range(0, 1, open_below=True, open_above=True),
    "starts": Range(1, 10**5),
    "steps": _UPDATES,
    "stiffness": Range(0, 1e6, open_below=True),
    "stiffness_range": Range(1, 1e6),
    "target_kl": Range(0, 1e6, open_below=True),
    "temperature": Range(1e-3, 1e3),
    "threads": Range(1, MOST_THREADS, "thread"),
    "Train.seeds": Range(1, 10**6),
    "uncertainty": Range(0, 10**6, open_below=True),
    "variance": Range(1e-6, 1e6),
    "waypoint_positions": Range(0, 10**6),
    "waypoint_velocities": Range(0, 10**6),
    "workers": Range(1, MOST_THREADS, "process"),
}
"""Option → its range."""


def check_names(options: object) -> None:
    """Refuse names with bytes that are no text: not every format can store them, which is known only after the work.

    Raises:
        RecipeError: The name in the message shows these bytes as escapes.
    """
    for field in dataclasses.fields(cast("Any", options)):
        name = str(getattr(options, field.name))
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise RecipeError(f"{name} holds bytes that are not UTF-8. Rename the file or folder.")


def check_ranges(options: object) -> None:
    """Refuse options outside their range.

    Args:
        options: A dataclass of options of a verb or a study.

    Raises:
        RecipeError: A number is outside its range, or not a number.
    """
    for field in dataclasses.fields(cast("Any", options)):
        for number in numbers_of(getattr(options, field.name)):
            expected = range_of(type(options), field.name).refusal(number)
            if expected is not None:
                raise RecipeError(f"expected --{field.name.replace('_', '-')} of {expected}, got {_short(number)}.")


def range_of(options: type, name: str) -> Range:
    """The range of a numeric option.

    Raises:
        KeyError: The table lacks the option.
    """
    return RANGES.get(f"{options.__name__}.{name}") or RANGES[name]


def numbers_of(value: object) -> list[int | float]:
    """The numbers in the value of an option: one, several or none."""
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [item for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
