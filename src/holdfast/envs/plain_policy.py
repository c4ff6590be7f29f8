"""Any function from observations to actions as a policy."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError
from ..types import Observation

__all__ = ["PlainPolicy"]


class PlainPolicy:
    """A function `observation → action` that controls episodes: a policy of another library, or a law of one's own.

    Args:
        function: Takes one observation `[d]` (state, then environment state) as NumPy array, or all `[b, d]` with
            `batched`; gives one action `[m]`, or all `[b, m]`, as anything that becomes an array.
        batched: Whether it takes all episodes at once. A function with a memory must: one memory an episode is its own
            to keep.
        on_reset: Called with the seed before every batch of episodes.

    >>> policy = PlainPolicy(lambda observation: -0.5 * observation[:1])
    >>> policy.act(Observation(state=torch.tensor([[2.0, 0.0], [4.0, 0.0]])), torch.zeros(2, 2))
    tensor([[-1.], [-2.]])
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        batched: bool = False,
        on_reset: Callable[[int | None], None] = lambda seed: None,
    ) -> None:
        self.function = function
        self.batched = batched
        self.on_reset = on_reset

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.on_reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """What the function says of each episode's observation.

        Raises:
            ShapeError: It gave something else than one action an episode.
        """
        seen = observation.vector
        shown = seen.detach().cpu().numpy()
        said = self.function(shown) if self.batched else [self.function(row) for row in shown]
        actions = torch.stack([torch.as_tensor(row) for row in said]).to(seen)
        if actions.dim() != 2 or len(actions) != len(seen):
            raise ShapeError(
                f"expected one action [m] for each of {len(seen)} observations, got an array of shape "
                f"{list(actions.shape)}. A function of all observations at once needs batched=True."
            )
        return actions
