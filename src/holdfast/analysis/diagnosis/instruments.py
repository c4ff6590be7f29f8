"""Application of each diagnostic to one policy whose rollouts are given.

A diagnostic that does not apply raises a `HoldfastError`, whose message `examine` reports as the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import System
from ...data import MinMax, rotations_of
from ...envs import Actor, Rollout
from ...errors import DataError, RecipeError
from ...evaluation import Estimate, Evaluation, FixedStarts, mean_over_starts
from ...policy import Policy
from ...rotations import Rotation, encoded
from ...seeding import stream
from ...types import Episodes, PrimitiveControllers, Trajectory
from ..chunk_seams import Seams, scale_with_units, seams
from ..continuity import Modulus, modulus
from ..couplings import ImitationLosses, PairedRollouts, imitation_losses
from ..error_growth import Growth, growth, growth_of
from ..novelties import Novelty, novelty
from ..perturbed_policies import PerturbedAction
from .loops import LoopRates, RecordedGains, loop_rates

PERTURBATION = 0.05
"""Perturbation of one action, as a share of half the range of the executed actions."""
ROLLOUTS = 4
"""Number of rollouts from each start, for couplings."""
WINDOWS, DRAWS = 8, 100
DISTANCES = (0.01, 0.03, 0.1, 0.3, 1.0)
LEVELS = 12


@dataclass(frozen=True)
class Subject:
    """A policy under diagnosis, and rollouts of the unchanged policy.

    Attributes:
        policy: Policy under diagnosis.
        starts: Fixed starts of the evaluation.
        demonstrations: Demonstrations that it should imitate.
        seed: Random seed of the policy.
        evaluation: Evaluation of the unchanged policy from these starts.
        gains: Executed gains at each step, for a Holdfast policy with gains.
    """

    policy: Actor
    starts: FixedStarts
    demonstrations: Episodes | None
    seed: int
    evaluation: Evaluation
    gains: Float[Tensor, "b t m n"] | None

    @property
    def rollout(self) -> Rollout:
        return self.evaluation.rollout

    @property
    def own(self) -> Policy:
        """The policy, if it is a Holdfast policy."""
        if isinstance(self.policy, Policy):
            return self.policy
        raise RecipeError("this diagnostic needs a Holdfast policy: other policies do not expose their plans.")

    @property
    def expert(self) -> Trajectory:
        """The expert's trajectories from the same starts."""
        if self.starts.expert is None:
            raise RecipeError(f"{self.starts.name} has no expert to compare with.")
        return self.starts.expert

    @property
    def spread(self) -> Float[Tensor, " n"]:
        """Standard deviation of each state coordinate over the rollouts; 1 for constant coordinates."""
        states = self.rollout.trajectory.states.flatten(0, 1).double()
        std = states.std(dim=0)
        return torch.where(std > 0, std, 1.0)


@dataclass(frozen=True)
class PerturbedRollouts:
    """Effect of one perturbed action.

    Attributes:
        step: Control step of the perturbation.
        size: Perturbation, as a share of half the range of the executed actions.
        growth: Growth of the distance between the two rollouts, in standard deviations of the states.
    """

    step: int
    size: float
    growth: Growth


def subject_of(policy: Actor, starts: FixedStarts, *, demonstrations: Episodes | None, seed: int) -> Subject:
    """Roll out the unchanged policy and record the gains it executes."""
    if not isinstance(policy, Policy) or policy.spec.execution.ensemble is not None:
        return Subject(policy, starts, demonstrations, seed, starts.evaluate(policy, seed=seed), None)
    recorded = RecordedGains(policy)
    found = starts.evaluate(recorded, seed=seed)
    gains = torch.stack(recorded.gains, dim=1)[:, : found.rollout.trajectory.steps]
    return Subject(policy, starts, demonstrations, seed, found, gains if bool(gains.any()) else None)


def drift_of(subject: Subject) -> Growth:
    """Growth of the distance to the expert from equal starts."""
    return growth(subject.expert, subject.rollout.trajectory, lost=subject.rollout.lost, seed=subject.seed)


