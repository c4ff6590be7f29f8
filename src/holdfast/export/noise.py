"""Noise inputs of a graph: the random numbers that a plan draws, in a few named tensors.

    observation_noise   [b, o, d]        noise of the smoothed policy, of unit scale, before its law's own scales
    feature_noise       [b, o, f]        noise on the features of pictures, of unit scale
    normal              [b, k, …]        k draws of the model from N(0, 1), in order, of one shape each
    uniform             [b, k, …]        k draws from the uniform distribution on [0, 1)

Draws of one law and shape share a tensor; a second shape of the same law gets the name `normal_2`, and so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ExportError
from ..seeding import Draw, RandomLaw

OBSERVATION_NOISE, FEATURE_NOISE = "observation_noise", "feature_noise"


@dataclass(frozen=True)
class NoiseInput:
    """A noise input of a graph.

    Attributes:
        name: Name of the input.
        law: Distribution of each of its numbers, all independent.
        shape: Shape without the batch axis.
    """

    name: str
    law: RandomLaw
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a draw is found: the position of its input, and its index there; `None` for a whole input."""

    position: int
    index: int | None


@dataclass(frozen=True)
class NoiseLayout:
    """Noise inputs of a graph, and the place of each draw of a plan in them.

    Attributes:
        inputs: The inputs, in order.
        places: Place of each draw, in order.
    """

    inputs: tuple[NoiseInput, ...]
    places: tuple[Place, ...]

    @staticmethod
    def of(draws: Sequence[Draw], *, batch: int, named: Sequence[str] = ()) -> "NoiseLayout":
        """The layout of a plan's draws.

        Args:
            draws: Draws of one plan.
            batch: Number of windows of that plan.
            named: Names of the first draws, which are inputs of their own.

        Raises:
            ExportError: A draw is not one for each window.
        """
        if any(draw.values.shape[0] != batch for draw in draws):
            raise ExportError("a plan of this policy draws random numbers that do not belong to single windows.")
        groups = _groups(draws, named)
        inputs = tuple(
            NoiseInput(name, draws[rows[0]].law, _shape(draws, rows, whole=name in named)) for name, rows in groups
        )
        found = {
            row: Place(position, None if name in named else index)
            for position, (name, rows) in enumerate(groups)
            for index, row in enumerate(rows)
        }
        return NoiseLayout(inputs, tuple(found[row] for row in range(len(draws))))

    def pack(self, draws: Sequence[Draw]) -> list[Tensor]:
        """The values of the inputs for the draws of a plan."""
        of_input: list[list[Tensor]] = [[] for _ in self.inputs]
        for draw, place in zip(draws, self.places, strict=True):
            of_input[place.position].append(draw.values)
        whole = {place.position for place in self.places if place.index is None}
        return [values[0] if one in whole else torch.stack(values, 1) for one, values in enumerate(of_input)]

    def unpack(self, values: Sequence[Tensor]) -> list[Draw]:
        """The draws of a plan from the values of the inputs; the inverse of `pack`."""
        return [
            Draw(
                self.inputs[place.position].law,
                values[place.position] if place.index is None else values[place.position][:, place.index],
            )
            for place in self.places
        ]


def _groups(draws: Sequence[Draw], named: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Name of each input, and the draws in it."""
    groups = dict[str, list[int]]()
    names = dict[tuple[RandomLaw, tuple[int, ...]], str]()
    for row, draw in enumerate(draws):
        kind = (draw.law, tuple(draw.values.shape[1:]))
        if row < len(named):
            groups[named[row]] = [row]
            continue
        if kind not in names:
            before = sum(law == draw.law for law, _ in names)
            names[kind] = f"{draw.law}_{before + 1}" if before else draw.law
        groups.setdefault(names[kind], []).append(row)
    return list(groups.items())


def _shape(draws: Sequence[Draw], rows: list[int], *, whole: bool) -> tuple[int, ...]:
    one = tuple(draws[rows[0]].values.shape[1:])
    return one if whole else (len(rows), *one)
