"""Modulation split into a per-call time part and a cached observation part."""

from torch import Tensor, nn

from .partial_linear import part_of


class Modulations(nn.Linear):
    """A linear layer whose input is the embedded times, which change with every call, and the observations."""

    def __init__(self, n_embedded: int, n_observed: int, n_out: int) -> None:
        super().__init__(n_embedded + n_observed, n_out)  # pyright: ignore[reportUnknownMemberType]
        self.n_embedded = n_embedded

    def of_times(self, times: Tensor) -> Tensor:
        """Contribution of embedded times `[b, n_embedded]`."""
        return part_of(self, times, start=0)

    def of_observations(self, observation: Tensor) -> Tensor:
        """Contribution of observations `[b, n_observed]`, with the bias."""
        return part_of(self, observation, start=self.n_embedded, bias=True)