def perturbation_of(subject: Subject) -> PerturbedRollouts:
    """Repeat the rollouts with one perturbed action, all else equal, and measure the growth of the distance."""
    unchanged = subject.rollout
    step = unchanged.trajectory.steps // 10
    actions = unchanged.trajectory.actions.flatten(0, 1)
    offset = PERTURBATION * (actions.amax(dim=0) - actions.amin(dim=0)) / 2
    if not bool(offset.any()):
        raise DataError("the policy's actions are constant, so that no scale for a perturbation is known.")
    perturbed = subject.starts.evaluate(PerturbedAction(subject.policy, step, offset), seed=subject.seed).rollout
    length = min(unchanged.trajectory.steps, perturbed.trajectory.steps)
    difference = perturbed.trajectory.states[:, : length + 1] - unchanged.trajectory.states[:, : length + 1]
    error = (difference.double() / subject.spread).square().sum(-1).sqrt()
    lost, over = (
        torch.cat([torch.zeros_like(mask[:, :1]), mask], 1)
        for mask in (
            unchanged.lost[:, :length] | perturbed.lost[:, :length],
            unchanged.over[:, :length] | perturbed.over[:, :length],
        )
    )
    found = growth_of(error, lost=lost, over=over, floor=1e-9, first=step + 1, seed=subject.seed)
    return PerturbedRollouts(step=step, size=PERTURBATION, growth=found)


def loops_of(subject: Subject) -> LoopRates:
    """Factors per step by which the system, and the planned feedback, change errors along the rollouts."""
    system = _system(subject.starts)
    if system is None:
        raise RecipeError(
            f"{subject.starts.name} has no derivatives. Learn them (train --dynamics), or use the perturbed action."
        )
    ended = (subject.rollout.lost | subject.rollout.over).any(dim=1)
    completed = (~ended).nonzero()[:, 0]
    if not len(completed):
        raise DataError("no rollout ran to its end.")
    return loop_rates(system, subject.rollout.trajectory, subject.gains, completed)


def imitation_of(subject: Subject) -> ImitationLosses:
    """Imitation losses from several rollouts of each start; the deterministic expert's rollout is repeated."""
    expert = subject.expert
    seeds = range(subject.seed + 1, subject.seed + ROLLOUTS)
    others = (subject.starts.evaluate(subject.policy, seed=seed).rollout for seed in seeds)
    rollouts = [subject.rollout, *others]

    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(each.trajectory, name) for each in rollouts], dim=1).double()

    paired = PairedRollouts(
        expert=Trajectory(
            actions=expert.actions[:, None].repeat(1, ROLLOUTS, 1, 1),
            states=expert.states[:, None].repeat(1, ROLLOUTS, 1, 1),
        ),
        policy=Trajectory(actions=stacked("actions"), states=stacked("states")),
        lost=torch.stack([each.lost for each in rollouts], dim=1),
    )
    largest = float(expert.states.double().square().sum(-1).sqrt().max())
    return imitation_losses(paired, torch.logspace(-3, 0.3, LEVELS, dtype=torch.float64) * largest)


def continuity_of(subject: Subject) -> Modulus:
    """Total variation between the executed parts of plans from nearby observations of the rollouts."""
    own = subject.own
    steps = own.executor.n_action_steps
    rng = stream(subject.seed, "diagnose", "continuity")

    def executed(chunk: PrimitiveControllers) -> Tensor:
        return chunk.actions[:, :steps].flatten(1)

    return modulus(
        own.executor.plans, _windows(subject, rng), DISTANCES, rng=rng, draws=DRAWS, scale=None, features=executed
    )


@dataclass(frozen=True)
class PlanSeams:
    """Changes of the action where one plan ends and the next begins, without noise at deployment.

    Attributes:
        within: Comparison with changes inside plans.
        demonstrated: Root mean square across seams, relative to that of the demonstrations' steps, with its interval
            over episodes; `None` without demonstrations, or if their actions are constant.
    """

    within: Seams
    demonstrated: Estimate | None


def seams_of(subject: Subject) -> PlanSeams:
    """Discontinuities of the actions between plans of the policy without its deployment noise."""
    steps = subject.own.executor.n_action_steps
    if steps < 2:
        raise RecipeError(f"with {steps} step between plans every step is a seam: none is inside a chunk.")
    quiet = _without_noise(subject)
    shown = subject.demonstrations
    actions = quiet.trajectory.actions.flatten(0, 1) if shown is None else shown.actions
    half = (actions.amax(dim=0) - actions.amin(dim=0)).double() / 2
    scale = torch.where(half > 0, half, 1.0)
    gone = quiet.over | quiet.lost
    turned = rotations_of(subject.own.spec.codec)
    within = seams(quiet.trajectory, n_action_steps=steps, scale=scale, over=gone, rotations=turned, seed=subject.seed)
    if shown is None:
        return PlanSeams(within, None)
    scale = scale_with_units(scale, turned)
    changes = encoded(quiet.trajectory.actions.double(), turned).diff(dim=1) / scale
    across = changes.square().sum(-1)[:, steps - 1 :: steps]
    known = ~gone[:, steps::steps]
    return PlanSeams(within, _relative(across, known, _step_size(shown, scale, turned)))


