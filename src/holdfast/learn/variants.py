"""Variants: many trainings of one architecture as one program.

    for variants in train_variants(recipes, data):
        ...
    planners = [variants.planner(index) for index in range(len(recipes))]

Seeds, noise, demonstrations and their number, gains, learning rates and decays may differ. Every tensor has a leading
axis of variants: a layer is one batched matrix product, AdamW and the moving average one fused call. Each variant draws
what its separate training (`train`) would draw, and therefore equals that training up to the order of sums. A variant
that diverges does not affect the others.

On a CPU the variants run in blocks, one block per thread, for several updates in a row: larger stacks would not fit
into the caches, and threads that share one product wait for each other. On a GPU all variants form one block.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DivergedError, RecipeError
from ..policy import Planner
from ..recipe import Recipe
from .dataset import TrainingSet
from .training import CHECK_EVERY, TrainState, initial_state, planner_of
from .variants_block import Block, block_of, rates_of
from .variants_checks import check_memory, check_shapes

BLOCK = 16
"""Number of variants per block on a CPU: enough to hide the overhead of Python."""


@dataclass(frozen=True)
class Variants:
    """State of several trainings between two updates.

    Attributes:
        step: Number of updates done by each.
        recipes: Recipe of each variant.
        data: Training set of each variant.
        blocks: Stacked states; their tensors are overwritten by the next updates.
    """

    step: int
    recipes: tuple[Recipe, ...]
    data: tuple[TrainingSet, ...]
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return len(self.recipes)

    @property
    def losses(self) -> Float[Tensor, " v"]:
        """Losses before the last update; NaN before the first update."""
        return self._in_order([block.losses for block in self.blocks])

    @property
    def failed(self) -> Int[Tensor, " v"]:
        """Update whose loss was not finite, for variants that diverged; -1 for the others."""
        return self._in_order([block.failed for block in self.blocks])

    def state(self, index: int) -> TrainState:
        """Copy of the training state of one variant.

        Raises:
            DivergedError: The loss of the variant was not finite.
        """
        self._check(index)
        return next(block.state(index, self.step) for block in self.blocks if index in block.members)

    def planner(self, index: int) -> Planner:
        """Planner of one variant: its EMA weights with the scales of its data.

        Raises:
            DivergedError: The loss of the variant was not finite.
        """
        return planner_of(self.recipes[index], self.data[index], self.state(index))

    def _check(self, index: int) -> None:
        if (update := int(self.failed[index])) >= 0:
            rate = self.recipes[index].training.learning_rate
            raise DivergedError(
                f"variant {index}: the loss of update {update} is not finite. The other variants are not affected. "
                f"Lower its learning rate (now {rate:g}), or look for extreme values with: holdfast inspect"
            )

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        members = torch.tensor([index for block in self.blocks for index in block.members], device=parts[0].device)
        return torch.cat(list(parts))[members.argsort()]


def train_variants(
    recipes: Sequence[Recipe],
    data: Sequence[TrainingSet],
    states: Sequence[TrainState] | None = None,
    *,
    every: int = CHECK_EVERY,
    stops: Sequence[int] | None = None,
    block: int = BLOCK,
    threads: int | None = None,
    memory: int | None = None,
    compiled: bool = False,
) -> Iterator[Variants]:
    """Train all variants to the end of their recipes; yields after every few updates.

    Args:
        recipes: Recipes; all settings that determine shapes or the training loop must agree.
        data: Training set of each variant. Pass the same object for equal sets, so that it is stored once.
        states: Initial states, all at the same step. Default: new trainings.
        every: Number of updates between two yields.
        stops: Ascending steps at which to yield, ending with the last one. Default: the multiples of `every` and the
            end of the recipes.
        block: Largest number of variants in a stack on a CPU; on a GPU all variants form one stack.
        threads: Number of blocks that run at the same time on a CPU. Default: PyTorch's number of threads.
        memory: Memory limit [bytes]. Default: the free memory.
        compiled: Compile the loss (`torch.compile`) at the first update. This is faster on a GPU; on a CPU the stacked
            networks are as fast without.

    Raises:
        RecipeError: Shapes differ, the family uses tokens, the variants do not fit into memory, or the stops do not
            ascend.
    """
    _check_counts(recipes, data, states, every, block)
    members, workers = _members(recipes, data, block=block, threads=threads, memory=memory)
    if states is None:
        states = [initial_state(recipe, one) for recipe, one in zip(recipes, data, strict=True)]
    step, steps = states[0].step, recipes[0].training.steps
    stops = _multiples(step, steps, every) if stops is None else stops
    _check_stops(step, stops, steps)
    blocks = tuple(block_of(part, recipes, data, states, compiled=compiled) for part in members)
    return _run(Variants(step, tuple(recipes), tuple(data), blocks), stops, workers)


def check_variants(recipes: Sequence[Recipe], data: Sequence[TrainingSet]) -> None:
    """Raise the errors of `train_variants` before anything is built."""
    _check_counts(recipes, data, None, CHECK_EVERY, BLOCK)
    _members(recipes, data, block=BLOCK, threads=None, memory=None)


def check_number(recipe: Recipe, data: TrainingSet, count: int) -> None:
    """Raise a `RecipeError` if that many variants of one recipe do not fit into memory, before they are made."""
    workers = torch.get_num_threads() if data.device.type == "cpu" else 1
    size = BLOCK if data.device.type == "cpu" else count
    rounds = -(-count // (size * workers))
    check_memory([recipe] * count, [data], at_once=count // rounds)


def train_variants_to_end(
    recipes: Sequence[Recipe], data: Sequence[TrainingSet], *, compiled: bool = False
) -> Variants:
    """Train all variants to the end of their recipes and return the last state."""
    steps = max((recipe.training.steps for recipe in recipes), default=1)
    *_, last = train_variants(recipes, data, every=steps, compiled=compiled)
    return last


def _members(
    recipes: Sequence[Recipe], data: Sequence[TrainingSet], *, block: int, threads: int | None, memory: int | None
) -> tuple[list[tuple[int, ...]], int]:
    """Variants of each block, and number of blocks that run at the same time."""
    check_shapes(recipes, data)
    on_cpu = data[0].device.type == "cpu"
    workers = min(threads or torch.get_num_threads(), len(recipes)) if on_cpu else 1
    members = _dealt(recipes, size=block if on_cpu else len(recipes), workers=workers)
    check_memory(recipes, data, at_once=sum(len(part) for part in members[:workers]), available=memory)
    return members, workers


def _run(variants: Variants, stops: Sequence[int], workers: int) -> Iterator[Variants]:
    step = variants.step
    for stop in stops:
        _advance(variants.blocks, step, stop, workers)
        step = stop
        yield Variants(step, variants.recipes, variants.data, variants.blocks)


def _multiples(step: int, steps: int, every: int) -> Sequence[int]:
    """Multiples of `every` after a step, and the end."""
    return [*range(step - step % every + every, steps, every), steps] if step < steps else []


def _advance(blocks: Sequence[Block], start: int, stop: int, workers: int) -> None:
    threads = torch.get_num_threads()
    if workers == 1:
        for block in blocks:
            block.advance(start, stop)
        return
    try:
        # one block per thread: threads that share a product would wait for one another
        with ThreadPoolExecutor(workers, initializer=partial(torch.set_num_threads, 1)) as pool:
            for done in [pool.submit(block.advance, start, stop) for block in blocks]:
                done.result()
    finally:
        torch.set_num_threads(threads)


def _dealt(recipes: Sequence[Recipe], *, size: int, workers: int) -> list[tuple[int, ...]]:
    """Variants of each block: those of equal rates are adjacent, and blocks have about equal sizes."""
    order = sorted(range(len(recipes)), key=lambda index: rates_of(recipes[index].training))
    rounds = -(-len(order) // (size * workers))
    count = min(rounds * workers, len(order))
    cuts = [round(part * len(order) / count) for part in range(count + 1)]
    return [tuple(order[a:b]) for a, b in pairwise(cuts)]


def _check_counts(
    recipes: Sequence[Recipe], data: Sequence[TrainingSet], states: Sequence[TrainState] | None, every: int, block: int
) -> None:
    if not recipes or len(recipes) != len(data) or (states is not None and len(states) != len(recipes)):
        raise RecipeError(
            f"expected at least one variant, with a training set (and a state, if any are given) for each, got "
            f"{len(recipes)} recipes, {len(data)} training sets and {'no' if states is None else len(states)} states."
        )
    if states is not None and len({state.step for state in states}) > 1:
        raise RecipeError(
            f"variants continue from the same step, but their states are at steps {[s.step for s in states]}."
        )
    if every < 1 or block < 1:
        raise RecipeError(f"expected every and block of at least 1, got {every} and {block}.")


def _check_stops(step: int, stops: Sequence[int], steps: int) -> None:
    if any(later <= earlier for earlier, later in pairwise([step, *stops])) or (stops and stops[-1] > steps):
        raise RecipeError(
            f"expected stops that ascend from {step + 1} to {steps} at most, got {', '.join(map(str, stops[:8]))}."
        )
