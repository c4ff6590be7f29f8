"""The imitation losses by exact optimal transport between rollouts.

    d_t     = max(‖x_{t+1}^exp − x_{t+1}^π‖, ‖u_t^exp − u_t^π‖)
    L_marg,ε(π)  = max_t inf_μ P_μ[d_t > ε]          the coupling μ shares x₁
    L_fin,ε(π)   = inf_μ P_μ[‖x_{T+1}^exp − x_{T+1}^π‖ > ε]
    L_joint,ε(π) = inf_μ P_μ[max_t d_t > ε]

(Block et al. 2023, arXiv 2307.14619, section 2 and appendix J.) L_fin ≤ L_marg ≤ L_joint. With k rollouts of each kind
from each of n initial states, the infimum over couplings is a matching within each start, and the loss is the mean over
starts of the unmatched share. It is exact for the rollouts and biased upwards for their distributions: two sets of
rollouts of one distribution do not match. Three methods account for this:

* `expert_floor`: the loss of the expert itself. The bias decreases with k, so a floor from fewer rollouts is higher.
* `permutation_test`: a test whether policy and expert differ in distribution, by random relabelling of the rollouts.
* `population_intervals`: intervals for the losses of the distributions, given these initial states, for every k.

`bootstrap_over_starts` gives intervals for other initial states by resampling starts, without correcting the bias.
Except for the floor, these methods are in `imitation_intervals`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError
from ..types import Trajectory
from .matching import levels_of, pairwise, total_variation, wasserstein


@dataclass(frozen=True, kw_only=True)
class PairedRollouts:
    """k rollouts of the expert and k of the policy from each of n initial states.

    A rollout is lost from the first step at which it is marked as lost or its state or action is not finite. Lost
    rollouts count: they are infinitely far from all rollouts except lost ones.

    Attributes:
        expert: States `[n, k, t + 1, ·]` and actions `[n, k, t, ·]` of the expert.
        policy: Rollouts of the policy, equally many from the same initial states.
        difference: Difference of two states; its norm must satisfy the triangle inequality.
        weights: Factor of each coordinate of a difference of states, if units differ.
        lost: Steps after which a rollout of the policy was no longer simulated (`Rollout.lost`).
        expert_lost: The same for the expert.

    Raises:
        ShapeError: The shapes are not `[n, k, t, ·]`, or differ between expert and policy.
        DataError: Initial states differ between expert and policy, or among the rollouts of a start.
    """

    expert: Trajectory
    policy: Trajectory
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub
    weights: Float[Tensor, " n"] | None = None
    lost: Bool[Tensor, "starts k t"] | None = None
    expert_lost: Bool[Tensor, "starts k t"] | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_starts(self)

    @property
    def starts(self) -> int:
        return self.expert.actions.shape[0]

    @property
    def k(self) -> int:
        """Rollouts of expert and policy each from every initial state."""
        return self.expert.actions.shape[1]

    @property
    def steps(self) -> int:
        return self.expert.steps

    @property
    def lost_mask(self) -> Bool[Tensor, "starts k2 t"]:
        """Lost rollouts at each step, the expert's k first."""
        return torch.cat([_lost_mask(self.expert, self.expert_lost), _lost_mask(self.policy, self.lost)], dim=1)

    def tables(self, start: int, *, pooled: bool = False) -> Iterator[Float[Tensor, "i j"]]:
        """Distances between the rollouts of a start: d_t for each step, then of final states, then max_t d_t.

        Args:
            start: Index of the start.
            pooled: Whether to return distances among all 2k rollouts, the expert's first, instead of from expert to
                policy.
        """
        states = torch.cat([self.expert.states[start], self.policy.states[start]])
        actions = torch.cat([self.expert.actions[start], self.policy.actions[start]])
        lost_at = self.lost_mask[start]
        rows = slice(None) if pooled else slice(self.k)
        columns = slice(None) if pooled else slice(self.k, None)
        moved = worst = states.new_zeros(())
        for step in range(self.steps):
            x, u, g = (
                states[:, step + 1].nan_to_num(0.0, 0.0, 0.0),
                actions[:, step].nan_to_num(0.0, 0.0, 0.0),
                lost_at[:, step],
            )
            moved = _with_lost(pairwise(x[rows], x[columns], self.difference, self.weights), g[rows], g[columns])
            distances = torch.maximum(moved, _with_lost(pairwise(u[rows], u[columns]), g[rows], g[columns]))
            worst = torch.maximum(distances, worst)
            yield distances
        yield moved
        yield worst


