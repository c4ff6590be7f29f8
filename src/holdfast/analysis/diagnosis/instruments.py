"""Each instrument of the house, put to one policy whose flights are known.

A function that does not apply raises the house's own errors; `examine` keeps their text as the reason.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import System
from ...data import MinMax
from ...envs import Acts
from ...errors import DataError, RecipeError
from ...evaluation.arena import Arena, BesideExpert, Flown, InEnvironment
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
        policy: Anything that acts.
        arena: Where it is judged.
        demonstrations: What it should imitate.
        seed: Of its randomness.
        flown: Its flights.
        gains: What it executed, step by step, where it is Holdfast's own and has any.
    """

    policy: Acts
    arena: Arena
    demonstrations: Episodes | None
    seed: int
    flown: Flown
    gains: Float[Tensor, "b t m n"] | None

    @property
    def own(self) -> Policy:
        """The policy, where it is Holdfast's own."""
        if isinstance(self.policy, Policy):
            return self.policy
        raise RecipeError("only a policy of Holdfast shows its plans; of this one only actions are known.")

    @property
    def expert(self) -> Trajectory:
        """The expert's flights from the same starts."""
        if isinstance(self.arena, BesideExpert):
            return self.arena.expert
        raise RecipeError(f"no expert flies in {self.arena.name}: what it would have done from here is not known.")

    @property
    def spread(self) -> Float[Tensor, " n"]:
        """Std of each state coordinate over the flights; 1 where it stood still."""
        states = self.flown.trajectory.states.flatten(0, 1).double()
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


def subject_of(policy: Acts, arena: Arena, *, demonstrations: Episodes | None, seed: int) -> Subject:
    """Fly the policy as it is, and keep the gains it executes."""
    if not isinstance(policy, Policy) or policy.spec.execution.ensemble is not None:
        return Subject(policy, arena, demonstrations, seed, arena.fly(policy, seed=seed), None)
    recorded = RecordedGains(policy)
    flown = arena.fly(recorded, seed=seed)
    gains = torch.stack(recorded.gains, dim=1)[:, : flown.trajectory.steps]
    return Subject(policy, arena, demonstrations, seed, flown, gains if bool(gains.any()) else None)


def drift_of(subject: Subject) -> Growth:
    """Growth of the distance to the expert from equal starts."""
    return growth(
        subject.expert,
        subject.flown.trajectory,
        difference=subject.arena.difference,
        lost=subject.flown.lost,
        seed=subject.seed,
    )


def slip_of(subject: Subject) -> Slip:
    """Fly again with one action off, everything else equal, and follow the difference."""
    flown = subject.flown
    step = flown.trajectory.steps // 10
    actions = flown.trajectory.actions.flatten(0, 1)
    offset = SLIP * (actions.amax(dim=0) - actions.amin(dim=0)) / 2
    if not bool(offset.any()):
        raise DataError("the policy's actions never change, so there is no scale for a slip.")
    kicked = subject.arena.fly(Kicked(subject.policy, step, offset), seed=subject.seed)
    length = min(flown.trajectory.steps, kicked.trajectory.steps)
    apart = subject.arena.difference(
        kicked.trajectory.states[:, : length + 1], flown.trajectory.states[:, : length + 1]
    )
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
    system = _system(subject.arena)
    if system is None:
        raise RecipeError(
            f"{subject.arena.name} gives no derivatives. Learn them (train --dynamics), or read the slip."
        )
    ended = (subject.flown.lost | subject.flown.over).any(dim=1)
    kept = (~ended).nonzero()[:, 0]
    if not len(kept):
        raise DataError("no flight was followed to its end.")
    return loop_rates(system, subject.flown.trajectory, subject.gains, kept)


def imitation_of(subject: Subject) -> ImitationLosses:
    """L_marg,ε and its kin from several flights of each start; the expert is deterministic, and flies the same."""
    expert = subject.expert
    seeds = range(subject.seed + 1, subject.seed + FLIGHTS)
    flights = [subject.flown, *(subject.arena.fly(subject.policy, seed=seed) for seed in seeds)]

    def side_by_side(name: str) -> Tensor:
        return torch.stack([getattr(flight.trajectory, name) for flight in flights], dim=1).double()

    paired = PairedRollouts(
        expert=Trajectory(
            actions=expert.actions[:, None].repeat(1, FLIGHTS, 1, 1),
            states=expert.states[:, None].repeat(1, FLIGHTS, 1, 1),
        ),
        policy=Trajectory(actions=side_by_side("actions"), states=side_by_side("states")),
        difference=subject.arena.difference,
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
    actions = subject.flown.trajectory.actions.flatten(0, 1)
    half = (actions.amax(dim=0) - actions.amin(dim=0)) / 2
    return seams(
        subject.flown.trajectory,
        n_action_steps=subject.own.executor.n_action_steps,
        scale=torch.where(half > 0, half, 1.0),
        over=subject.flown.over | subject.flown.lost,
        seed=subject.seed,
    )


def novelty_of(subject: Subject) -> Novelty:
    """Distance of what was seen to what was demonstrated; NaN where an episode was over."""
    if subject.demonstrations is None:
        raise DataError("the demonstrations are not at hand. Give --data, or the run's own data where they were.")
    scale = subject.policy.planner.observation_scale if isinstance(subject.policy, Policy) else None
    found = novelty(subject.flown.observed, subject.demonstrations, scale=scale, seed=subject.seed)
    gone = subject.flown.over | subject.flown.lost
    return Novelty(found.visited.masked_fill(gone, torch.nan), found.usual, found.unusual)


def own_error(subject: Subject, novel: Novelty | None) -> float | None:
    """At which distance, in normalised observations, the flights themselves are off: a median over flights and steps.

    From the expert at the same time; where none flies, from the nearest demonstration.
    """
    followed = ~(subject.flown.lost | subject.flown.over)
    if isinstance(subject.arena, BesideExpert):
        scale = _scale(subject)
        apart = subject.arena.difference(subject.flown.trajectory.states, subject.arena.expert.states)[:, :-1]
        normalised = (apart / scale.half.to(apart)).masked_fill(scale.constant, 0.0)
        return _median(normalised.square().sum(-1).sqrt(), followed)
    return None if novel is None else _median(novel.visited, followed)


def _median(values: Tensor, kept: Tensor) -> float | None:
    chosen = values[kept & values.isfinite()]
    return float(chosen.median()) if len(chosen) else None


def _scale(subject: Subject) -> MinMax:
    if isinstance(subject.policy, Policy):
        return subject.policy.planner.observation_scale
    return MinMax.fit(subject.flown.observed.flatten(0, 1))


def _windows(subject: Subject, rng: torch.Generator) -> Float[Tensor, "pairs o d"]:
    """Observation windows of flights that went on, drawn at random."""
    length = subject.own.spec.n_obs_steps
    followed = ~(subject.flown.lost | subject.flown.over)
    places = followed.nonzero()
    chosen = places[torch.randint(len(places), (WINDOWS,), generator=rng)]
    steps = (chosen[:, 1, None] - torch.arange(length - 1, -1, -1)).clamp(min=0)
    return subject.flown.observed[chosen[:, 0, None], steps]


def _system(arena: Arena) -> System | None:
    match arena:
        case BesideExpert():
            return arena.task
        case InEnvironment():
            system = getattr(arena.environment, "system", None)
            return system if isinstance(system, System) else None
        case _:
            return None
