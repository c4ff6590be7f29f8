"""Selectors of skills, cloned from labelled segments.

    min  − mean log p(label of now | window of observations) + mean cross-entropy of (segment ends within `lead` steps)

Rows of rare labels and the ends of segments count as often as the others in the mean, so that neither is forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..data import Windows, ends_of, labels_of, split
from ..errors import DataError, RecipeError, at_least, positive
from ..policy.skills import Selector, SelectorNet, SelectorSizes
from ..seeding import stream
from ..types import Episodes
from .interfaces import interface_of


@dataclass(frozen=True, kw_only=True)
class SelectorRecipe:
    """Training of a selector.

    Attributes:
        labels: Name of the column with the label of each control step.
        n_obs_steps: Number of observations in a window.
        widths: Number of units of each hidden layer.
        updates: Number of updates.
        batch_size: Windows per update.
        learning_rate: Peak learning rate of AdamW, which decays to zero as a cosine.
        sigma: Standard deviation of the noise on observations scaled to [-1, 1], in training.
        lead: Number of last steps of a segment in which it counts as ending.
        held_out: Fraction of episodes that are held out, for the confusion matrix.
        seed: Random seed of the split, the initial weights, the batches and the noise.

    Raises:
        RecipeError: A number is out of its range.
    """

    labels: str = "skill"
    n_obs_steps: int = 1
    widths: tuple[int, ...] = (128, 128)
    updates: int = 1000
    batch_size: int = 128
    learning_rate: float = 3e-3
    sigma: float = 0.01
    lead: int = 1
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, n_obs_steps=self.n_obs_steps, updates=self.updates, batch_size=self.batch_size, lead=self.lead)
        positive(learning_rate=self.learning_rate)
        if not 0 <= self.sigma < float("inf") or not 0 <= self.held_out < 1:
            raise RecipeError(
                f"expected sigma of 0 or above and held_out from 0 to below 1, got {self.sigma} and {self.held_out}."
            )


@dataclass(frozen=True)
class Confusion:
    """How often a selector chooses each skill in the control steps of each label.

    Attributes:
        skills: Names.
        counts: Number of control steps: one row for each label, one column for each chosen skill.
        episodes: Number of episodes that they are from.
    """

    skills: tuple[str, ...]
    counts: Int[Tensor, "k k"]
    episodes: int

    @property
    def accuracy(self) -> float:
        """Share of the steps in which the label was chosen; NaN without steps."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum())

    @property
    def shares(self) -> Float[Tensor, "k k"]:
        """Share of the steps of each label in which each skill was chosen; each row sums to 1, or is NaN."""
        return self.counts.double() / self.counts.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class FittedSelector:
    """A trained selector, and how it does on held-out episodes (`None` if none were held out)."""

    selector: Selector
    confusion: Confusion | None


def fit_selector(episodes: Episodes, recipe: SelectorRecipe | None = None) -> FittedSelector:
    """Clone the labels of demonstrations: which skill runs, and where its segments end.

    Args:
        episodes: Whole episodes with a column of labels (`data.labels_of`).
        recipe: Settings. Default: those of `SelectorRecipe`.

    Raises:
        DataError: There is no such column, fewer than two labels occur, or the observations are not finite.
    """
    recipe = recipe or SelectorRecipe()
    # refused before the split, which could leave a label out
    _, names = labels_of(episodes, recipe.labels)
    training, held_out = split(
        replace(episodes, cameras={}), held_out=recipe.held_out, rng=stream(recipe.seed, "selector", "held out")
    )
    labels, _ = _labelled(training, recipe, names)
    observed = interface_of(training).observation.names or ()
    selector = Selector(_fitted(training, labels, len(names), recipe), names, observed)
    return FittedSelector(selector, None if not len(held_out) else confusion_of(selector, held_out, recipe.labels))


def confusion_of(selector: Selector, episodes: Episodes, column: str) -> Confusion:
    """The confusion matrix of a selector on labelled episodes.

    Args:
        selector: The selector.
        episodes: Episodes with a column of labels, which have the selector's names.
        column: Name of the column.

    Raises:
        DataError: There is no such column, or its names are others.
    """
    labels, names = labels_of(episodes, column)
    if unknown := [name for name in names if name not in selector.skills and bool((labels == names.index(name)).any())]:
        raise DataError(
            f"the labels {', '.join(unknown)} are none of the skills of the selector: {', '.join(selector.skills)}."
        )
    place = torch.tensor([selector.skills.index(name) if name in selector.skills else -1 for name in names])
    chosen = selector.choose(_Windows(episodes, selector.n_obs_steps).at(torch.arange(len(labels))))
    count = len(selector.skills)
    pairs = place[labels] * count + chosen
    counts = torch.bincount(pairs, minlength=count**2).reshape(count, count)
    return Confusion(selector.skills, counts, len(episodes))


