"""The imitation losses as they are defined, by exact optimal transport between rollouts.

    d_t     = max(‖x_{t+1}^exp − x_{t+1}^π‖, ‖u_t^exp − u_t^π‖)
    L_marg,ε(π)  = max_t inf_μ P_μ[d_t > ε]          the coupling μ shares x₁
    L_fin,ε(π)   = inf_μ P_μ[‖x_{T+1}^exp − x_{T+1}^π‖ > ε]
    L_joint,ε(π) = inf_μ P_μ[max_t d_t > ε]

(Block et al. 2023, arXiv 2307.14619, section 2 and appendix J.) L_fin ≤ L_marg ≤ L_joint. From k rollouts of each kind
for each of n initial states the infimum over couplings is a matching within each start, and the loss the mean over
starts of the unmatched share. It is exact for the rollouts and biased upwards for the laws they came from: two sets of
rollouts of one law do not match. Therefore three things stand beside the value, and answer three questions:

* `expert_floor`: what the loss of an expert would be. The bias falls with k, so a floor from fewer rollouts is higher.
* `relabelled`: is the policy another law than the expert? What the value would be if who flew were chance.
* `population_intervals`: what is the loss of the laws, given these initial states? Holds for every k.

and `over_starts`, for other initial states than these; it resamples starts, and knows nothing of the bias. All but the
floor are in `imitation_intervals`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError
from ..types import Trajectory
from .matching import levels_of, pairwise, total_variation, wasserstein

__all__ = ["ImitationLosses", "PairedRollouts", "expert_floor", "imitation_losses"]


@dataclass(frozen=True, kw_only=True)
class PairedRollouts:
    """k rollouts of the expert and k of the policy from each of n initial states.

    A rollout is lost from the first step on at which it is said to be, or its state or action is no finite number.
    Lost rollouts are counted: they are infinitely far from all but rollouts that are lost too.

    Attributes:
        expert: States `[n, k, t + 1, ·]` and actions `[n, k, t, ·]`.
        policy: As many, from the same initial states.
        difference: The system's own difference of states (angles wrap); its norm must obey the triangle inequality.
        weights: Factor of each coordinate of a difference of states, where units differ.
        lost: Steps at which a rollout of the policy was no longer followed (`Rollout.lost`).
        expert_lost: The same of the expert.

    Raises:
        ShapeError: Not `[n, k, t, ·]`, or expert and policy differ in shape.
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
        """Number of initial states `n`."""
        return self.expert.actions.shape[0]

    @property
    def k(self) -> int:
        """Rollouts of either kind from each initial state."""
        return self.expert.actions.shape[1]

    @property
    def steps(self) -> int:
        """Number of control steps `T`."""
        return self.expert.steps

    @property
    def gone(self) -> Bool[Tensor, "starts k2 t"]:
        """From which step on rollouts are lost, the expert's k first."""
        return torch.cat([_gone(self.expert, self.expert_lost), _gone(self.policy, self.lost)], dim=1)

    def tables(self, start: int, *, pooled: bool = False) -> Iterator[Float[Tensor, "i j"]]:
        """Distances between the rollouts of a start: d_t for each step, then of final states, then max_t d_t.

        Args:
            start: Which.
            pooled: Among all 2k rollouts, the expert's first, instead of from expert to policy.
        """
        states = torch.cat([self.expert.states[start], self.policy.states[start]])
        actions = torch.cat([self.expert.actions[start], self.policy.actions[start]])
        gone = self.gone[start]
        rows = slice(None) if pooled else slice(self.k)
        columns = slice(None) if pooled else slice(self.k, None)
        moved = worst = states.new_zeros(())
        for step in range(self.steps):
            x, u, g = (
                states[:, step + 1].nan_to_num(0.0, 0.0, 0.0),
                actions[:, step].nan_to_num(0.0, 0.0, 0.0),
                gone[:, step],
            )
            moved = _apart(pairwise(x[rows], x[columns], self.difference, self.weights), g[rows], g[columns])
            distances = torch.maximum(moved, _apart(pairwise(u[rows], u[columns]), g[rows], g[columns]))
            worst = torch.maximum(distances, worst)
            yield distances
        yield moved
        yield worst


@dataclass(frozen=True, kw_only=True)
class ImitationLosses:
    """Losses of the rollouts at each ε, start by start; exact for the rollouts, biased upwards for their laws.

    Attributes:
        epsilons: In the units of states and actions.
        samples: Rollouts k of either kind from each start.
        marginal_of_start: inf_μ P[d_t > ε] of each start.
        final_of_start: The same of final states.
        joint_of_start: The same of whole trajectories.
        w1_of_start: W₁ under d_t of each start; infinite where unequally many are lost.
        lost: Rollouts of the policy that are lost at each step, over all starts.
        expert_lost: Rollouts of the expert.
    """

    epsilons: Float[Tensor, " e"]
    samples: int
    marginal_of_start: Float[Tensor, "n e t"]
    final_of_start: Float[Tensor, "n e"]
    joint_of_start: Float[Tensor, "n e"]
    w1_of_start: Float[Tensor, "n t"]
    lost: Int[Tensor, " t"]
    expert_lost: Int[Tensor, " t"]

    @property
    def starts(self) -> int:
        """Number of initial states `n`."""
        return self.marginal_of_start.shape[0]

    @property
    def marginal(self) -> Float[Tensor, "e t"]:
        """inf_μ P[d_t > ε] at each step."""
        return self.marginal_of_start.mean(dim=0)

    @property
    def worst(self) -> Float[Tensor, " e"]:
        """L_marg,ε: the largest over steps."""
        return self.marginal.amax(dim=-1)

    @property
    def final(self) -> Float[Tensor, " e"]:
        """L_fin,ε."""
        return self.final_of_start.mean(dim=0)

    @property
    def joint(self) -> Float[Tensor, " e"]:
        """L_joint,ε."""
        return self.joint_of_start.mean(dim=0)

    @property
    def w1(self) -> Float[Tensor, " t"]:
        """W₁ under d_t at each step."""
        return self.w1_of_start.mean(dim=0)

    @property
    def diverged(self) -> int:
        """Rollouts of the policy that were lost on the way, over all starts."""
        return int(self.lost[-1])


