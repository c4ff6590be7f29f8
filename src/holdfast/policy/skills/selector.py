"""A selector of skills that is cloned from labelled segments, and the network behind it.

    logits of skills, logits of ends = MLP(normalised observation window)

The first softmax is the probability of each label in the newest step of the window; the second logits are those of the
probability that a segment of the skill ends now. Choosing among skills by cloning their labels is behavior cloning of
the high level; the alternative, a language model that chooses among skills, needs no training (Ahn et al. 2022, SayCan,
arXiv 2204.01691; Driess et al. 2023, PaLM-E, arXiv 2303.03378).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...errors import InterfaceError, at_least


@dataclass(frozen=True, kw_only=True)
class SelectorSizes:
    """Sizes of a selector.

    Attributes:
        n_skills: Number of skills.
        n_observed: Number of observed coordinates.
        n_obs_steps: Number of observations in a window.
        widths: Number of units of each hidden layer.

    Raises:
        RecipeError: A size is below 1.
    """

    n_skills: int
    n_observed: int
    n_obs_steps: int = 1
    widths: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        at_least(1, n_skills=self.n_skills, n_observed=self.n_observed, n_obs_steps=self.n_obs_steps)
        at_least(1, **{f"widths[{place}]": width for place, width in enumerate(self.widths)})


class SelectorNet(nn.Module):
    """The network of a selector; observations are scaled to [-1, 1] by the ranges of its training data."""

    low: Tensor
    high: Tensor

    def __init__(self, sizes: SelectorSizes) -> None:
        super().__init__()
        self.sizes = sizes
        widths = [sizes.n_obs_steps * sizes.n_observed, *sizes.widths]
        pairs = list(itertools.pairwise(widths))
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.out = nn.Linear(widths[-1], 2 * sizes.n_skills)
        self.register_buffer("low", -torch.ones(sizes.n_observed, dtype=torch.float64))
        self.register_buffer("high", torch.ones(sizes.n_observed, dtype=torch.float64))

    def forward(self, window: Float[Tensor, "b o d"]) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Logits of the skills, and of their ends."""
        half = (self.high - self.low) / 2
        # a coordinate that never changed has no range
        half = torch.where(half > 0, half, 1.0)
        scaled = (window - (self.low + self.high) / 2) / half
        values = scaled.flatten(1).to(self.out.weight)
        for layer in self.hidden:
            values = nn.functional.mish(layer(values))
        skills, ends = self.out(values).chunk(2, dim=-1)
        return skills, ends


def selector_layouts(sizes: SelectorSizes) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a network, without building it: a file may declare sizes of any number.

    >>> selector_layouts(SelectorSizes(n_skills=2, n_observed=3, widths=(4,)))["hidden.0.weight"]
    (4, 3)
    """
    widths = [sizes.n_obs_steps * sizes.n_observed, *sizes.widths]
    layers = {f"hidden.{place}": pair for place, pair in enumerate(itertools.pairwise(widths))}
    layers["out"] = (widths[-1], 2 * sizes.n_skills)
    found: dict[str, tuple[int, ...]] = {"low": (sizes.n_observed,), "high": (sizes.n_observed,)}
    for name, (inputs, outputs) in layers.items():
        found |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return found


@dataclass(frozen=True)
class Selector:
    """A trained selector.

    Attributes:
        network: Its network.
        skills: Names of the skills, in the order of the network's outputs.
        observed: Names of the observed coordinates, in the order of the network's inputs; empty if they are not known.
    """

    network: SelectorNet
    skills: tuple[str, ...]
    observed: tuple[str, ...] = ()

    @property
    def n_obs_steps(self) -> int:
        """Number of observations in a window."""
        return self.network.sizes.n_obs_steps

    @torch.no_grad()
    def choose(self, window: Float[Tensor, "b o d"]) -> Int[Tensor, " b"]:
        """The most probable skill of each window."""
        return self.network(window)[0].argmax(dim=-1)

    @torch.no_grad()
    def ending(self, window: Float[Tensor, "b o d"], skill: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Probability that the skill that runs ends now."""
        return self.network(window)[1].gather(1, skill[:, None])[:, 0].sigmoid().double()

    def order(self, names: Sequence[str]) -> list[int] | None:
        """Position of each input among the observations of skills; `None` for the same order, or unknown names.

        Args:
            names: Names of these observations; empty if they are not known.

        Raises:
            InterfaceError: The names are others.
        """
        if not names or not self.observed or tuple(names) == self.observed:
            return None
        if sorted(names) != sorted(self.observed):
            raise InterfaceError(
                f"the selector observes {', '.join(self.observed)}, but the skills observe {', '.join(names)}. Fit it "
                "to data with the same names."
            )
        return [list(names).index(name) for name in self.observed]

    def ordered(self, names: Sequence[str]) -> Int[Tensor, " k"]:
        """Number in a library of each output."""
        return torch.tensor([list(names).index(name) for name in self.skills])
