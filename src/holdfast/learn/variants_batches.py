"""Batches of stacked trainings: each variant draws what its separate training draws; rows are gathered at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data import MinMax, NoiseLaw, Windows, gathered, noised
from ..models import ChunkModel
from ..recipe import Recipe
from ..seeding import stream
from ..types import Observation
from .dataset import TrainingSet
from .prefixes import drawn_known


@dataclass(frozen=True)
class Stack:
    """Batches of all variants, and the tensors of their losses' draws; `template` holds the draws of one variant.

    `known` are the numbers of clean first steps, in trainings with `prefix_delays`; `following` and `followed` those of
    `Batch`, for families that model the readings that follow.
    """

    observation: Float[Tensor, "v b o d"]
    chunk: Float[Tensor, "v b h w"]
    mask: Bool[Tensor, "v b h"]
    draws: tuple[Tensor, ...]
    template: Any
    known: Int[Tensor, "v b"] | None = None
    following: Float[Tensor, "v b h r"] | None = None
    followed: Bool[Tensor, "v b h"] | None = None

    @property
    def further(self) -> dict[str, Tensor | None]:
        """What only batches of some families have, by the names of `Batch`."""
        return {"known": self.known, "following": self.following, "followed": self.followed}


@dataclass(frozen=True)
class _Source:
    """Determinants of an update's random numbers: variants with equal ones share their draws.

    `weighted` is the index of the set whose weights are used, if it has any.
    """

    seed: int
    rows: int
    noisy: bool
    law: NoiseLaw
    weighted: int | None = None


@dataclass(frozen=True)
class _Scales:
    """Centre and half range of each variant's coordinates."""

    centre: Float[Tensor, "v 1 1 d"]
    half: Float[Tensor, "v 1 1 d"]

    @staticmethod
    def of(scales: Sequence[MinMax], like: Tensor) -> "_Scales":
        """Scales in the precision and on the device of rows, as in a separate training."""
        centre = torch.stack([scale.centre for scale in scales]).to(like)
        half = torch.stack([scale.half for scale in scales]).to(like)
        return _Scales(centre[:, None, None], half[:, None, None])

    def normalize(self, rows: Float[Tensor, "v b t d"]) -> Float[Tensor, "v b t d"]:
        """Values scaled to [-1, 1]."""
        return ((rows - self.centre) / self.half).float()


@dataclass(frozen=True)
class Batches:
    """Concatenated rows of the variants' training sets; shared sets and shared random sources are stored once.

    `sets` are the training sets by themselves; `delays` are the `prefix_delays` of all trainings.
    """

    data: TrainingSet
    observation_scale: _Scales
    code_scale: _Scales
    first: Int[Tensor, " v"]
    sigma: Float[Tensor, "v 1 1 1"]
    sources: tuple[_Source, ...]
    which: Int[Tensor, " v"]
    size: int
    sets: tuple[TrainingSet, ...]
    delays: tuple[int, ...] = ()

    def at(self, step: int, model: ChunkModel) -> Stack:
        """Batches of an update, with the random draws of the model's loss."""
        drawn = [self._drawn(source, step, model) for source in self.sources]
        now, noise, *draws = (self._spread(values) for values in zip(*(d[:-1] for d in drawn), strict=True))
        known = draws.pop() if self.delays else None
        rows = (now + self.first[:, None]).flatten()
        chunk_rows, mask = self.data.windows.chunk_rows(rows)
        window = self._observed(rows).view(noise.shape)
        following, followed = self._following(rows, now.shape)
        chunk = gathered(self.data.codes, chunk_rows).view(*now.shape, *chunk_rows.shape[1:], -1)
        return Stack(
            observation=torch.addcmul(self.observation_scale.normalize(window), self.sigma, noise),
            chunk=self.code_scale.normalize(chunk),
            mask=mask.view(*now.shape, -1),
            draws=tuple(draws),
            template=drawn[0][-1],
            known=known,
            following=following,
            followed=followed,
        )

    def _following(self, rows: Int[Tensor, " rows"], shape: torch.Size) -> tuple[Tensor | None, Tensor | None]:
        """Readings that follow the steps of the chunks of `shape` [v, b], if they are modelled."""
        if not self.data.following:
            return None, None
        following, followed = self.data.windows.following_rows(rows)
        readings = self.data.observations.map(lambda values: gathered(values, following)).vector
        normalised = self.observation_scale.normalize(readings.view(*shape, *readings.shape[1:]))
        return normalised, followed.view(*shape, -1)

    def _observed(self, now: Int[Tensor, " rows"]) -> Float[Tensor, "rows o d"]:
        """Observation windows that end at the given rows, in the data's units."""
        rows = self.data.windows.observation_rows(now)
        return self.data.observations.map(lambda values: gathered(values, rows)).vector

    def _spread(self, values: Sequence[Tensor]) -> Tensor:
        """One tensor per source → one per variant, stacked."""
        one_each = len(self.sources) == len(self.which)
        return torch.stack(list(values)) if one_each else torch.stack(list(values))[self.which]

    def _drawn(self, source: _Source, step: int, model: ChunkModel) -> tuple[Any, ...]:
        """Rows, noise of unit scale, the tensors of the loss's draws, known first steps if any, and the draws.

        They are drawn in the order of `train`, from the same stream.
        """
        windows = self.data.windows
        rng = stream(source.seed, "update", step, device=self.data.device)
        if source.weighted is None:
            now = torch.randint(source.rows, (self.size,), generator=rng, device=rng.device)
        else:
            now = self.sets[source.weighted].draw(self.size, rng)
        n_observed = self.observation_scale.centre.shape[-1]
        still = torch.zeros(self.size, windows.n_obs_steps, n_observed, device=self.data.device)
        noise = noised(still, 1.0 if source.noisy else 0.0, rng=rng, law=source.law)
        draws = model.draw(torch.Size((self.size, windows.horizon, self.data.codes.shape[1])), rng=rng)
        known = drawn_known(self.delays, self.size, rng=rng)
        return now, noise, *tensors_of(draws), *([] if known is None else [known]), draws


