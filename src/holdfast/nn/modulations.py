"""One layer for the modulations of all blocks, in its two parts."""

from torch import Tensor, nn

from .partial_linear import part_of

__all__ = ["Modulations"]


class Modulations(nn.Linear):
    """What generative times say, which changes with every call, and what the observations say, once a plan."""

    def __init__(self, n_told: int, n_seen: int, n_out: int) -> None:
        super().__init__(n_told + n_seen, n_out)  # pyright: ignore[reportUnknownMemberType]
        self.n_told = n_told

    def told(self, times: Tensor) -> Tensor:
        """The share of embedded times `[b, n_told]`."""
        return part_of(self, times, start=0)

    def seen(self, observation: Tensor) -> Tensor:
        """The share of observations `[b, n_seen]`, with the bias."""
        return part_of(self, observation, start=self.n_told, bias=True)
