"""The course of the maze: walls, the cells between them, and the shortest ways from cell to cell."""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MAZE = (
    "#########",
    "#...#...#",
    "#.#.#.#.#",
    "#.#...#.#",
    "#.###.#.#",
    "#.....#.#",
    "#####.###",
    "#.......#",
    "#########",
)
"""Plan of the maze, one character a square of 1 m: # is wall. The first row lies at the largest y."""

MAZE_GOAL = (7.5, 1.5)
"""The goal of an episode, x and y [m]: the end of the corridor at the lower right."""

_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1))


Cell = tuple[int, int]
"""A square: column, and row counted from below."""


def cells() -> list[Cell]:
    """The squares that are no wall, in order.

    >>> len(cells()), cells()[0]
    (32, (1, 1))
    """
    rows = list(enumerate(reversed(MAZE)))
    return sorted((x, y) for y, row in rows for x, square in enumerate(row) if square != "#")


@cache
def walls() -> Bool[Tensor, "x y"]:
    """True for squares of wall, by their position."""
    plan = torch.ones(len(MAZE[0]), len(MAZE), dtype=torch.bool)
    for x, y in cells():
        plan[x, y] = False
    return plan


@cache
def free_cells() -> Int[Tensor, "cells 2"]:
    """Positions of the squares that are no wall."""
    return torch.tensor(cells())


def in_wall(position: Float[Tensor, "*b 2"]) -> Bool[Tensor, "*b"]:
    """Whether positions [m] lie in a wall or outside the maze.

    >>> in_wall(torch.tensor([[1.5, 1.5], [0.5, 0.5], [-3.0, 1.5]]))
    tensor([False,  True,  True])
    """
    plan = walls().to(position.device)
    cell = position.floor().long()
    size = torch.tensor(plan.shape, device=position.device)
    inside = ((cell >= 0) & (cell < size)).all(-1)
    cell = torch.minimum(cell.clamp(min=0), size - 1)
    return ~inside | plan[cell[..., 0], cell[..., 1]]


def depth_in_wall(position: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """Distance [m] of positions to the nearest square that is no wall; 0 in the corridors.

    >>> depth_in_wall(torch.tensor([[1.5, 1.5], [1.5, 0.75], [-3.0, 1.5]]))
    tensor([0.0000, 0.2500, 4.0000])
    """
    low = free_cells().to(position)
    apart = torch.maximum(low - position[..., None, :], position[..., None, :] - (low + 1)).clamp(min=0)
    return apart.square().sum(-1).sqrt().amin(-1)


def moved(position: Float[Tensor, "*b 2"], step: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
    """Positions after steps shorter than 1 m, which walls stop in x and in y apart; touching a wall costs the rest.

    >>> moved(torch.tensor([1.5, 1.5]), torch.tensor([0.25, -0.75]))
    tensor([1.7500, 1.0000])
    """
    for axis in (0, 1):
        along = torch.zeros_like(step)
        along[..., axis] = step[..., axis]
        ahead = position + along
        near = torch.where(step > 0, position.floor() + 1, position.floor())
        # a position on the upper border of a square would belong to the next one
        near = torch.where(step > 0, near - 1e-6, near)
        stopped = torch.where(along != 0, near, position)
        position = torch.where(in_wall(ahead)[..., None], stopped, ahead)
    return position


def steps_between() -> dict[Cell, dict[Cell, int]]:
    """Number of squares on the shortest way from each free square to each other one (breadth first)."""
    found = dict[Cell, dict[Cell, int]]()
    for start in cells():
        reached, front = {start: 0}, [start]
        for cell in front:
            for beside in beside_of(cell):
                if beside not in reached:
                    reached[beside] = reached[cell] + 1
                    front.append(beside)
        found[start] = reached
    return found


def beside_of(cell: Cell) -> list[Cell]:
    """Free squares that share a side with a square."""
    free = set(cells())
    return [one for dx, dy in _SIDES if (one := (cell[0] + dx, cell[1] + dy)) in free]