def _labelled(
    episodes: Episodes, recipe: SelectorRecipe, names: tuple[str, ...]
) -> tuple[Int[Tensor, " rows"], tuple[str, ...]]:
    """Labels of the training rows by the names of the whole set."""
    labels, own = labels_of(episodes, recipe.labels)
    labels = torch.tensor([names.index(name) for name in own])[labels]
    if len(missing := [name for place, name in enumerate(names) if not bool((labels == place).any())]):
        raise DataError(
            f"no training episode has the label {missing[0]} in the column {recipe.labels}. Record more episodes with "
            "it, hold out fewer, or remove its name."
        )
    if len(names) < 2:
        raise DataError(f"the column {recipe.labels} has one label, {', '.join(names)}: there is nothing to select.")
    return labels, names


class _Windows:
    """Observation windows of episodes, by the row at which they end."""

    def __init__(self, episodes: Episodes, n_obs_steps: int) -> None:
        self.vector = episodes.observed.vector.double()
        self.windows = Windows(lengths=episodes.lengths, n_obs_steps=n_obs_steps, horizon=1)

    def at(self, rows: Int[Tensor, " b"]) -> Float[Tensor, "b o d"]:
        return self.vector[self.windows.observation_rows(rows)]


def _fitted(episodes: Episodes, labels: Int[Tensor, " rows"], count: int, recipe: SelectorRecipe) -> SelectorNet:
    windows = _Windows(episodes, recipe.n_obs_steps)
    if not bool(windows.vector.isfinite().all()):
        raise DataError("an observation is not finite. `holdfast inspect` names the rows; remove these episodes.")
    network = _network(windows.vector, count, recipe)
    ending = _ending(episodes, labels, recipe.lead)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.updates)
    weights = _balance(labels, ending, count)
    for update in range(recipe.updates):
        rng = stream(recipe.seed, "selector", update)
        rows = torch.randint(len(labels), (recipe.batch_size,), generator=rng)
        window = windows.at(rows)
        half = (network.high - network.low) / 2
        noised = window + recipe.sigma * half * torch.randn(window.shape, generator=rng, dtype=window.dtype)
        optimizer.zero_grad()
        cast(Any, _loss(network, noised, labels[rows], ending[rows], weights)).backward()
        cast(Any, optimizer).step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _network(vector: Float[Tensor, "rows d"], count: int, recipe: SelectorRecipe) -> SelectorNet:
    """The untrained network, with the ranges of the training rows; the global generator is not changed."""
    sizes = SelectorSizes(
        n_skills=count, n_observed=vector.shape[1], n_obs_steps=recipe.n_obs_steps, widths=recipe.widths
    )
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(stream(recipe.seed, "selector", "weights").initial_seed())
    try:
        network = SelectorNet(sizes)
    finally:
        torch.set_rng_state(before)
    network.low.copy_(vector.amin(0))
    network.high.copy_(vector.amax(0))
    return network


def _ending(episodes: Episodes, labels: Int[Tensor, " rows"], lead: int) -> Bool[Tensor, " rows"]:
    """Rows in the last `lead` steps of their segment."""
    last = ends_of(episodes, labels)
    found = last.clone()
    for _ in range(lead - 1):
        # an earlier row of the same segment is no end itself
        found[:-1] |= found[1:] & ~last[:-1]
    return found


def _balance(
    labels: Int[Tensor, " rows"], ending: Bool[Tensor, " rows"], count: int
) -> Mapping[str, Float[Tensor, " k"]]:
    """Weight of each label, and of the ends of each, so that all labels, and ends and others, count alike."""
    rows = torch.bincount(labels, minlength=count).double()
    ends = torch.bincount(labels[ending], minlength=count).double().clamp(min=1)
    return {"labels": (len(labels) / (count * rows)).float(), "ends": ((rows - ends).clamp(min=1) / ends).float()}


def _loss(
    network: SelectorNet, window: Tensor, labels: Tensor, ending: Tensor, weights: Mapping[str, Tensor]
) -> Float[Tensor, ""]:
    skills, ends = network(window)
    choice = nn.functional.cross_entropy(skills, labels, weight=weights["labels"])
    own = ends.gather(1, labels[:, None])[:, 0]
    each = nn.functional.binary_cross_entropy_with_logits(own, ending.float(), reduction="none")
    share = torch.where(ending, weights["ends"][labels], 1.0)
    return choice + (share * each).sum() / share.sum()
