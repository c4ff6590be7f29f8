"""One token per step: the nearest of several centres (k-means).

    id = argmin_k ‖x − c_k‖,    x̂ = c_id

Centres are found by Lloyd's algorithm: each becomes the mean of the steps nearest to it, until none moves. Initial
centres are drawn with probability proportional to the squared distance to those before (k-means++, Arthur and
Vassilvitskii 2007). A centre without steps moves to the step farthest from its centre.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError, at_least
from ..seeding import stream
from .base import Tokenizer, TokenizerOptions, Tokens, of_equal_length

MOST_STEPS = 2**17
"""Largest number of steps of a fit; larger sets are subsampled. A centre's error decreases with its square root."""
BLOCK = 2**14


@dataclass(frozen=True)
class KMeans(TokenizerOptions):
    """One token per step: the nearest of several centres (BeT, Shafiullah et al. 2022, arXiv 2206.11251).

    Attributes:
        clusters: Number of centres.
        iterations: Largest number of iterations of Lloyd's algorithm, which ends earlier at convergence.
    """

    clusters: int = 64
    iterations: int = 50

    def __post_init__(self) -> None:
        at_least(1, clusters=self.clusters, iterations=self.iterations)

    @property
    def n_updates(self) -> int:
        return self.iterations

    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        """Centres of the steps of all chunks, or of a sample of 131,072 of them.

        Raises:
            DataError: There are fewer different steps than clusters.
        """
        rng, steps = stream(seed, "tokens", "kmeans"), chunks.flatten(0, 1)
        if len(steps) > MOST_STEPS:
            steps = steps[torch.randperm(len(steps), generator=rng)[:MOST_STEPS].to(steps.device)]
        centres = _spread(steps, self.clusters, rng)
        for done in range(1, self.iterations + 1):
            moved = lloyd(steps, centres)
            on_step(done)
            if torch.equal(moved, centres):
                break
            centres = moved
        return {"centres": centres.cpu()}

    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        return {"centres": (self.clusters, width)}

    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> Tokenizer:
        return KMeansTokenizer(options=self, horizon=horizon, width=width, dt=dt, tables=tables)


@dataclass(frozen=True, kw_only=True, eq=False)
class KMeansTokenizer(Tokenizer):
    """The nearest of several centres; token `i` of a code is step `i`.

    Tables: `centres` `[clusters, w]`, the decoded value of each token.
    """

    options: KMeans

    @property
    def vocabulary(self) -> int:
        return len(self.tables["centres"])

    @property
    def length(self) -> int:
        return self.horizon

    @property
    def step_of(self) -> Int[Tensor, " length"]:
        return torch.arange(self.horizon, device="cpu")

    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        ids, _ = nearest(chunks.flatten(0, 1), self.tables["centres"].to(chunks))
        return of_equal_length(ids.view(chunks.shape[:2]))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        return self.tables["centres"].to(ids.device)[ids].view(count, self.horizon, self.width)


def lloyd(steps: Float[Tensor, "n w"], centres: Float[Tensor, "clusters w"]) -> Float[Tensor, "clusters w"]:
    """Each centre moved to the mean of the steps nearest to it, or to a far step if there are none.

    >>> lloyd(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([[0.0], [8.0]]))
    tensor([[0.5000],
            [9.0000]])
    """
    ids, distances = nearest(steps, centres)
    counts = torch.bincount(ids, minlength=len(centres))
    # summed in float64: the last digits of a large float32 sum depend on its order
    sums = torch.zeros_like(centres, dtype=torch.float64).index_add_(0, ids, steps.double())
    moved = (sums / counts.clamp(min=1)[:, None]).to(centres)
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        moved[empty] = steps[distances.topk(len(empty)).indices]
    return moved


def nearest(
    steps: Float[Tensor, "n w"], centres: Float[Tensor, "clusters w"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Each step's nearest centre and its distance.

    >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [9.0], [7.0]]))
    (tensor([0, 2]), tensor([1., 2.]))
    """
    ids, distances = [steps.new_empty(0, dtype=torch.int64)], [steps.new_empty(0)]
    for start in range(0, len(steps), BLOCK):
        # differences, not products: products lose digits if centres are close together
        found = torch.cdist(steps[start : start + BLOCK], centres, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        ids.append(found.indices)
        distances.append(found.values)
    return torch.cat(ids), torch.cat(distances)


def _spread(steps: Float[Tensor, "n w"], clusters: int, rng: torch.Generator) -> Float[Tensor, "clusters w"]:
    """Initial centres, by k-means++."""
    # drawn on the CPU, so that equal seeds give equal centres on every device
    chosen = [int(torch.randint(len(steps), (1,), generator=rng))]
    squares = (steps - steps[chosen[0]]).square().sum(1)
    while len(chosen) < clusters:
        reach = squares.double().cumsum(0)
        if float(reach[-1]) == 0:
            raise DataError(
                f"expected at least {clusters} different steps, one per cluster, got {len(chosen)}. Lower clusters, or "
                "provide more demonstrations."
            )
        drawn = torch.rand(1, generator=rng, dtype=torch.float64).to(reach) * reach[-1]
        chosen.append(int(torch.searchsorted(reach, drawn, right=True).clamp(max=len(steps) - 1)))
        squares = torch.minimum(squares, (steps - steps[chosen[-1]]).square().sum(1))
    return steps[torch.tensor(chosen, device=steps.device)]