def imitation_losses(paired: PairedRollouts, epsilons: Sequence[float] | Tensor) -> ImitationLosses:
    """Losses of a policy's rollouts against the expert's at each ε.

    Args:
        paired: The rollouts.
        epsilons: Above zero, in the units of states and actions.

    Raises:
        RecipeError: An ε of zero or below.

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
    curves, gone = torch.stack(shares), paired.gone
    return ImitationLosses(
        epsilons=levels,
        samples=paired.k,
        marginal_of_start=curves[..., :-2],
        final_of_start=curves[..., -2],
        joint_of_start=curves[..., -1],
        w1_of_start=torch.stack(means),
        lost=gone[:, paired.k :].sum(dim=(0, 1)),
        expert_lost=gone[:, : paired.k].sum(dim=(0, 1)),
    )


def expert_floor(
    paired: PairedRollouts, epsilons: Sequence[float] | Tensor, *, second: Trajectory | None = None
) -> ImitationLosses:
    """Loss of the expert against itself: what finite samples alone amount to.

    A floor from k rollouts against k others is unbiased for the mean loss of a perfect policy. Halves of k have a mean
    that is no lower; of an odd k the last rollout has no partner.

    Args:
        paired: The policy's rollouts are not looked at.
        epsilons: Above zero.
        second: k other rollouts of the expert from each of the same initial states; the halves of its k if there are
            none.

    Raises:
        RecipeError: One rollout of each start and no others.
        DataError: Other initial states.
    """
    if second is not None:
        return imitation_losses(replace(paired, policy=second, lost=None), epsilons)
    half = paired.k // 2
    if not half:
        raise RecipeError("expected at least 2 rollouts of the expert from each start for its floor, got 1.")

    def part(begin: int) -> tuple[Trajectory, Tensor]:
        which = slice(begin, begin + half)
        trajectory = Trajectory(actions=paired.expert.actions[:, which], states=paired.expert.states[:, which])
        return trajectory, paired.gone[:, which]

    (one, one_lost), (other, other_lost) = part(0), part(half)
    return imitation_losses(replace(paired, expert=one, policy=other, expert_lost=one_lost, lost=other_lost), epsilons)


def _apart(distances: Tensor, one: Bool[Tensor, " i"], other: Bool[Tensor, " j"]) -> Tensor:
    """Distances, lost rollouts being at one place infinitely far away."""
    distances = distances.masked_fill(one[:, None] & other, 0.0)
    return distances.masked_fill(one[:, None] ^ other, torch.inf)


def _gone(trajectory: Trajectory, lost: Tensor | None) -> Bool[Tensor, "n k t"]:
    finite = trajectory.actions.isfinite().all(dim=-1) & trajectory.states[..., 1:, :].isfinite().all(dim=-1)
    gone = ~finite if lost is None else ~finite | lost
    return gone.cummax(dim=-1).values


def _check_shapes(paired: PairedRollouts) -> None:
    expert, policy = ((tuple(part.actions.shape), tuple(part.states.shape)) for part in (paired.expert, paired.policy))
    if len(expert[0]) != 4 or expert != policy or 0 in expert[0] or expert[0][2] + 1 != expert[1][2]:
        raise ShapeError(
            "expected actions [n, k, t, m] and states [n, k, t + 1, d] of k rollouts from each of n initial states, as "
            f"many of the policy as of the expert; got the expert's {list(expert[0])} and {list(expert[1])}, the "
            f"policy's {list(policy[0])} and {list(policy[1])}. Rollouts of repeated starts [n k, t, ·] unfold by "
            "`unflatten(0, (n, k))`."
        )
    for name, lost in (("lost", paired.lost), ("expert_lost", paired.expert_lost)):
        if lost is not None and lost.shape != expert[0][:3]:
            raise ShapeError(f"expected {name} {list(expert[0][:3])}, a truth a step, got {list(lost.shape)}.")
    if paired.weights is not None and paired.weights.shape != expert[1][3:]:
        raise ShapeError(
            f"expected {expert[1][3]} weights, one a coordinate of the state, got {list(paired.weights.shape)}."
        )


def _check_starts(paired: PairedRollouts) -> None:
    first = torch.cat([paired.expert.states[:, :, 0], paired.policy.states[:, :, 0]], dim=1)
    reference = first[:, :1].expand_as(first)
    off = paired.difference(first, reference).abs()
    # single precision keeps seven digits
    wrong = ~(off <= 1e-6 * (1 + reference.abs())).all(dim=-1).all(dim=-1)
    if bool(wrong.any()):
        start = int(wrong.nonzero()[0])
        raise DataError(
            f"initial states differ by up to {float(off[start].max()):.3g} among the rollouts of start {start} "
            f"({int(wrong.sum())} of {paired.starts} starts). The losses couple expert and policy from the same "
            "initial state: roll both out from it, k times."
        )
