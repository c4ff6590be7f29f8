"""Whether episodes have the sizes of those that a policy was trained on."""

from ..errors import RecipeError
from ..policy import PolicySpec
from ..types import Episodes


def check_data_sizes(spec: PolicySpec, episodes: Episodes) -> None:
    """Refuse episodes of another robot or task.

    Raises:
        RecipeError: Observations, states or actions have another number of coordinates. What a policy of pictures
            observes besides is a choice, so that its observations are not compared.
    """
    seen = episodes.observed.vector.shape[-1]
    found = (seen, episodes.states.shape[-1], episodes.actions.shape[-1])
    expected = (spec.n_observed if spec.vision is None else seen, spec.n_states, spec.n_actions)
    if found != expected:
        raise RecipeError(
            f"expected episodes with observations, states and actions of {expected[0]}, {expected[1]} and "
            f"{expected[2]} numbers, as the policy was trained on, got {found[0]}, {found[1]} and {found[2]}."
        )