def _without_noise(subject: Subject) -> Rollout:
    policy = subject.own
    if policy.spec.execution.sigma_deploy == 0:
        return subject.rollout
    noiseless = Policy(policy.planner, execution=replace(policy.spec.execution, sigma_deploy=0.0))
    return subject.starts.evaluate(noiseless, seed=subject.seed).rollout


def _step_size(shown: Episodes, scale: Tensor, turned: Sequence[Rotation]) -> float:
    """Root mean square change of the demonstrated actions per step."""
    owner = torch.repeat_interleave(torch.arange(len(shown)), shown.lengths)
    change = (encoded(shown.actions.double(), turned).diff(dim=0) / scale).square().sum(-1)[owner[1:] == owner[:-1]]
    return float(change.mean().sqrt()) if len(change) else 0.0


def _relative(across: Tensor, known: Tensor, size: float) -> Estimate | None:
    """Root mean square over the seams of each episode, with an interval over episodes, relative to a size."""
    some = known.any(dim=1)
    if size == 0 or not bool(some.any()):
        return None
    each = ((across * known).sum(dim=1) / known.sum(dim=1).clamp(min=1))[some]
    found = mean_over_starts(each)
    # a mean of squares is not negative, whatever its interval
    return Estimate(*(max(value, 0.0) ** 0.5 / size for value in (found.mean, found.low, found.high)))


def novelty_of(subject: Subject) -> Novelty:
    """Distance of the observations to the demonstrations; NaN after the end of an episode."""
    if subject.demonstrations is None:
        raise DataError("the demonstrations are missing. Give --data, or restore the run's own data.")
    scale = subject.policy.planner.observation_range if isinstance(subject.policy, Policy) else None
    found = novelty(subject.rollout.observed, subject.demonstrations, scale=scale, seed=subject.seed)
    gone = subject.rollout.over | subject.rollout.lost
    return Novelty(found.distances.masked_fill(gone, torch.nan), found.demonstrated_median, found.demonstrated_95)


def own_error(subject: Subject, novel: Novelty | None) -> float | None:
    """Typical error of the rollouts, as a distance of normalised observations: median over rollouts and steps.

    The distance to the expert at the same time or, without an expert, to the nearest demonstration.
    """
    followed = ~(subject.rollout.lost | subject.rollout.over)
    if subject.starts.expert is not None:
        scale = _scale(subject)
        difference = (subject.rollout.trajectory.states - subject.starts.expert.states)[:, :-1]
        normalised = (difference / scale.half.to(difference)).masked_fill(scale.constant, 0.0)
        return _median(normalised.square().sum(-1).sqrt(), followed)
    return None if novel is None else _median(novel.distances, followed)


def _median(values: Tensor, followed: Tensor) -> float | None:
    chosen = values[followed & values.isfinite()]
    return float(chosen.median()) if len(chosen) else None


def _scale(subject: Subject) -> MinMax:
    if isinstance(subject.policy, Policy):
        return subject.policy.planner.observation_range
    return MinMax.fit(subject.rollout.observed.flatten(0, 1))


def _windows(subject: Subject, rng: torch.Generator) -> Float[Tensor, "pairs o d"]:
    """Observation windows of running episodes, chosen at random."""
    length = subject.own.spec.n_obs_steps
    followed = ~(subject.rollout.lost | subject.rollout.over)
    places = followed.nonzero()
    chosen = places[torch.randint(len(places), (WINDOWS,), generator=rng)]
    steps = (chosen[:, 1, None] - torch.arange(length - 1, -1, -1)).clamp(min=0)
    return subject.rollout.observed[chosen[:, 0, None], steps]


def _system(starts: FixedStarts) -> System | None:
    system = getattr(starts.environment, "system", None)
    return system if isinstance(system, System) else None
