"""Before a policy is run in a task of robosuite: does the environment show what the policy was trained on?"""

from pathlib import Path

from ..data import read
from ..envs import Environment, unwrapped
from ..learn import load_recipe
from .console import console


def compare_with_data(environment: Environment, run_folder: Path) -> None:
    """Compare the demonstrations of a run with its environment, if that is a task of robosuite.

    Raises:
        DataError: Recorded observations do not follow from the simulator states recorded with them.
    """
    if not environment.name.startswith("robosuite:"):
        return
    from ..envs.robosuite.environment import Robosuite
    from ..envs.robosuite.recorded import STATES, check_observations, warn_of_versions

    inner, recipe = unwrapped(environment), load_recipe(run_folder)
    if not isinstance(inner, Robosuite):
        return
    if not recipe.data or not Path(recipe.data).exists():
        missing = f"{recipe.data} is missing" if recipe.data else "the run names no demonstrations"
        console.say(f"{missing}, so recorded observations are not compared with those of the environment")
        return
    episodes = read(Path(recipe.data), selection=recipe.selection, download=False)
    if STATES not in episodes.columns:
        console.say(
            "the demonstrations hold no simulator states, so recorded observations are not compared with those of the "
            "environment"
        )
        return
    warn_of_versions(episodes)
    check_observations(episodes, inner)
