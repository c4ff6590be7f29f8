"""The environment in which a run is evaluated: the typed one, else the one recorded in its data."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..control import SYSTEMS
from ..data import Depth
from ..envs import ENVIRONMENTS, named_by_data
from ..envs.drawn_depth import SUFFIX
from ..errors import RecipeError
from ..recipe import Recipe

SIMULATED = ("gym:", "mujoco:")
"""Beginnings of the names of environments whose models can have cameras."""


def environment_of(typed: str | None, recipe: Recipe, run_folder: Path) -> str:
    """The name of the environment of a run.

    Raises:
        RecipeError: No name was typed, and none is recorded in the data, or one of another package, which only a
            typed name imports.
    """
    if recipe.selection.estimate is not None:
        raise RecipeError(
            f"{run_folder} estimates coordinates and does not act. Evaluate a policy of these coordinates with it: "
            f"holdfast evaluate RUN --estimator {run_folder}."
        )
    if typed is not None:
        return typed
    if recipe.environment is None:
        raise RecipeError(
            f"no environment is recorded in the data of {run_folder}. Give one with --environment: "
            f"{', '.join(ENVIRONMENTS)}."
        )
    return named_by_data(recipe.environment)


def next_evaluation(recipe: Recipe, run_folder: Path) -> str:
    """What to do with a trained policy."""
    vision = recipe.policy.vision
    measured = [view.camera for view in (vision.views if vision else ()) if view.depth is not None]
    if measured and not (recipe.environment or "").startswith(SIMULATED):
        key = f"observation.images.{measured[0]}"
        return f"next: holdfast.load({str(run_folder)!r}).select_action(...) with the raw measurements as {key}"
    command = f"next: holdfast evaluate {run_folder} --episodes 50"
    language = recipe.policy.language
    if language is not None and len(language.instructions) > 1:
        command += f" --instruction {shlex.quote(language.instructions[0])}"
    if recipe.environment is not None:
        return command
    return (
        f"{command} --environment NAME, where NAME is a simulation with the same observations and actions; none is "
        "recorded in the data"
    )


def check_first_seed(first_seed: int | None, environment: str) -> None:
    """Refuse `--first-seed` on a built-in system, whose initial states `--seed` selects.

    Raises:
        RecipeError: It was given there.
    """
    if first_seed is not None and environment in SYSTEMS:
        raise RecipeError(
            f"on {environment}, --seed selects all initial states. Give --seed {first_seed} instead of --first-seed."
        )


def check_recorded(cameras: Sequence[str], environment: str, *, recorded: bool) -> None:
    """Refuse cameras to record where nothing is recorded, or where no model has cameras.

    Raises:
        RecipeError: There are such cameras.
    """
    if cameras and not recorded:
        raise RecipeError("--record-cameras are cameras to record. Give --record DATA as well.")
    if cameras and not environment.startswith((*SIMULATED, "robosuite:")):
        raise RecipeError(
            "--record-cameras names cameras of a MuJoCo model, in gym:<id>, mujoco:<id> and robosuite:<task>, and "
            f"{environment} has none. Leave it out."
        )


def check_recorded_depth(cameras: Sequence[str], ends: tuple[float, float] | None) -> None:
    """Refuse depth to record without its range, and a range without depth.

    Raises:
        RecipeError: One of them is missing, or the range is none.
    """
    deep = [name for name in cameras if name.endswith(SUFFIX)]
    if ends is None and deep:
        raise RecipeError(
            f"{deep[0]} is the depth of a camera. Give the nearest and the farthest depth that is resolved as well, in "
            "metres: --record-depth NEAR FAR."
        )
    if ends is None:
        return
    Depth.of(ends)
    if not deep:
        raise RecipeError(
            f"--record-depth is the range of the depth of --record-cameras, of which none ends with {SUFFIX}. Name the "
            f"depth of a camera, for example {cameras[0] if cameras else 'top'}{SUFFIX}."
        )