@dataclass(frozen=True, kw_only=True)
class ImitationLosses:
    """Losses of the rollouts at each ε for each start; exact for the rollouts, biased upwards for their distributions.

    Attributes:
        epsilons: Tolerances, in the units of states and actions.
        samples: Rollouts k of each kind from each start.
        marginal_per_start: inf_μ P[d_t > ε] of each start.
        final_per_start: The same for final states.
        joint_per_start: The same for whole trajectories.
        w1_per_start: W₁ under d_t of each start; infinite if different numbers of rollouts are lost.
        lost: Number of lost rollouts of the policy at each step, over all starts.
        expert_lost: The same for the expert.
    """

    epsilons: Float[Tensor, " e"]
    samples: int
    marginal_per_start: Float[Tensor, "n e t"]
    final_per_start: Float[Tensor, "n e"]
    joint_per_start: Float[Tensor, "n e"]
    w1_per_start: Float[Tensor, "n t"]
    lost: Int[Tensor, " t"]
    expert_lost: Int[Tensor, " t"]

    @property
    def starts(self) -> int:
        return self.marginal_per_start.shape[0]

    @property
    def marginal(self) -> Float[Tensor, "e t"]:
        """inf_μ P[d_t > ε] at each step."""
        return self.marginal_per_start.mean(dim=0)

    @property
    def worst(self) -> Float[Tensor, " e"]:
        """L_marg,ε: maximum over steps."""
        return self.marginal.amax(dim=-1)

    @property
    def final(self) -> Float[Tensor, " e"]:
        """L_fin,ε."""
        return self.final_per_start.mean(dim=0)

    @property
    def joint(self) -> Float[Tensor, " e"]:
        """L_joint,ε."""
        return self.joint_per_start.mean(dim=0)

    @property
    def w1(self) -> Float[Tensor, " t"]:
        """W₁ under d_t at each step."""
        return self.w1_per_start.mean(dim=0)

    @property
    def diverged(self) -> int:
        """Number of rollouts of the policy that were lost, over all starts."""
        return int(self.lost[-1])


def imitation_losses(paired: PairedRollouts, epsilons: Sequence[float] | Tensor) -> ImitationLosses:
    """Losses of a policy's rollouts relative to the expert's at each ε.

    Args:
        paired: Rollouts.
        epsilons: Tolerances, positive, in the units of states and actions.

    Raises:
        RecipeError: A tolerance is not positive.

    >>> u = torch.tensor([0.0, 1.0, 0.1, 2.0]).reshape(2, 1, 2, 1, 1)  # policy, start, rollout, step, coordinate
    >>> x = torch.cat([torch.zeros_like(u), u], dim=3)
    >>> expert, policy = (Trajectory(actions=u[i], states=x[i]) for i in (0, 1))
    >>> imitation_losses(PairedRollouts(expert=expert, policy=policy), [0.05, 0.2, 1.5]).worst.tolist()
    [1.0, 0.5, 0.0]
    """
    levels = levels_of(epsilons)
    shares, means = list[Tensor](), list[Tensor]()
    for start in range(paired.starts):
        found = [
            (total_variation(table, levels), wasserstein(table) if index < paired.steps else torch.zeros(()))
            for index, table in enumerate(paired.tables(start))
        ]
        shares.append(torch.stack([share for share, _ in found], dim=-1))
        means.append(torch.stack([mean for _, mean in found[: paired.steps]]))
    curves, lost_at = torch.stack(shares), paired.lost_mask
    return ImitationLosses(
        epsilons=levels,
        samples=paired.k,
        marginal_per_start=curves[..., :-2],
        final_per_start=curves[..., -2],
        joint_per_start=curves[..., -1],
        w1_per_start=torch.stack(means),
        lost=lost_at[:, paired.k :].sum(dim=(0, 1)),
        expert_lost=lost_at[:, : paired.k].sum(dim=(0, 1)),
    )