def batches_of(recipes: Sequence[Recipe], data: Sequence[TrainingSet]) -> Batches:
    """Batches of trainings with equal shapes."""
    sets = list({id(one): one for one in data}.values())
    starts = dict[int, int]()
    for one in sets:
        starts[id(one)] = sum(len(before) for before in sets[: len(starts)])
    sources = [_source(recipe, one, sets) for recipe, one in zip(recipes, data, strict=True)]
    unique, device = list(dict.fromkeys(sources)), data[0].device
    sigma = torch.tensor([recipe.training.sigma_train for recipe in recipes]).view(-1, 1, 1, 1)
    joined = _joined(sets)
    return Batches(
        data=joined,
        observation_scale=_Scales.of([one.observation_scale for one in data], joined.observations.vector),
        code_scale=_Scales.of([one.code_scale for one in data], joined.codes),
        first=torch.tensor([starts[id(one)] for one in data], device=device),
        sigma=sigma.to(device),
        sources=tuple(unique),
        which=torch.tensor([unique.index(source) for source in sources], device=device),
        size=recipes[0].training.batch_size,
        sets=tuple(sets),
        delays=recipes[0].training.prefix_delays,
    )


def _source(recipe: Recipe, data: TrainingSet, sets: Sequence[TrainingSet]) -> _Source:
    options = recipe.training
    weighted = None if data.weights is None else next(i for i, one in enumerate(sets) if one is data)
    return _Source(recipe.seed, len(data), options.sigma_train > 0, options.noise_law, weighted)


def _joined(sets: Sequence[TrainingSet]) -> TrainingSet:
    if len(sets) == 1:
        return sets[0]
    return replace(
        sets[0],
        observations=Observation.concatenate([one.observations for one in sets]),
        codes=torch.cat([one.codes for one in sets]),
        windows=Windows(
            lengths=torch.cat([one.windows.lengths for one in sets]),
            n_obs_steps=sets[0].windows.n_obs_steps,
            horizon=sets[0].windows.horizon,
        ),
    )


def tensors_of(draws: Any) -> list[Tensor]:
    """Tensors of a loss's draws, in the order of their fields.

    >>> tensors_of(None), len(tensors_of(torch.zeros(2)))
    ([], 1)
    """
    if is_dataclass(draws):
        return [tensor for field in fields(draws) for tensor in tensors_of(getattr(draws, field.name))]
    return [draws] if isinstance(draws, Tensor) else []


def draws_like(template: Any, tensors: Iterator[Tensor]) -> Any:
    """Draws with the structure of a template and other tensors; values that are no tensors are kept."""
    if is_dataclass(template) and not isinstance(template, type):
        parts = {field.name: draws_like(getattr(template, field.name), tensors) for field in fields(template)}
        return replace(template, **parts)
    return next(tensors) if isinstance(template, Tensor) else template
