"""Each instrument of the house, put to one policy whose flights are known.

A function that does not apply raises the house's own errors; `examine` keeps their text as the reason.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import System
from ...data import MinMax
from ...envs import Actor, Rollout
from ...errors import DataError, RecipeError
from ...evaluation import Evaluation, FixedStarts
from ...policy import Policy
from ...seeding import stream
from ...types import Episodes, PrimitiveControllers, Trajectory
from ..chunk_seams import Seams, seams
from ..continuity import Modulus, modulus
from ..couplings import ImitationLosses, PairedRollouts, imitation_losses
from ..error_growth import Growth, growth, growth_of
from ..novelties import Novelty, novelty
from ..perturbed_policies import Kicked
from .loops import LoopRates, RecordedGains, loop_rates

__all__ = [
    "Slip",
    "Subject",
    "continuity_of",
    "drift_of",
    "imitation_of",
    "loops_of",
    "novelty_of",
    "own_error",
    "seams_of",
    "slip_of",
    "subject_of",
]

SLIP = 0.05
"""Size of the slip, as a share of half the range of the executed actions."""
FLIGHTS = 4
"""Of each start, for couplings."""
WINDOWS, DRAWS = 8, 100
DISTANCES = (0.01, 0.03, 0.1, 0.3, 1.0)
LEVELS = 12


@dataclass(frozen=True)
class Subject:
    """A policy under examination, and its flights as it is.

    Attributes:
        policy: The policy under examination.
        starts: Where it is evaluated.
        demonstrations: Demonstrations that it should imitate.
        seed: Random seed of the policy.
        evaluation: The unchanged policy from these starts.
        gains: Gains that it executed at each step, if it is a Holdfast policy with gains.
    """

    policy: Actor
    starts: FixedStarts
    demonstrations: Episodes | None
    seed: int
    evaluation: Evaluation
    gains: Float[Tensor, "b t m n"] | None

    @property
    def rollout(self) -> Rollout:
        """Episodes of the unchanged policy."""
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
        """Std of each state coordinate over the flights; 1 where it stood still."""
        states = self.rollout.trajectory.states.flatten(0, 1).double()
        std = states.std(dim=0)
        return torch.where(std > 0, std, 1.0)


@dataclass(frozen=True)
class Slip:
    """What became of one action that was off.

    Attributes:
        step: Its control step.
        size: As a share of half the range of the executed actions.
        growth: Of the distance between the two flights, in units of the states' own spread.
    """

    step: int
    size: float
    growth: Growth


def subject_of(policy: Actor, starts: FixedStarts, *, demonstrations: Episodes | None, seed: int) -> Subject:
    """Fly the policy as it is, and keep the gains it executes."""
    if not isinstance(policy, Policy) or policy.spec.execution.ensemble is not None:
        return Subject(policy, starts, demonstrations, seed, starts.evaluate(policy, seed=seed), None)
    recorded = RecordedGains(policy)
    found = starts.evaluate(recorded, seed=seed)
    gains = torch.stack(recorded.gains, dim=1)[:, : found.rollout.trajectory.steps]
    return Subject(policy, starts, demonstrations, seed, found, gains if bool(gains.any()) else None)


def drift_of(subject: Subject) -> Growth:
    """Growth of the distance to the expert from equal starts."""
    return growth(
        subject.expert,
        subject.rollout.trajectory,
        lost=subject.rollout.lost,
        seed=subject.seed,
    )


def slip_of(subject: Subject) -> Slip:
    """Fly again with one action off, everything else equal, and follow the difference."""
    flown = subject.rollout
    step = flown.trajectory.steps // 10
    actions = flown.trajectory.actions.flatten(0, 1)
    offset = SLIP * (actions.amax(dim=0) - actions.amin(dim=0)) / 2
    if not bool(offset.any()):
        raise DataError("the policy's actions never change, so there is no scale for a slip.")
    kicked = subject.starts.evaluate(Kicked(subject.policy, step, offset), seed=subject.seed).rollout
    length = min(flown.trajectory.steps, kicked.trajectory.steps)
    apart = kicked.trajectory.states[:, : length + 1] - flown.trajectory.states[:, : length + 1]
    error = (apart.double() / subject.spread).square().sum(-1).sqrt()
    lost, over = (
        torch.cat([torch.zeros_like(mask[:, :1]), mask], 1)
        for mask in (
            flown.lost[:, :length] | kicked.lost[:, :length],
            flown.over[:, :length] | kicked.over[:, :length],
        )
    )
    found = growth_of(error, lost=lost, over=over, floor=1e-9, first=step + 1, seed=subject.seed)
    return Slip(step=step, size=SLIP, growth=found)


def loops_of(subject: Subject) -> LoopRates:
    """Factors a step by which the system, and the planned feedback, carry errors along the flights."""
    system = _system(subject.starts)
    if system is None:
        raise RecipeError(
            f"{subject.starts.name} gives no derivatives. Learn them (train --dynamics), or read the slip."
        )
    ended = (subject.rollout.lost | subject.rollout.over).any(dim=1)
    kept = (~ended).nonzero()[:, 0]
    if not len(kept):
        raise DataError("no flight was followed to its end.")
    return loop_rates(system, subject.rollout.trajectory, subject.gains, kept)


def imitation_of(subject: Subject) -> ImitationLosses:
    """L_marg,ε and its kin from several flights of each start; the expert is deterministic, and flies the same."""
    expert = subject.expert
    seeds = range(subject.seed + 1, subject.seed + FLIGHTS)
    others = (subject.starts.evaluate(subject.policy, seed=seed).rollout for seed in seeds)
    flights = [subject.rollout, *others]

    def side_by_side(name: str) -> Tensor:
        return torch.stack([getattr(flight.trajectory, name) for flight in flights], dim=1).double()

    paired = PairedRollouts(
        expert=Trajectory(
            actions=expert.actions[:, None].repeat(1, FLIGHTS, 1, 1),
            states=expert.states[:, None].repeat(1, FLIGHTS, 1, 1),
        ),
        policy=Trajectory(actions=side_by_side("actions"), states=side_by_side("states")),
        lost=torch.stack([flight.lost for flight in flights], dim=1),
    )
    largest = float(expert.states.double().square().sum(-1).sqrt().max())
    return imitation_losses(paired, torch.logspace(-3, 0.3, LEVELS, dtype=torch.float64) * largest)


def continuity_of(subject: Subject) -> Modulus:
    """How far apart the executed parts of plans are that are made from nearby observations of the flights."""
    own = subject.own
    steps = own.executor.n_action_steps
    rng = stream(subject.seed, "diagnose", "continuity")

    def executed(chunk: PrimitiveControllers) -> Tensor:
        return chunk.actions[:, :steps].flatten(1)

    return modulus(
        own.executor.plans, _windows(subject, rng), DISTANCES, rng=rng, draws=DRAWS, scale=None, features=executed
    )


def seams_of(subject: Subject) -> Seams:
    """Jumps of the actions where plans meet."""
    actions = subject.rollout.trajectory.actions.flatten(0, 1)
    half = (actions.amax(dim=0) - actions.amin(dim=0)) / 2
    return seams(
        subject.rollout.trajectory,
        n_action_steps=subject.own.executor.n_action_steps,
        scale=torch.where(half > 0, half, 1.0),
        over=subject.rollout.over | subject.rollout.lost,
        seed=subject.seed,
    )


def novelty_of(subject: Subject) -> Novelty:
    """Distance of what was seen to what was demonstrated; NaN where an episode was over."""
    if subject.demonstrations is None:
        raise DataError("the demonstrations are not at hand. Give --data, or the run's own data where they were.")
    scale = subject.policy.planner.observation_scale if isinstance(subject.policy, Policy) else None
    found = novelty(subject.rollout.observed, subject.demonstrations, scale=scale, seed=subject.seed)
    gone = subject.rollout.over | subject.rollout.lost
    return Novelty(found.visited.masked_fill(gone, torch.nan), found.usual, found.unusual)


def own_error(subject: Subject, novel: Novelty | None) -> float | None:
    """At which distance, in normalised observations, the flights themselves are off: a median over flights and steps.

    From the expert at the same time; where none flies, from the nearest demonstration.
    """
    followed = ~(subject.rollout.lost | subject.rollout.over)
    if subject.starts.expert is not None:
        scale = _scale(subject)
        apart = (subject.rollout.trajectory.states - subject.starts.expert.states)[:, :-1]
        normalised = (apart / scale.half.to(apart)).masked_fill(scale.constant, 0.0)
        return _median(normalised.square().sum(-1).sqrt(), followed)
    return None if novel is None else _median(novel.visited, followed)


def _median(values: Tensor, kept: Tensor) -> float | None:
    chosen = values[kept & values.isfinite()]
    return float(chosen.median()) if len(chosen) else None


def _scale(subject: Subject) -> MinMax:
    if isinstance(subject.policy, Policy):
        return subject.policy.planner.observation_scale
    return MinMax.fit(subject.rollout.observed.flatten(0, 1))


def _windows(subject: Subject, rng: torch.Generator) -> Float[Tensor, "pairs o d"]:
    """Observation windows of flights that went on, drawn at random."""
    length = subject.own.spec.n_obs_steps
    followed = ~(subject.rollout.lost | subject.rollout.over)
    places = followed.nonzero()
    chosen = places[torch.randint(len(places), (WINDOWS,), generator=rng)]
    steps = (chosen[:, 1, None] - torch.arange(length - 1, -1, -1)).clamp(min=0)
    return subject.rollout.observed[chosen[:, 0, None], steps]


def _system(starts: FixedStarts) -> System | None:
    system = getattr(starts.environment, "system", None)
    return system if isinstance(system, System) else None