def expert_floor(
    paired: PairedRollouts, epsilons: Sequence[float] | Tensor, *, second: Trajectory | None = None
) -> ImitationLosses:
    """Loss of the expert against itself, due to finite samples only.

    A floor from k rollouts against k others is unbiased for the mean loss of a perfect policy. With halves of k
    rollouts its mean is at least as high; for odd k the last rollout is omitted.

    Args:
        paired: Rollouts; those of the policy are ignored.
        epsilons: Tolerances, positive.
        second: k other rollouts of the expert from each of the same initial states. Default: halves of its k.

    Raises:
        RecipeError: There is one rollout from each start and no others.
        DataError: The initial states differ.
    """
    if second is not None:
        return imitation_losses(replace(paired, policy=second, lost=None), epsilons)
    half = paired.k // 2
    if not half:
        raise RecipeError("expected at least 2 rollouts of the expert from each start for its floor, got 1.")

    def part(begin: int) -> tuple[Trajectory, Tensor]:
        which = slice(begin, begin + half)
        trajectory = Trajectory(actions=paired.expert.actions[:, which], states=paired.expert.states[:, which])
        return trajectory, paired.lost_mask[:, which]

    (one, one_lost), (other, other_lost) = part(0), part(half)
    return imitation_losses(replace(paired, expert=one, policy=other, expert_lost=one_lost, lost=other_lost), epsilons)


def _with_lost(distances: Tensor, one: Bool[Tensor, " i"], other: Bool[Tensor, " j"]) -> Tensor:
    """Distances with lost rollouts at one infinitely distant point."""
    distances = distances.masked_fill(one[:, None] & other, 0.0)
    return distances.masked_fill(one[:, None] ^ other, torch.inf)


def _lost_mask(trajectory: Trajectory, lost: Tensor | None) -> Bool[Tensor, "n k t"]:
    finite = trajectory.actions.isfinite().all(dim=-1) & trajectory.states[..., 1:, :].isfinite().all(dim=-1)
    lost_at = ~finite if lost is None else ~finite | lost
    return lost_at.cummax(dim=-1).values


def _check_shapes(paired: PairedRollouts) -> None:
    expert, policy = ((tuple(part.actions.shape), tuple(part.states.shape)) for part in (paired.expert, paired.policy))
    if len(expert[0]) != 4 or expert != policy or 0 in expert[0] or expert[0][2] + 1 != expert[1][2]:
        raise ShapeError(
            "expected actions [n, k, t, m] and states [n, k, t + 1, d] of k rollouts from each of n initial states, as "
            f"many of the policy as of the expert; got the expert's {list(expert[0])} and {list(expert[1])}, the "
            f"policy's {list(policy[0])} and {list(policy[1])}. Reshape rollouts of repeated starts [n k, t, ·] with "
            "`unflatten(0, (n, k))`."
        )
    for name, lost in (("lost", paired.lost), ("expert_lost", paired.expert_lost)):
        if lost is not None and lost.shape != expert[0][:3]:
            raise ShapeError(f"expected {name} {list(expert[0][:3])}, one flag per step, got {list(lost.shape)}.")
    if paired.weights is not None and paired.weights.shape != expert[1][3:]:
        raise ShapeError(
            f"expected {expert[1][3]} weights, one per state coordinate, got {list(paired.weights.shape)}."
        )


def _check_starts(paired: PairedRollouts) -> None:
    first = torch.cat([paired.expert.states[:, :, 0], paired.policy.states[:, :, 0]], dim=1)
    reference = first[:, :1].expand_as(first)
    off = paired.difference(first, reference).abs()
    # single precision has seven digits
    wrong = ~(off <= 1e-6 * (1 + reference.abs())).all(dim=-1).all(dim=-1)
    if bool(wrong.any()):
        start = int(wrong.nonzero()[0])
        raise DataError(
            f"initial states differ by up to {float(off[start].max()):.3g} among the rollouts of start {start} "
            f"({int(wrong.sum())} of {paired.starts} starts). The losses couple expert and policy from the same "
            "initial state: roll both out from it, k times."
        )
